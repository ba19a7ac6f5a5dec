"""Batch normalization over the images of all ranks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from largegan.ops import batch_norm_act
from largegan.ops.runtime import backend


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose batch is that of all ranks, exactly and to any order of gradient.

    The engine gives it `mean_over_ranks` (see `Recipe.join_ranks`), a differentiable mean; alone,
    or with `cross_rank=False`, it is `nn.BatchNorm2d`. Ranks must have equally many images. With
    gradient accumulation the statistics are those of the micro-batches that the ranks compute at
    the same moment, not of the whole step: 8 ranks with micro-batches of 32 see 256 images.

    `biased` keeps the biased variance in `running_var`, as TensorFlow and BigGAN-PyTorch's own
    batch norm do; torch corrects it by n / (n - 1).
    """

    mean_over_ranks: Callable[[Tensor], Tensor] | None = None
    ranks: int = 1

    def __init__(
        self,
        features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        cross_rank: bool = True,
        biased: bool = False,
    ):
        super().__init__(features, eps, momentum, affine)
        self.cross_rank, self.biased = cross_rank, biased

    def forward(self, x: Tensor) -> Tensor:
        together = self.cross_rank and self.mean_over_ranks is not None
        if not (self.training and (together or self.biased)):
            return super().forward(x)
        # Sixteen bits are too few for sums over a batch: this part ignores autocast.
        with torch.autocast(x.device.type, enabled=False):
            mean, variance = self._moments(wide(x), together)
            self._remember(
                mean, variance, x.numel() // x.shape[1] * (self.ranks if together else 1)
            )
            scale = torch.rsqrt(variance + self.eps)
            if self.affine:
                scale = scale * self.weight
            shift = -mean * scale if not self.affine else self.bias - mean * scale
        return x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)

    def has_kernel(self, x: Tensor) -> bool:
        """Whether `with_relu` can stand for this norm here: training, statistics of one rank."""
        alone = not self.cross_rank or self.mean_over_ranks is None
        return self.training and alone and backend.usable(x)

    def with_relu(self, x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
        """`relu(norm(x) * gain + bias)` in one op; they are `[C]`, `[N, C]` or None."""
        y, mean, variance = batch_norm_act(x, gain, bias, act="relu", eps=self.eps)
        self._remember(mean, variance, x.numel() // x.shape[1])
        return y

    def _moments(self, x: Tensor, together: bool) -> tuple[Tensor, Tensor]:
        """Mean and biased variance `[C]`, in two passes: one loses digits where |mean| >> std."""
        mean = x.mean((0, 2, 3))
        if together:
            mean = self.mean_over_ranks(mean)
        variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
        if together:
            variance = self.mean_over_ranks(variance)
        return mean, variance

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running averages as `nn.BatchNorm2d` does; `momentum` None: a plain mean."""
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        weight = self.momentum
        if weight is None:
            weight = 1.0 / float(self.num_batches_tracked)
        if not self.biased:
            variance = variance * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean.to(self.running_mean), weight)
        self.running_var.lerp_(variance.to(self.running_var), weight)


def wide(x: Tensor) -> Tensor:
    """At least 32 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
