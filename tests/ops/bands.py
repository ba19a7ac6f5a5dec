"""An independent implementation of FIR resampling: every output row is a row of a matrix."""

import torch
from torch import Tensor


def band(n: int, f, up: int, down: int, before: int, after: int, flip: bool) -> Tensor:
    """`[outputs, n]`: zero insertion, padding, convolution (or correlation), then every down-th."""
    wide = torch.zeros(max(n * up + before + after, 0), n, dtype=torch.float64)
    for j in range(n):
        if 0 <= j * up + before < len(wide):
            wide[j * up + before, j] = 1.0
    kernel = torch.tensor(list(f) if flip else list(f)[::-1], dtype=torch.float64)
    rows = [kernel @ wide[i : i + len(f)] for i in range(len(wide) - len(f) + 1)]
    return torch.stack(rows[::down])


def upfirdn2d(x, fx, fy, *, up, down, padding, flip, gain) -> Tensor:
    """As `largegan.ops.upfirdn2d` with pairs and four paddings, for separable taps, in float64."""
    across = band(x.shape[3], fx, up[0], down[0], padding[0], padding[1], flip)
    along = band(x.shape[2], fy, up[1], down[1], padding[2], padding[3], flip)
    return torch.einsum("oh,nchw,pw->ncop", along, x.double(), across) * gain
