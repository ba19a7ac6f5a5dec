"""Orthogonal wavelets as tuples of taps: what the ADA pipeline resamples and filters images with.

Symlets of 2 and 6 vanishing moments (Daubechies, 1992, table 6.3), low-pass, l2 norm 1.
"""

import math

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)


def octave_bands(wavelet: tuple[float, ...], octaves: int) -> list[list[float]]:
    """Symmetric filters of [0, pi / 2^octaves], then one octave each up to pi; they sum to a delta.

    With l and h the power responses of the wavelet's low and high pass (l + h = 1), band i is
    h(2^a w) for its octave after l(w) l(2 w) ... of all octaves above, and the last is only l's.
    """
    low = [c / 2 for c in _autocorrelation(wavelet)]
    high = [-c for c in low]
    high[len(high) // 2] += 1.0
    passed, bands = [1.0], []
    for octave in range(octaves):
        bands.append(_convolve(passed, _dilated(high, 2**octave)))
        passed = _convolve(passed, _dilated(low, 2**octave))
    bands = [passed, *bands[::-1]]
    return [_centered(band, len(passed)) for band in bands]


def _autocorrelation(f) -> list[float]:
    return _convolve(f, f[::-1])


def _convolve(a, b) -> list[float]:
    pairs = [
        [a[i] * b[n - i] for i in range(len(a)) if 0 <= n - i < len(b)]
        for n in range(len(a) + len(b) - 1)
    ]
    return [math.fsum(products) for products in pairs]


def _dilated(f, step: int) -> list[float]:
    """f with step - 1 zeros between its taps."""
    wide = [0.0] * ((len(f) - 1) * step + 1)
    wide[::step] = f
    return wide


def _centered(f, length: int) -> list[float]:
    side = [0.0] * ((length - len(f)) // 2)
    return [*side, *f, *side]
