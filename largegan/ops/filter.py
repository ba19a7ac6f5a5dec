"""`Filter`: what `upfirdn2d` does, spelled out, and what its adjoint does."""

from typing import NamedTuple


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
        """Of the filter on images of this size: factors swap, the filter turns."""
        (kx, ky), (ux, uy, dx, dy), p = self.size, self.factors, self.pads
        h, w = self.output_size(height, width)
        after = width * ux - w * dx + p[0] - ux + 1, height * uy - h * dy + p[2] - uy + 1
        pads = (kx - 1 - p[0], after[0], ky - 1 - p[2], after[1])
        return self._replace(factors=(dx, dy, ux, uy), pads=pads, flip=not self.flip)

    def arguments(self) -> list:
        """As operators take them."""
        return [list(part) if isinstance(part, tuple) else part for part in self]

    def taps(self) -> list[float]:
        """To correlate with: fx and then fy, or rows."""
        step = 1 if self.flip else -1
        return [t * self.gain for t in self.fx[::step]] + list(self.fy[::step])


IDENTITY = Filter((1.0,), (1.0,), (1, 1), (1, 1, 1, 1), (0, 0, 0, 0), False, 1.0)


def as_filter(fx, fy, size, factors, pads, flip, gain) -> Filter:
    """From the arguments of an operator."""
    return Filter(tuple(fx), tuple(fy), tuple(size), tuple(factors), tuple(pads), flip, gain)
