"""StyleGAN2's mapping network (Karras et al., 2020), with the truncation of its w."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from largegan.layers.equalized import (
    EqualizedLinear,
)
from largegan.layers.precision import exact
from largegan.layers.running_mean import RunningMean


def unit_moment(x: Tensor) -> Tensor:
    """Rows of `[N, C]` scaled to a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """Latents `[N, z_dim]` and conditions `[N, c_dim]` -> `[N, num_ws, w_dim]`.

    Either may be absent (0). With `num_ws` None the result is `[N, w_dim]` and no average is kept
    (the discriminator's view of the condition). While training, `w_avg` follows the mean w.
    """

    def __init__(
        self,
        *,
        z_dim: int,
        w_dim: int,
        c_dim: int = 0,
        num_ws: int | None = None,
        layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        w_avg_beta: float = 0.995,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        embedded = (embed_features or w_dim) if c_dim else 0
        between = [layer_features or w_dim] * (layers - 1)
        self.embed = EqualizedLinear(c_dim, embedded) if c_dim else None
        self.layers = nn.Sequential(
            *(
                EqualizedLinear(i, o, activation=activation, lr_multiplier=lr_multiplier)
                for i, o in pairwise([z_dim + embedded, *between, w_dim])
            )
        )
        self.w_avg = None if num_ws is None else RunningMean((w_dim,), beta=w_avg_beta)

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        *,
        truncation: float | Tensor = 1.0,
        cutoff: int | None = None,
        track: bool = True,
    ) -> Tensor:
        """`truncation` pulls the first `cutoff` ws (None: all) towards `w_avg`; 1 leaves them.

        `track=False` keeps this call out of the average.
        """
        inputs = []
        with exact(z if z is not None else c):
            if self.z_dim:
                inputs.append(unit_moment(z.to(self.dtype)))
            if self.embed is not None:
                inputs.append(unit_moment(self.embed(c.to(self.dtype))))
            w = self.layers(torch.cat(inputs, 1))  # [N, w_dim]
        if self.num_ws is None:
            return w
        if self.training and track:
            self.w_avg.add(w.detach())
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)  # [N, num_ws, w_dim]
        untouched = not isinstance(truncation, Tensor) and truncation == 1
        return ws if untouched else self.truncate(ws, truncation, cutoff)

    def truncate(self, ws: Tensor, truncation: float | Tensor, cutoff: int | None = None) -> Tensor:
        """The first `cutoff` of `ws` `[N, num_ws, w_dim]` moved towards the mean w."""
        near = torch.lerp(self.w_avg.mean, ws[:, :cutoff], truncation)
        return near if cutoff is None else torch.cat([near, ws[:, cutoff:]], 1)

    @property
    def dtype(self) -> torch.dtype:
        return self.layers[0].weight.dtype
