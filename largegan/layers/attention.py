"""Self-attention over the positions of a feature map (Zhang et al., 2019)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.dropout import Drops


class SelfAttention(nn.Module):
    """`[N, C, H, W]` -> the same, plus `gamma` times what each position attends to.

    As released, and as BigGAN uses it: keys and values are max-pooled by 2, queries and keys have
    C/8 channels and values C/2, nothing is scaled before the softmax, and `gamma` starts at 0. The
    paper's text has no pooling. `conv` builds the four 1 x 1 convolutions (`SNConv2d`).

    With `second_order` the sum is written out, for networks whose gradient is differentiated
    again: the fused kernels of `scaled_dot_product_attention` have no second derivative.
    """

    def __init__(
        self,
        features: int,
        *,
        conv: Callable[..., nn.Conv2d] = nn.Conv2d,
        second_order: bool = False,
    ):
        super().__init__()
        self.second_order = second_order
        self.theta = conv(features, features // 8, 1, bias=False)  # queries
        self.phi = conv(features, features // 8, 1, bias=False)  # keys
        self.g = conv(features, features // 2, 1, bias=False)  # values
        self.o = conv(features // 2, features, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = positions(self.theta(x))  # [N, HW, C/8]
        key = positions(F.max_pool2d(self.phi(x), 2))  # [N, HW/4, C/8]
        value = positions(F.max_pool2d(self.g(x), 2))  # [N, HW/4, C/2]
        if self.second_order:
            found = torch.softmax(query @ key.mT, dim=-1) @ value  # [N, HW, C/2]
        else:
            heads = (part.unsqueeze(1) for part in (query, key, value))  # one head
            found = F.scaled_dot_product_attention(*heads, scale=1.0).squeeze(1)
        found = found.mT.unflatten(2, x.shape[2:])  # [N, C/2, H, W]
        return x + self.gamma * self.o(found)


def positions(x: Tensor) -> Tensor:
    """`[N, C, H, W]` -> `[N, HW, C]`."""
    return x.flatten(2).mT


def attention_after(
    blocks: Sequence[int],
    widths: Sequence[int],
    *,
    conv: Callable[..., nn.Conv2d],
    second_order: bool = False,
) -> nn.ModuleDict:
    """Self-attention by the number of the block it follows; `widths` are what blocks give."""
    return nn.ModuleDict(
        {str(i): SelfAttention(widths[i], conv=conv, second_order=second_order) for i in blocks}
    )


class BlocksWithAttention(Drops):
    """A network of `blocks`, behind some of which `attention` (see `attention_after`) follows."""

    blocks: nn.ModuleList
    attention: nn.ModuleDict

    def through_blocks(self, x: Tensor, conditions: Sequence[Sequence[Tensor]] = ()) -> Tensor:
        """Feature maps behind the last block; `conditions` are what each block sees beside them."""
        conditions = conditions or [()] * len(self.blocks)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = self.drop(block(x, *condition))  # [N, C', 2H, 2W], or [N, C', H/2, W/2]
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        return x
