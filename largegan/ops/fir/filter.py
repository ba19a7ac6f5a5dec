"""`Filter`: what `upfirdn2d` does, spelled out, what its adjoint does, and its usual settings.

Taps are Python floats, constants of the graph, never tensors: a tuple for one direction, or a tuple
of rows for a filter that does not separate. Pairs are (x, y), padding is (left, right, top, bottom)
around the up-sampled image, and negative padding crops.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

Taps = Sequence[float] | Sequence[Sequence[float]]
BINOMIAL = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8, StyleGAN2's filter
FILTER = "float[] fx, float[] fy, int[] size, int[] factors, int[] pads, bool flip, float fir_gain"


class Filter(NamedTuple):
    """`upfirdn2d`'s constants: taps fx times fy, or rows of them in fx where fy is empty.

    `size` is (width, height), `factors` up x, up y, down x, down y.
    """

    fx: tuple[float, ...]
    fy: tuple[float, ...]
    size: tuple[int, int]
    factors: tuple[int, int, int, int]
    pads: tuple[int, int, int, int]
    flip: bool
    gain: float

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result; ValueError if it has no pixel."""
        (kx, ky), (ux, uy, dx, dy), p = self.size, self.factors, self.pads
        w, h = (width * ux + p[0] + p[1] - kx) // dx + 1, (height * uy + p[2] + p[3] - ky) // dy + 1
        if h < 1 or w < 1:
            raise ValueError(
                f"a filter of {kx} x {ky} taps leaves nothing of an image of {height} x {width}"
            )
        return h, w

    def adjoint(self, height: int, width: int) -> "Filter":
        """The adjoint of the filter on images of this size: factors swap, the filter turns."""
        (kx, ky), (ux, uy, dx, dy), p = self.size, self.factors, self.pads
        h, w = self.output_size(height, width)
        after = width * ux - w * dx + p[0] - ux + 1, height * uy - h * dy + p[2] - uy + 1
        pads = (kx - 1 - p[0], after[0], ky - 1 - p[2], after[1])
        return self._replace(factors=(dx, dy, ux, uy), pads=pads, flip=not self.flip)

    def arguments(self) -> list:
        """The constants as operators take them."""
        return [list(part) if isinstance(part, tuple) else part for part in self]

    def taps(self) -> list[float]:
        """Taps to correlate with: fx and then fy, or rows."""
        step = 1 if self.flip else -1
        return [t * self.gain for t in self.fx[::step]] + list(self.fy[::step])


IDENTITY = Filter((1.0,), (1.0,), (1, 1), (1, 1, 1, 1), (0, 0, 0, 0), False, 1.0)


def as_filter(fx, fy, size, factors, pads, flip, gain) -> Filter:
    """The filter whose `arguments` an operator was given."""
    return Filter(tuple(fx), tuple(fy), tuple(size), tuple(factors), tuple(pads), flip, gain)


def taps(f: Taps, *, gain: float = 1.0, normalize: bool = True, flip: bool = False) -> Taps:
    """Any filter as tuples of floats: sum 1 (`normalize`), times `gain`, reversed if `flip`.

    `gain` is the filter's gain on images: one-dimensional taps, used in both directions, get its
    square root. Taps that sum to zero cannot be normalized and raise ValueError.
    """
    rows = [[float(t) for t in row] for row in f] if _is_2d(f) else [[float(t) for t in f]]
    total = math.fsum(t for row in rows for t in row)
    if normalize and total == 0:
        raise ValueError("taps that sum to zero cannot be normalized: pass normalize=False")
    scale = (gain if _is_2d(f) else gain**0.5) / (total if normalize else 1.0)
    step = -1 if flip else 1
    rows = [tuple(t * scale for t in row[::step]) for row in rows[::step]]
    return tuple(rows) if _is_2d(f) else rows[0]


def resampling(fx, fy=None, up=1, down=1, padding=0, flip=False, gain=1.0) -> Filter:
    """The arguments of `upfirdn2d`, spelled out."""
    factors, pads = (*pair(up), *pair(down)), tuple(four_sides(padding))
    if _is_2d(fx):
        rows = tuple(t for row in fx for t in row)
        return Filter(rows, (), (len(fx[0]), len(fx)), factors, pads, flip, gain)
    fy = fx if fy is None else fy
    return Filter(tuple(fx), tuple(fy), (len(fx), len(fy)), factors, pads, flip, gain)


def blurring(f: Taps, padding, flip: bool, gain: float) -> Filter:
    """The filter of `filter2d`: the size stays."""
    (w, h), p = size_of(f), four_sides(padding)
    pads = p[0] + w // 2, p[1] + (w - 1) // 2, p[2] + h // 2, p[3] + (h - 1) // 2
    return resampling(f, padding=pads, flip=flip, gain=gain)


def upsampling(f: Taps, factor, padding, flip: bool, gain: float) -> Filter:
    """The filter of `upsample2d`."""
    pads, (u, v) = upsampling_padding(f, factor, padding), pair(factor)
    return resampling(f, up=factor, padding=pads, flip=flip, gain=gain * u * v)


def downsampling(f: Taps, factor, padding, flip: bool, gain: float) -> Filter:
    """The filter of `downsample2d`."""
    pads = downsampling_padding(f, factor, padding)
    return resampling(f, down=factor, padding=pads, flip=flip, gain=gain)


def upsampling_padding(f: Taps, factor, padding) -> list[int]:
    """The padding that centers `f` on samples `factor` apart and gives `factor` times the size."""
    (w, h), (u, v), p = size_of(f), pair(factor), four_sides(padding)
    x, y = ((w + u - 1) // 2, (w - u) // 2), ((h + v - 1) // 2, (h - v) // 2)
    return [p[0] + x[0], p[1] + x[1], p[2] + y[0], p[3] + y[1]]


def downsampling_padding(f: Taps, factor, padding) -> list[int]:
    """The padding that centers `f` on blocks of `factor` samples."""
    (w, h), (u, v), p = size_of(f), pair(factor), four_sides(padding)
    x, y = ((w - u + 1) // 2, (w - u) // 2), ((h - v + 1) // 2, (h - v) // 2)
    return [p[0] + x[0], p[1] + x[1], p[2] + y[0], p[3] + y[1]]


def size_of(f: Taps) -> tuple[int, int]:
    """(width, height) of a filter."""
    return (len(f[0]), len(f)) if _is_2d(f) else (len(f), len(f))


def pair(value) -> tuple[int, int]:
    """(x, y) from an int or a pair."""
    return (value, value) if isinstance(value, int) else tuple(value)


def four_sides(value) -> list[int]:
    """(left, right, top, bottom) from an int, (x, y) or four."""
    if isinstance(value, int):
        return [value] * 4
    return [value[0], value[0], value[1], value[1]] if len(value) == 2 else list(value)


def _is_2d(f: Taps) -> bool:
    return isinstance(f[0], Sequence)
