"""Batch normalization that a condition scales and shifts, and a way to leave its averages alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from largegan.layers.batch_norm import BatchNorm2d


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and bias are linear in a condition (Dumoulin et al., 2017).

    `condition` is `[N, condition_dim]`: one-hot classes make the linear maps lookup tables, a
    shared embedding makes them projections. The gain is `1 + gain(condition)`. `linear` builds
    the two maps (`SNLinear` for a spectrally normalized generator; `class_table` for labels `[N]`
    as the condition). `norm` builds what is scaled and shifted, without its own gain and bias.
    `normalize=False` leaves the modulation and drops the batch statistics, for networks that must
    not mix examples.
    """

    def __init__(
        self,
        features: int,
        condition_dim: int,
        *,
        linear: Callable[..., nn.Linear] = nn.Linear,
        norm: Callable[..., nn.Module] = nn.BatchNorm2d,
        eps: float = 1e-5,
        normalize: bool = True,
    ):
        super().__init__()
        self.norm = norm(features, eps=eps, affine=False) if normalize else nn.Identity()
        self.gain = linear(condition_dim, features, bias=False)
        self.bias = linear(condition_dim, features, bias=False)
        if linear is nn.Linear:  # start as plain batch norm; a zero weight has no spectral norm
            nn.init.zeros_(self.gain.weight)
            nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain = 1 + self.gain(condition)[:, :, None, None]  # [N, C, 1, 1]
        bias = self.bias(condition)[:, :, None, None]
        return self.norm(x) * gain + bias  # [N, C, H, W]


def activated(
    norm: nn.Module, x: Tensor, *condition: Tensor, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """`activation(norm(x, *condition))`, in one op where that is a ReLU and a kernel does it."""
    conditional = isinstance(norm, ConditionalBatchNorm2d)
    inner = norm.norm if conditional else norm
    if activation is not F.relu or not isinstance(inner, BatchNorm2d) or not inner.has_kernel(x):
        return activation(norm(x, *condition))
    if conditional:
        return inner.with_relu(x, 1 + norm.gain(*condition), norm.bias(*condition))
    return inner.with_relu(x, inner.weight, inner.bias)


def class_table(classes: int, features: int, bias: bool = False) -> nn.Embedding:
    """A gain or bias for each class, looked up by label; starts at zero."""
    table = nn.Embedding(classes, features)
    nn.init.zeros_(table.weight)
    return table


@contextmanager
def frozen_statistics(net: nn.Module) -> Iterator[None]:
    """Within it, batch norm in training mode uses batch statistics and keeps its running ones.

    For the generator's forward in a discriminator's phase: the generator does not learn there,
    and its running averages should follow its own steps only.
    """
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
