"""Spectral normalisation: linear maps divided by an estimate of their largest singular value.

Miyato et al. (2018): sigma(W) = u^T W v, with u and v kept from step to step and refined by one
power iteration per training forward (Algorithm 1). The layers here are drop-in replacements for
their plain namesakes; the plain weight stays `weight`, and `u`, `v` are buffers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _SpectralNorm(nn.Module):
    """What the four layers share: the vectors, the iteration, the normalised weight."""

    _output_dim = 0  # the weight's dimension that becomes the rows of the matrix
    weight: Tensor
    u: Tensor  # [rows]
    v: Tensor  # [columns]

    def _add_vectors(self, eps: float) -> None:
        self.eps = eps
        rows, columns = self._matrix(self.weight).shape
        self.register_buffer("u", F.normalize(torch.randn(rows), dim=0, eps=eps))
        self.register_buffer("v", F.normalize(torch.randn(columns), dim=0, eps=eps))
        self._start: tuple[Tensor, Tensor] | None = None  # u, v when the phase began
        self._accumulating = False

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
        self._accumulating = value
        if not value:
            self._start = self.u.clone(), self.v.clone()
        elif self._start is not None:
            self.u.copy_(self._start[0])
            self.v.copy_(self._start[1])

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self._output_dim, 0).flatten(1)  # [rows, columns]

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.v.copy_(F.normalize(matrix.mT @ self.u, dim=0, eps=self.eps))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=self.eps))

    def normalized_weight(self) -> Tensor:
        """`weight / sigma`, differentiable through sigma; iterates first when training."""
        # Sixteen bits are too few for a singular value: this part ignores autocast.
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self._matrix(self.weight)
            if self.training:
                self._iterate(matrix)
            # Copies: the next forward overwrites the buffers, and this graph may still need them.
            u, v = self.u.clone(), self.v.clone()
            return self.weight / torch.dot(u, matrix @ v)


class SNLinear(_SpectralNorm, nn.Linear):
    """`nn.Linear` with spectral normalisation."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, *, eps: float = 1e-6):
        super().__init__(inputs, outputs, bias=bias)
        self._add_vectors(eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized_weight(), self.bias)


class SNEmbedding(_SpectralNorm, nn.Embedding):
    """`nn.Embedding` with spectral normalisation of its table."""

    def __init__(self, entries: int, features: int, *, eps: float = 1e-6):
        super().__init__(entries, features)
        self._add_vectors(eps)

    def forward(self, index: Tensor) -> Tensor:
        return F.embedding(index, self.normalized_weight())


class SNConv2d(_SpectralNorm, nn.Conv2d):
    """`nn.Conv2d` with spectral normalisation of the `[out, in * k * k]` matrix."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        eps: float = 1e-6,
    ):
        super().__init__(inputs, outputs, kernel_size, stride, padding, bias=bias)
        self._add_vectors(eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalized_weight(), self.bias, self.stride, self.padding)


class SNConvTranspose2d(_SpectralNorm, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with spectral normalisation; its weight is `[in, out, k, k]`."""

    _output_dim = 1

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        eps: float = 1e-6,
    ):
        super().__init__(inputs, outputs, kernel_size, stride, padding, bias=bias)
        self._add_vectors(eps)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.normalized_weight()
        return F.conv_transpose2d(x, weight, self.bias, self.stride, self.padding)
