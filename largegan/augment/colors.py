"""Color transforms of the ADA pipeline: one affine map of colors per image.

Colors are vectors, and the five transforms act along or around the luma axis (1, 1, 1) (Karras et
al., 2020, "Training Generative Adversarial Networks with Limited Data", appendix B, Fig. 9). An
image of one channel is a gray one, and stays gray: it gets the mean of the three channels that
its colors would become. A second or fourth channel is alpha, and no color: it is left alone.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from largegan.augment.draws import Draws
from largegan.ops.constants import constant

CROSS = ((0.0, -1, 1), (1, 0, -1), (-1, 1, 0))
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")


def transform(images: Tensor, draws: Draws, multipliers: Mapping[str, float]) -> Tensor:
    """`[N, 1 to 4, H, W]` -> the same shape."""
    if not any(multipliers.get(name) for name in COLOR):
        return images
    colors = 1 if images.shape[1] < 3 else 3
    m, offset = affine(draws, multipliers)
    if colors == 1:
        m, offset = m.sum(2, keepdim=True).mean(1, keepdim=True), offset.mean(1, keepdim=True)
    # Written out: a matrix product of three rows is slow in every library.
    x = images[:, :colors].unsqueeze(1)  # [N, 1, colors, H, W]
    y = (m[..., None, None].to(x.dtype) * x).sum(2) + offset[..., None, None].to(x.dtype)
    return torch.cat([y, images[:, colors:]], 1) if images.shape[1] > colors else y


def affine(draws: Draws, multipliers: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """`[N, 3, 3]` and `[N, 3]`: colors c become m c + offset."""
    m = torch.eye(3, device=draws.device).expand(draws.n, 3, 3)
    offset = torch.zeros(draws.n, 3, device=draws.device)
    for name in COLOR:
        if not multipliers.get(name):
            continue
        p = multipliers[name] * draws.p
        if name == "brightness":
            offset = offset + draws.happens(draws.normal(1) * 0.2, 0, p)
        else:
            step = LINEAR[name](draws, p)
            m, offset = step @ m, (step @ offset[..., None]).squeeze(-1)
    return m, offset


def _gray(device: torch.device) -> Tensor:
    """The projection on the luma axis, `[3, 3]`."""
    return torch.full((3, 3), 1 / 3, device=device)


def _contrast(draws: Draws, p: Tensor) -> Tensor:
    c = draws.happens(torch.exp2(draws.normal(1, 1) * 0.5), 1, p)
    return c * torch.eye(3, device=draws.device)


def _lumaflip(draws: Draws, p: Tensor) -> Tensor:
    flip = draws.happens(torch.floor(draws.uniform(1, 1) * 2), 0, p)
    return torch.eye(3, device=draws.device) - 2 * _gray(draws.device) * flip


def _hue(draws: Draws, p: Tensor) -> Tensor:
    """A rotation around the luma axis (Rodrigues' formula)."""
    theta = draws.happens((draws.uniform(1, 1) * 2 - 1) * math.pi, 0, p)
    eye, gray = torch.eye(3, device=draws.device), _gray(draws.device)
    cross = constant(CROSS, device=draws.device) / 3**0.5
    return gray + torch.cos(theta) * (eye - gray) + torch.sin(theta) * cross


def _saturation(draws: Draws, p: Tensor) -> Tensor:
    s = draws.happens(torch.exp2(draws.normal(1, 1)), 1, p)
    gray = _gray(draws.device)
    return gray + s * (torch.eye(3, device=draws.device) - gray)


LINEAR = {
    "contrast": _contrast,
    "lumaflip": _lumaflip,
    "hue": _hue,
    "saturation": _saturation,
}
