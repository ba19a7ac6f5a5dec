"""Example calls of ops, on any image: what the doctor, the benchmarks and the tests try.

Numbers are ones that bfloat16 has, so that all implementations see the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def nothing(x: Tensor) -> Tensors:
    """No tensor beside the image."""
    return {}


class Cost(NamedTuple):
    """What a call cannot do without, in units of an image at the high resolution."""

    bytes: tuple[float, float, float | None]  # forward, backward, double; None: no op of that order
    half: bool = False  # x has half the side
    fmas: float = 0.0  # multiply-adds for each pixel of that image, where they may be what binds


class Example(NamedTuple):
    """One call: `op(x, **tensors(x), **fixed(x), **call)`; no gradients go to `fixed`."""

    call: dict
    tensors: Callable[[Tensor], Tensors] = nothing
    fixed: Callable[[Tensor], Tensors] = nothing
    cost: Cost | None = None  # None: not timed

    def of(self, function: Callable, x: Tensor, **tensors: Tensor) -> Tensor:
        """The call on `function` with these tensors; the first result, if it has several."""
        y = function(x, **tensors, **self.fixed(x), **self.call)
        return y[0] if isinstance(y, tuple) else y

    def __call__(self, function: Callable, x: Tensor) -> Tensor:
        """The call with the example's own tensors."""
        return self.of(function, x, **self.tensors(x))


def line(x: Tensor, first: float) -> Tensor:
    """`[C]` of numbers from `first` to 1.5."""
    return torch.linspace(first, 1.5, x.shape[1]).bfloat16().to(x)


def lines(x: Tensor) -> Tensor:
    """`[N, C]` of positive numbers, in another order for every image."""
    return torch.stack([line(x, 0.5).roll(i) for i in range(len(x))])


def numbers(x: Tensor, *shape: int) -> Tensor:
    """Normal numbers, the same in every call."""
    draw = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=draw) / 4).bfloat16().to(x)


# By the names that ops give their arguments. A bias has zero within.


def vector(x: Tensor) -> Tensors:
    """A bias, as `bias_act` and `filtered_lrelu` name it."""
    return {"b": line(x, -0.5)}


def biased(x: Tensor) -> Tensors:
    """A bias, as the other ops name it."""
    return {"bias": line(x, -0.5)}


def styles(x: Tensor) -> Tensors:
    """A factor for every channel of every image."""
    return {"s": lines(x)}


def styled(x: Tensor) -> Tensors:
    """What a generator's layer has beside its image, but for the noise."""
    return {"scale": lines(x), "bias": line(x, -0.5)}


def noisy(x: Tensor) -> Tensors:
    """What a generator's layer has beside its image; `noise` belongs to it."""
    return styled(x) | {"noise_strength": torch.tensor(0.5).to(x)}


def noise(x: Tensor) -> Tensors:
    """Noise for an image twice as large."""
    return {"noise": numbers(x, 2 * x.shape[2], 2 * x.shape[3])}


def affine(x: Tensor) -> Tensors:
    """Gain and bias of a norm, by channel."""
    return {"gamma": line(x, 0.5), "beta": line(x, -0.5)}


def affine_by_image(x: Tensor) -> Tensors:
    """Gain and bias of a norm, by image and channel."""
    return {"gamma": lines(x), "beta": lines(x) - 1}


def weights(size: int) -> Callable[[Tensor], Tensors]:
    """Weights of a convolution to 6 channels."""
    return lambda x: {"w": numbers(x, 6, x.shape[1], size, size)}


def weights_back(size: int) -> Callable[[Tensor], Tensors]:
    """Weights of a transposed convolution to 6 channels."""
    return lambda x: {"w": numbers(x, x.shape[1], 6, size, size)}


def biased_weights(size: int) -> Callable[[Tensor], Tensors]:
    """Weights of a convolution, and the bias in front of it."""
    return lambda x: weights(size)(x) | biased(x)


def modulated(size: int) -> Callable[[Tensor], Tensors]:
    """Weights of a convolution, and styles for its input."""
    return lambda x: weights(size)(x) | styles(x)


def noisy_modulated(x: Tensor) -> Tensors:
    """What a whole layer of a generator has beside its image."""
    bias = torch.linspace(-0.5, 0.75, 6).bfloat16().to(x)
    return modulated(3)(x) | {"noise_strength": torch.tensor(0.5).to(x), "bias": bias}


def places(x: Tensor) -> Tensors:
    """A grid that goes beyond the image."""
    return {"grid": numbers(x, len(x), 7, 5, 2) * 4}
