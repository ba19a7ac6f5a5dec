"""What an operator that filters and activates takes: records, and their part of its schema.

A schema names every number and tensor; everywhere else they travel as one `Pass` and one `Beside`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops.bias_act.leaky import LEAKY, Leaky
from largegan.ops.fir.filter import FILTER, Filter, as_filter

PASS = f"{FILTER}, {LEAKY}"
BESIDE = "Tensor? scale, Tensor? noise, Tensor? strength, Tensor? bias"
Size = tuple[int, int]  # (height, width)


class Pass(NamedTuple):
    """A filter, and an activation before or behind it."""

    filter: Filter
    leaky: Leaky

    @staticmethod
    def of(*constants) -> "Pass":
        """From the arguments of an operator."""
        return Pass(as_filter(*constants[:7]), Leaky(*constants[7:]))

    def arguments(self) -> list:
        """The constants as operators take them."""
        return [*self.filter.arguments(), *self.leaky]

    def adjoint(self, size: Size) -> "Pass":
        """The adjoint of the filter on images of this size; slopes are their own adjoint."""
        return Pass(self.filter.adjoint(*size), self.leaky)

    def shape(self, x: Tensor) -> torch.Size:
        """The shape of the filtered x."""
        return torch.Size((*x.shape[:2], *self.filter.output_size(*x.shape[2:])))


class Beside(NamedTuple):
    """The tensors beside an image: `activation(scale * image + strength * noise + bias)`.

    `scale` `[N, C]`, `noise` `[N or 1, 1, H, W]`, which is a constant, `strength` of one number,
    `bias` `[C]`; None where there is none.
    """

    scale: Tensor | None = None
    noise: Tensor | None = None
    strength: Tensor | None = None
    bias: Tensor | None = None

    @staticmethod
    def of(scale, noise, strength, bias) -> "Beside":
        """From the arguments of `fir_act`; ValueError for noise without its strength."""
        if (noise is None) != (strength is None):
            raise ValueError("noise and noise_strength come together")
        if noise is not None:
            noise = (noise if noise.ndim == 4 else noise[None, None]).detach()
        return Beside(scale, noise, strength, bias)

    def scaled_and_noisy(self, y: Tensor) -> Tensor:
        """`scale * y + strength * noise`, in y's type."""
        y = y if self.scale is None else y * self.scale[:, :, None, None].to(y.dtype)
        if self.noise is None:
            return y
        return y + (self.noise.to(self.strength.dtype) * self.strength).to(y.dtype)
