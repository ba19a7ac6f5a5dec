"""Spectral normalization: linear maps divided by an estimate of their largest singular value.

Miyato et al. (2018): sigma(W) = u^T W v, with u and v kept from step to step and refined by a
power iteration per training forward (Algorithm 1). The layers here are drop-in replacements for
their plain namesakes; the plain weight stays `weight`, and `u`, `v`, `sigma` are buffers.

The vectors are functions of the weights and of how often they were refined, never of the data, so
all ranks hold the same ones.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Spectral:
    """How weights are normalized.

    Args:
        values: singular values that are followed; the first one normalizes, the others are for
            logs. They need no more forwards, but a matrix product each.
        iterations: power iterations per update.
        eps: no vector is divided by less.
        update: "forward" refines the vectors in every training forward, as all publications do,
            "step" in the first one of an optimizer step only.
        refine_in_eval: in evaluation mode, refine copies of the vectors once before using them
            (BigGAN-PyTorch), instead of using them as they are (torch, StudioGAN). It forgives
            vectors that are averages, which are shorter than one.
    """

    values: int = 1
    iterations: int = 1
    eps: float = 1e-6
    update: Literal["forward", "step"] = "forward"
    refine_in_eval: bool = False


AS_PUBLISHED = Spectral()


class SpectralNorm(nn.Module):
    """What the four layers share: the vectors, the iteration, the normalized weight."""

    _output_dim = 0  # the weight's dimension that becomes the rows of the matrix
    weight: Tensor
    u: Tensor  # [values, rows]
    v: Tensor  # [values, columns]
    sigma: Tensor  # [values], as the last training forward found them
    applied = False  # see `normalized_once`

    def _add_vectors(self, spectral: Spectral) -> None:
        self.spectral = spectral
        rows, columns = self._matrix(self.weight).shape
        for name, length in (("u", rows), ("v", columns)):
            start = torch.randn(spectral.values, length)
            self.register_buffer(name, F.normalize(start, dim=1, eps=spectral.eps))
        self.register_buffer("sigma", torch.ones(spectral.values))
        self._start: tuple[Tensor, Tensor] | None = None  # u, v when the phase began
        self._accumulating = False
        self._updated = False  # in this optimizer step

    @property
    def accumulating(self) -> bool:
        """True while the 2nd or a later micro-batch of an optimizer step is computed.

        The trainer assigns it before every micro-batch: False before the first of a phase, True
        before each of the others. Assigning True rewinds `u` and `v` to where the phase began, so
        every micro-batch sees the same sequence of weights and the result of a step does not
        depend on how its batch is split over micro-batches and ranks.
        """
        return self._accumulating

    @accumulating.setter
    def accumulating(self, value: bool) -> None:
        self._accumulating, self._updated = value, False
        if not value:
            self._start = self.u.clone(), self.v.clone()
        elif self._start is not None:
            self.u.copy_(self._start[0])
            self.v.copy_(self._start[1])

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self._output_dim, 0).flatten(1)  # [rows, columns]

    @torch.no_grad()
    def _vectors(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """`u` and `v` for this forward: copies, which later forwards do not overwrite."""
        how = self.spectral
        if self.training and not (how.update == "step" and self._updated):
            for _ in range(how.iterations):
                u, v = iterate(matrix, self.u, how.eps)
                self.u.copy_(u)
                self.v.copy_(v)
            self._updated = True
        elif how.refine_in_eval and not self.training:
            return iterate(matrix, self.u, how.eps)
        return self.u.clone(), self.v.clone()

    def normalized_weight(self) -> Tensor:
        """`weight / sigma`, differentiable through sigma; iterates first when training."""
        if self.applied:
            return self.weight
        # Sixteen bits are too few for a singular value: this part ignores autocast.
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self._matrix(self.weight)
            u, v = self._vectors(matrix)
            sigma = torch.dot(u[0], matrix @ v[0])
            if self.training:
                self._note(matrix, u, v, sigma)
            return self.weight / sigma

    @torch.no_grad()
    def _note(self, matrix: Tensor, u: Tensor, v: Tensor, first: Tensor) -> None:
        self.sigma[0].copy_(first)
        for i in range(1, self.spectral.values):
            self.sigma[i].copy_(torch.dot(u[i], matrix @ v[i]))


@torch.no_grad()
def normalized_once(net: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode whose weights are the normalized ones already.

    It computes the same, and nothing but that: for exporters.
    """
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, SpectralNorm):
            module.weight.copy_(module.normalized_weight())
            module.applied = True
    return net


def iterate(matrix: Tensor, u: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """One power iteration from the left vectors `[values, rows]`: new left and right vectors.

    Each vector is made orthogonal to those before it (Gram-Schmidt), so that the i-th one finds
    the i-th singular value.
    """
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    for left in u:
        right = _without(matrix.mT @ left, rights)
        rights.append(F.normalize(right, dim=0, eps=eps))
        left = _without(matrix @ rights[-1], lefts)
        lefts.append(F.normalize(left, dim=0, eps=eps))
    return torch.stack(lefts), torch.stack(rights)


def _without(vector: Tensor, others: list[Tensor]) -> Tensor:
    """`vector` minus its components along `others`; one of length zero has no direction."""
    for other in others:
        length = torch.dot(other, other)
        along = torch.where(length > 0, torch.dot(other, vector) / length.clamp_min(1e-30), 0.0)
        vector = vector - along * other
    return vector


class SNLinear(SpectralNorm, nn.Linear):
    """`nn.Linear` with spectral normalization."""

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, spectral: Spectral = AS_PUBLISHED
    ):
        super().__init__(inputs, outputs, bias=bias)
        self._add_vectors(spectral)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized_weight(), self.bias)


class SNEmbedding(SpectralNorm, nn.Embedding):
    """`nn.Embedding` with spectral normalization of its table."""

    def __init__(self, entries: int, features: int, *, spectral: Spectral = Spectral()):
        super().__init__(entries, features)
        self._add_vectors(spectral)

    def forward(self, index: Tensor) -> Tensor:
        return F.embedding(index, self.normalized_weight())


class _SNConv(SpectralNorm):
    """What both convolutions are built with."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        groups: int = 1,
        spectral: Spectral = AS_PUBLISHED,
    ):
        super().__init__(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=bias)
        self._add_vectors(spectral)


class SNConv2d(_SNConv, nn.Conv2d):
    """`nn.Conv2d` with spectral normalization of the `[out, in / groups * k * k]` matrix."""

    def forward(self, x: Tensor) -> Tensor:
        weight, groups = self.normalized_weight(), self.groups
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=groups)


class SNConvTranspose2d(_SNConv, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with spectral normalization of its `[in, out / groups, k, k]` weight."""

    _output_dim = 1

    def forward(self, x: Tensor) -> Tensor:
        weight, groups = self.normalized_weight(), self.groups
        return F.conv_transpose2d(x, weight, self.bias, self.stride, self.padding, groups=groups)


def conv_and_linear(
    spectral: Spectral | None,
) -> tuple[Callable[..., nn.Conv2d], Callable[..., nn.Linear]]:
    """The two kinds of layers that networks are built of, plain for None."""
    if spectral is None:
        return nn.Conv2d, nn.Linear
    return partial(SNConv2d, spectral=spectral), partial(SNLinear, spectral=spectral)
