"""Features of patches for contrastive learning (Park et al., 2020, section 3; the paper's H)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from largegan.layers.plain_norm import init_weights


class PatchSampler(nn.Module):
    """Picks positions of feature maps, projects them by an MLP for each map, and normalizes.

    Args:
        channels: widths of the feature maps.
        dim: width of the projections.
        project: False leaves the MLPs out; there is nothing to learn then.
    """

    def __init__(self, channels: Sequence[int], *, dim: int = 256, project: bool = True):
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim))
            if project
            else nn.Identity()
            for width in channels
        )
        init_weights(self)

    def positions(self, maps: Sequence[Tensor], patches: int) -> list[Tensor]:
        """Up to `patches` random positions (row by row) of each map, int64, each at most once."""
        return [torch.randperm(x.shape[2] * x.shape[3], device=x.device)[:patches] for x in maps]

    def forward(self, maps: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Unit vectors `[N, P, dim]` for maps `[N, C, H, W]`, at the same places of every image."""
        found = []
        for x, where, mlp in zip(maps, positions, self.mlps, strict=True):
            # Picked first, so that the gradient comes back in the layout of the map: torch 2.15's
            # batch norm on a CPU returns a wrong one for a single image otherwise.
            picked = mlp(x.flatten(2)[:, :, where].transpose(1, 2))  # [N, P, dim]
            # vector_norm, not sqrt of a sum: where all is zero its derivative is zero, not NaN.
            length = torch.linalg.vector_norm(picked.float(), dim=-1, keepdim=True)
            found.append(picked / (length + 1e-7))
        return found
