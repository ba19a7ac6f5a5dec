"""What transformers for images share: positions, attention with rotations, gated MLPs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


def rms_norm(x: Tensor, eps: float = EPS) -> Tensor:
    """`x` over the root of its mean square along the last dimension; no weights."""
    return F.rms_norm(x, x.shape[-1:], eps=eps)


def position_table(rows: int, columns: int, width: int) -> Tensor:
    """`[rows * columns, width]`: one half tells the column, the other the row.

    Each half is sines, then cosines, of the index times 10000^(-4 i / width) (Vaswani et al.,
    2017, section 3.5, in two dimensions as He et al., 2022, use it). `width` is a multiple of 4.
    """
    speeds = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    row, column = grid(rows, columns)
    halves = []
    for index in (column, row):
        angle = index[:, None] * speeds
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, dim=1).to(torch.get_default_dtype())


def grid(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Row and column `[rows * columns]` of each token, float64."""
    tokens = torch.arange(rows * columns)
    return (tokens // columns).double(), (tokens % columns).double()


class Rotary(nn.Module):
    """Rotates pairs of channels of queries and keys by their token's place (Su et al., 2021).

    `[N, heads, prefix + rows * columns, dim]` -> the same. The first half of the pairs turns with
    the row, the second with the column, by 10000^(-2 i / (dim / 2)) a step; `prefix` tokens (a
    class token) stay. `dim` is a multiple of 4.
    """

    def __init__(self, rows: int, columns: int, dim: int, *, prefix: int = 0):
        super().__init__()
        half = dim // 2
        speeds = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
        angles = torch.cat([index[:, None] * speeds for index in grid(rows, columns)], dim=1)
        angles = torch.cat([angles.new_zeros(prefix, half), angles])
        # Functions of the shape alone: no checkpoint needs them.
        kind = torch.get_default_dtype()
        self.register_buffer("cos", angles.cos().to(kind), persistent=False)  # [tokens, dim / 2]
        self.register_buffer("sin", angles.sin().to(kind), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)  # pairs lie side by side
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        turned = (first * cos - second * sin, second * cos + first * sin)
        return torch.stack(turned, dim=-1).flatten(-2)


class Attention(nn.Module):
    """`[N, tokens, width]` -> the same: every token looks at every token.

    With `qk_norm` queries and keys are RMS-normalized with weights of their own, by the smallest
    eps of their type, before they are rotated. The fused kernels of
    `scaled_dot_product_attention` have no second derivative: first-order phases only.
    """

    def __init__(self, width: int, heads: int, *, qk_norm: bool = True):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, tokens, width / heads]
        q, k = rotary(self.q_norm(q)).to(v.dtype), rotary(self.k_norm(k)).to(v.dtype)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.proj(found.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """`w3(silu(a) * b)` with `a, b` the halves of `w12(x)` (Shazeer, 2020).

    Hidden width is 2/3 of `ratio * width`, so that it has as many weights as a plain MLP.
    """

    def __init__(self, width: int, ratio: float = 4.0):
        super().__init__()
        hidden = int(2 / 3 * int(ratio * width))
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


def unpatched(tokens: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """`[N, rows * columns, patch * patch * C]` -> images `[N, C, rows * patch, columns * patch]`.

    Within a token the pixel's row comes first, then its column, then the channel.
    """
    x = tokens.unflatten(2, (patch, patch, -1)).unflatten(1, (rows, columns))
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
