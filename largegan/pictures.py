"""Images for people: grids as PNG files, written in one step."""

from pathlib import Path

import torch
from torch import Tensor

from largegan.errors import EnvironmentFault


def to_uint8(images: Tensor) -> Tensor:
    """float `[N, C, H, W]` in [-1, 1] -> uint8, rounded and clamped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


LEGIBLE = 64  # pixels: smaller images are enlarged for the eye, each pixel into a square


def legible(pixels: Tensor) -> Tensor:
    """Small images `[N, C, H, W]` enlarged by a whole factor; larger ones as they are."""
    zoom = max(1, LEGIBLE // max(pixels.shape[2:]))
    return pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)


def grid(images: Tensor, *, columns: int, gap: int = 2) -> Tensor:
    """float `[N, C, H, W]` in [-1, 1] -> one uint8 picture `[C, H', W']`, row by row."""
    from torchvision.utils import make_grid

    pixels = legible(to_uint8(images.cpu()))
    return make_grid(pixels, nrow=columns, padding=2 * gap, pad_value=255)


def write_png(path: Path, picture: Tensor) -> None:
    """uint8 `[C, H, W]` with 1, 3 or 4 channels -> a PNG file that is never seen half-written.

    Raises `EnvironmentFault` when the disk refuses.
    """
    from PIL import Image

    array = picture.permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(partial, format="PNG")
        partial.replace(path)
    except OSError as fault:
        raise EnvironmentFault(
            f"cannot write {path}: {fault.strerror or fault}; make room and continue with "
            "--run.resume auto"
        ) from fault
