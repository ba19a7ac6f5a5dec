"""Where ResNets with self-attention (Zhang et al., 2019) have it."""

from collections.abc import Sequence
from dataclasses import dataclass

from largegan.files.ranges import Few, WholeNumber
from largegan.nets.resnet_sn import attended


@dataclass(frozen=True, kw_only=True)
class SelfAttentionOptions:
    """Options of recipes whose networks have some."""

    attention: WholeNumber = 64
    """Size of the feature maps with self-attention, in both networks; 0: none."""
    g_attention_blocks: list[Few] | None = None
    """The generator's blocks that self-attention follows, counted from 0; null: by `attention`."""
    d_attention_blocks: list[Few] | None = None
    """The discriminator's."""

    def attended(self, resolution: int) -> tuple[Sequence[int], Sequence[int]]:
        """Blocks that self-attention follows: the generator's and the discriminator's."""
        return (
            attended(self.g_attention_blocks, self.attention, resolution, up=True),
            attended(self.d_attention_blocks, self.attention, resolution, up=False),
        )
