"""Random parameters of augmentations, one per image; or, for tests, their quantiles."""

from collections.abc import Callable

import torch
from torch import Tensor


class Draws:
    """Draws for `n` images; a transform of multiplier m happens to an image with probability m p.

    Everything comes from torch's default generator. With `quantile` q nothing is random and every
    transform happens: a uniform draw is q and a normal draw erfinv(2 q - 1), which lacks the
    factor sqrt 2 of the true quantile, as in the published implementation.
    """

    def __init__(self, images: Tensor, p: Tensor | float, quantile: float | None = None):
        self.n, self.device = len(images), images.device
        self.p = torch.as_tensor(p, dtype=torch.float32, device=images.device)
        self.quantile = quantile

    def uniform(self, *shape: int) -> Tensor:
        """`[n, *shape]` in [0, 1)."""
        if self.quantile is None:
            return torch.rand(self.n, *shape, device=self.device)
        return torch.full((self.n, *shape), self.quantile, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """`[n, *shape]` with mean 0 and standard deviation 1."""
        if self.quantile is None:
            return torch.randn(self.n, *shape, device=self.device)
        return torch.erfinv(2 * torch.full((self.n, *shape), self.quantile, device=self.device) - 1)

    def happens(self, value: Tensor, nothing: float, probability: Tensor | float) -> Tensor:
        """`value` `[n, ...]` for the images that are drawn, `nothing` for the others."""
        if self.quantile is not None:
            return value
        drawn = torch.rand(self.n, *[1] * (value.dim() - 1), device=self.device) < probability
        return torch.where(drawn, value, torch.full_like(value, nothing))


class SameDraws:
    """A function of images that draws the same random numbers every time it is called.

    The first call draws as it comes; later calls repeat its draws, and leave torch's generators as
    they found them. So a difference of two calls is one of their images alone.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device):
        self.function, self.device, self.before = function, device, None

    def __call__(self, images: Tensor) -> Tensor:
        if self.before is None:
            self.before = self.states()
            return self.function(images)
        now = self.states()
        self.set_states(self.before)
        try:
            return self.function(images)
        finally:
            self.set_states(now)

    def states(self) -> list[Tensor]:
        """Of the host's generator, and of the device's where that is another."""
        own = [] if self.device.type == "cpu" else [self.backend().get_rng_state(self.device)]
        return [torch.random.get_rng_state(), *own]

    def set_states(self, states: list[Tensor]) -> None:
        torch.random.set_rng_state(states[0])
        if self.device.type != "cpu":
            self.backend().set_rng_state(states[1], self.device)

    def backend(self):
        return torch.get_device_module(self.device)
