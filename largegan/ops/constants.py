"""The constants of operators that filter and activate: records, and their part of a schema.

An operator takes them one by one, as `*constants`; its schema names them.
"""

from typing import NamedTuple

import torch

from largegan.ops.filter import Filter, as_filter
from largegan.ops.slope import Leaky

FILTER = "float[] fx, float[] fy, int[] size, int[] factors, int[] pads, bool flip, float fir_gain"
LEAKY = "float alpha, float gain, float clamp"
PASS = f"{FILTER}, {LEAKY}"
SECOND = ", ".join(" second_".join(argument.split()) for argument in FILTER.split(", "))
SANDWICH = f"{FILTER}, {SECOND}, {LEAKY}"
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
        return [*self.filter.arguments(), *self.leaky]

    def adjoint(self, size: Size) -> "Pass":
        """Of the filter on images of this size; slopes are their own adjoint."""
        return Pass(self.filter.adjoint(*size), self.leaky)

    def shape(self, x: torch.Tensor) -> torch.Size:
        """Of the filtered x."""
        return torch.Size((*x.shape[:2], *self.filter.output_size(*x.shape[2:])))


class Sandwich(NamedTuple):
    """Two filters, and an activation between them."""

    first: Filter
    second: Filter
    leaky: Leaky

    @staticmethod
    def of(*constants) -> "Sandwich":
        """From the arguments of an operator."""
        return Sandwich(as_filter(*constants[:7]), *Pass.of(*constants[7:]))

    def arguments(self) -> list:
        return [*self.first.arguments(), *self.second.arguments(), *self.leaky]

    def sizes(self, size: Size) -> tuple[Size, Size]:
        """Of the middle image and of the result."""
        middle = self.first.output_size(*size)
        return middle, self.second.output_size(*middle)

    def adjoint(self, size: Size) -> "Sandwich":
        """Of filter, slopes, filter on images of this size: the same, backwards."""
        back = self.second.adjoint(*self.first.output_size(*size))
        return Sandwich(back, self.first.adjoint(*size), self.leaky)
