"""Low-pass filters by Kaiser's windowed-sinc method (Kaiser, 1974), also radially symmetric ones.

Pure functions to tuples of floats, computed in float64: filters are constants of a network.
"""

import numpy as np
import torch

from largegan.ops.fir.filter import Taps


def lowpass(taps: int, *, cutoff: float, width: float, rate: float, radial: bool = False) -> Taps:
    """A filter that passes frequencies below `cutoff` and none above `cutoff + width / 2`.

    Frequencies and the sampling `rate` have one unit. The transition band has about `width`; with
    few taps the attenuation beyond it suffers. `radial` gives rows of taps that depend on the
    distance to the center alone (a jinc for the sinc). Taps sum to 1.
    """
    place = np.arange(taps) - (taps - 1) / 2
    window = np.kaiser(taps, kaiser_beta(attenuation(taps, width / (rate / 2))))
    if not radial:
        response = np.sinc(2 * cutoff / rate * place) * window
        return tuple((response / response.sum()).tolist())
    response = jinc(2 * cutoff / rate * np.hypot(place[:, None], place)) * np.outer(window, window)
    return tuple(tuple(row) for row in (response / response.sum()).tolist())


def jinc(x: np.ndarray) -> np.ndarray:
    """J1(pi x) / (pi x / 2), 1 at zero: the Fourier transform of a disc, as sinc is of a box."""
    found = torch.special.bessel_j1(torch.from_numpy(np.pi * x)).numpy()
    return np.divide(2 * found, np.pi * x, out=np.ones_like(x), where=x != 0)


def attenuation(taps: int, width: float) -> float:
    """dB that so many taps can reach with a transition of `width` (of Nyquist); Kaiser's fit."""
    return 2.285 * (taps - 1) * np.pi * width + 7.95


def kaiser_beta(attenuation_db: float) -> float:
    """The window's parameter for an attenuation in dB; Kaiser's fit."""
    if attenuation_db > 50:
        return 0.1102 * (attenuation_db - 8.7)
    if attenuation_db > 21:
        excess = attenuation_db - 21
        return 0.5842 * excess**0.4 + 0.07886 * excess
    return 0.0
