"""Images for people: grids as PNG files, written in one step."""

from pathlib import Path

import torch
from torch import Tensor

from largegan.errors import EnvironmentFault
from largegan.sampler import to_uint8

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


def as_image(picture: Tensor):
    """uint8 `[C, H, W]` with 1, 3 or 4 channels -> a PIL image."""
    from PIL import Image

    array = picture.permute(1, 2, 0).cpu().contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def of_figure(figure) -> Tensor:
    """A matplotlib figure as uint8 `[3, H, W]`."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def write_picture(
    path: Path, picture: Tensor, *, remedy: str = "choose a writable place with free space"
) -> None:
    """uint8 `[C, H, W]` -> PNG or JPEG by the ending of `path`, never seen half-written.

    Transparent pixels of a JPEG become white. Raises `EnvironmentFault`, whose sentence ends with
    `remedy`, when it cannot be written.
    """
    from PIL import Image

    image = as_image(picture)
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    if jpeg and image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    options = {"format": "JPEG", "quality": 95} if jpeg else {"format": "PNG"}
    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(partial, **options)
        partial.replace(path)
    except OSError as fault:
        raise EnvironmentFault(
            f"cannot write {path}: {fault.strerror or fault}; {remedy}"
        ) from fault
