"""Minibatch standard deviation: shows a discriminator how varied the batch is."""

import torch
from torch import Tensor, nn


class MinibatchStd(nn.Module):
    """`[N, C, H, W]` -> `[N, C + features, H, W]` (Karras et al., 2018, Sec. 3).

    The batch is dealt into groups of `group_size` (None: the whole batch), or of the next smaller
    number that divides N; image n meets images n + N / group, n + 2 N / group ... Over each group
    the standard deviation of every value is taken, and its mean over pixels and over each of
    `features` equal parts of the channels is appended as a constant channel.
    """

    def __init__(self, group_size: int | None = 4, features: int = 1):
        super().__init__()
        self.group_size, self.features = group_size, features

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        most = n if self.group_size is None else min(self.group_size, n)
        group = next(size for size in range(most, 0, -1) if n % size == 0)
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        y = y.reshape(group, n // group, self.features, c // self.features, h, w)
        # Not `var`: the second derivative of its formula loses most digits in float32.
        y = y - y.mean(0)
        std = (y.square().mean(0) + 1e-8).sqrt().mean([2, 3, 4])  # [n / group, features]
        y = std.to(x.dtype).repeat(group, 1)[:, :, None, None].expand(-1, -1, h, w)
        return torch.cat([x, y], 1)
