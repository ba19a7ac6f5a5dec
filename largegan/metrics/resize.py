"""To the size a feature network wants: on the host as Pillow does it, and on the device in batches.

The rule of clean-fid (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", 2022) is Pillow's anti-aliased bicubic filter on each channel as float32, clipped to
[0, 255] and never rounded. `host_resize` is that, bit for bit. `device_resize` multiplies by the
same weights and differs by the rounding of float32 (6e-5 of 255 at most).
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.errors import DataError

BLOCK = 32  # output rows whose inputs are read together: the weights are a narrow band


def _cubic(x: float) -> float:
    """Keys' cubic kernel with a = -0.5, as in Pillow."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0


FILTERS = {  # kernel, and half its width
    "bilinear": (lambda x: max(1 - abs(x), 0.0), 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def host_resize(
    image: np.ndarray, size: tuple[int, int], *, filter: str = "bicubic", rounded: bool = False
) -> np.ndarray:
    """`[H, W, C]` from 0 to 255 -> float32 `[*size, C]` by Pillow, clipped.

    `size` is (height, width). `rounded` resizes in 8 bits, as plain image tools do, and gives
    uint8: what FID must not be computed from.
    """
    from PIL import Image

    kernel = Image.Resampling[filter.upper()]
    to = (size[1], size[0])
    if rounded:
        resized = [Image.fromarray(c).resize(to, kernel) for c in np.moveaxis(image, 2, 0).copy()]
        return np.stack([np.asarray(c) for c in resized], 2)
    channels = np.moveaxis(image.astype(np.float32), 2, 0).copy()  # Pillow's mode F: one float
    resized = [np.asarray(Image.fromarray(c).resize(to, kernel)) for c in channels]
    return np.stack(resized, 2).clip(0, 255)


def device_resize(images: Tensor, size: tuple[int, int], *, filter: str = "bicubic") -> Tensor:
    """`[N, C, H, W]` from 0 to 255 -> float32 `[N, C, *size]`, clipped, on the images' device."""
    n, channels, height, width = images.shape
    device = images.device
    x = images.reshape(n * channels, height, width).float()
    with exact_products():
        x = torch.cat([w @ x[:, a:b] for a, b, w in _bands(height, size[0], filter, device)], 1)
        x = x.reshape(-1, width)
        x = torch.cat([x[:, a:b] @ w.T for a, b, w in _bands(width, size[1], filter, device)], 1)
    return x.reshape(n, channels, *size).clamp_(0, 255)


@contextmanager
def exact_products() -> Iterator[None]:
    """Float32 is float32: no TF32, which torch allows convolutions by default and training more."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@functools.lru_cache(maxsize=64)
def _bands(
    length: int, wanted: int, filter: str, device: torch.device
) -> list[tuple[int, int, Tensor]]:
    """(first, last, weights `[BLOCK, last - first]`) for each block of output rows."""
    weights = filter_weights(length, wanted, filter)
    bands = []
    for start in range(0, wanted, BLOCK):
        rows = weights[start : start + BLOCK]
        used = np.flatnonzero(rows.any(0))
        a, b = int(used[0]), int(used[-1]) + 1
        bands.append((a, b, torch.from_numpy(rows[:, a:b]).float().to(device)))
    return bands


def filter_weights(length: int, wanted: int, filter: str) -> np.ndarray:
    """float64 `[wanted, length]`: what each output sample takes from the inputs, as in Pillow.

    When shrinking, the kernel is widened by the scale, which is what removes aliasing.
    """
    kernel, half = FILTERS[filter]
    scale = length / wanted
    stretch = max(scale, 1.0)
    weights = np.zeros((wanted, length))
    for i in range(wanted):
        center = (i + 0.5) * scale
        first = max(math.floor(center - half * stretch + 0.5), 0)
        last = min(math.floor(center + half * stretch + 0.5), length)
        taps = np.array([kernel((j + 0.5 - center) / stretch) for j in range(first, last)])
        weights[i, first:last] = taps / taps.sum()
    return weights


def torch_bilinear(images: Tensor, size: tuple[int, int]) -> Tensor:
    """pytorch-fid's rule (clean-fid's `legacy_pytorch`): bilinear without anti-aliasing."""
    resized = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
    return resized.clamp(0, 255)


def tensorflow_bilinear(images: Tensor, size: tuple[int, int]) -> Tensor:
    """TensorFlow 1's rule, of the first FID code: bilinear, pixel i sampled at i * scale.

    `[N, C, H, W]` -> `[N, C, *size]`, in the images' floating-point type.
    """
    rows = _tensorflow_weights(images.shape[2], size[0]).to(images)
    columns = _tensorflow_weights(images.shape[3], size[1]).to(images)
    return rows @ images @ columns.T


def _tensorflow_weights(length: int, wanted: int) -> Tensor:
    """float64 `[wanted, length]`: two neighbors each, the last one beyond the edge repeated."""
    place = torch.arange(wanted, dtype=torch.float64) * (length / wanted)
    left = place.floor().long()
    right = (left + 1).clamp(max=length - 1)
    weights = torch.zeros(wanted, length, dtype=torch.float64)
    share = (place - left)[:, None]
    weights.scatter_add_(1, left[:, None], 1 - share)
    return weights.scatter_add_(1, right[:, None], share)


def as_rgb(images: Tensor) -> Tensor:
    """uint8 `[..., C, H, W]` -> three channels: gray repeated, transparency over white."""
    if images.dtype != torch.uint8:
        raise DataError(f"images are {images.dtype}; features are computed from 8-bit images")
    channels = images.shape[-3]
    if channels == 3:
        return images
    if channels == 1:
        return images.expand(*images.shape[:-3], 3, *images.shape[-2:])
    if channels == 4:
        color, alpha = images[..., :3, :, :].float(), images[..., 3:, :, :].float() / 255
        return (color * alpha + 255 * (1 - alpha)).round().to(torch.uint8)
    raise DataError(f"images have {channels} channels; features need 1, 3 or 4")
