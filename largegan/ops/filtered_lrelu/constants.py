"""What `filtered_lrelu`'s operators take: two filters and an activation, as one record."""

from typing import NamedTuple

from largegan.ops.bias_act.leaky import LEAKY, Leaky
from largegan.ops.fir.filter import FILTER, Filter, as_filter

SECOND = ", ".join(" second_".join(argument.split()) for argument in FILTER.split(", "))
SANDWICH = f"{FILTER}, {SECOND}, {LEAKY}"
Size = tuple[int, int]  # (height, width)


class Sandwich(NamedTuple):
    """Two filters, and an activation between them."""

    first: Filter
    second: Filter
    leaky: Leaky

    @staticmethod
    def of(*constants) -> "Sandwich":
        """From the arguments of an operator."""
        first, second = as_filter(*constants[:7]), as_filter(*constants[7:14])
        return Sandwich(first, second, Leaky(*constants[14:]))

    def arguments(self) -> list:
        """The constants as operators take them."""
        return [*self.first.arguments(), *self.second.arguments(), *self.leaky]

    def sizes(self, size: Size) -> tuple[Size, Size]:
        """(the middle image's size, the result's)."""
        middle = self.first.output_size(*size)
        return middle, self.second.output_size(*middle)

    def adjoint(self, size: Size) -> "Sandwich":
        """The adjoint of filter, slopes, filter on images of this size: the same, backwards."""
        back = self.second.adjoint(*self.first.output_size(*size))
        return Sandwich(back, self.first.adjoint(*size), self.leaky)
