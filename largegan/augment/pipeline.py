"""The eighteen transforms of ADA, in order, differentiable to any order in the images."""

from collections.abc import Mapping

from torch import Tensor

from largegan.augment import colors, corruptions, geometry
from largegan.augment.draws import Draws

_BG = (*geometry.BLIT, *geometry.GEOM)
GROUPS = {
    "blit": geometry.BLIT,
    "geom": geometry.GEOM,
    "color": colors.COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": _BG,
    "bgc": (*_BG, *colors.COLOR),
    "bgcf": (*_BG, *colors.COLOR, "imgfilter"),
    "bgcfn": (*_BG, *colors.COLOR, "imgfilter", "noise"),
    "bgcfnc": (*_BG, *colors.COLOR, "imgfilter", "noise", "cutout"),
}
TRANSFORMS = GROUPS["bgcfnc"]


def multipliers_of(transforms: str | Mapping[str, float]) -> dict[str, float]:
    """A group's name, or `{transform: multiplier of p}`; ValueError for names nobody knows."""
    if isinstance(transforms, str):
        if transforms not in GROUPS:
            raise ValueError(f"no augmentation {transforms!r}: give one of {', '.join(GROUPS)}")
        return dict.fromkeys(GROUPS[transforms], 1.0)
    unknown = sorted(set(transforms) - set(TRANSFORMS))
    if unknown:
        raise ValueError(f"no transform {unknown[0]!r}: there are {', '.join(TRANSFORMS)}")
    return dict(transforms)


def augment(
    images: Tensor,
    p: Tensor | float,
    transforms: Mapping[str, float],
    *,
    quantile: float | None = None,
    waits: bool = True,
) -> Tensor:
    """`[N, 1 to 4, H, W]` around [-1, 1] -> the same shape, each transform with probability p.

    `transforms` gives every transform's multiplier of `p`. `quantile` replaces random draws by
    their quantile; see `Draws`. `waits` is of `geometry.warp`.
    """
    draws = Draws(images, p, quantile)
    images = geometry.transform(images, draws, transforms, waits=waits)
    images = colors.transform(images, draws, transforms)
    for name in ("imgfilter", "noise", "cutout"):
        if transforms.get(name):
            images = LAST[name](images, draws, transforms[name])
    return images


LAST = {
    "imgfilter": corruptions.image_filter,
    "noise": corruptions.noise,
    "cutout": corruptions.cutout,
}
