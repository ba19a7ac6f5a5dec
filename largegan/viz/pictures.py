"""Images for people: grids as picture files, written in one step."""

from pathlib import Path

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.files import output
from largegan.sampler import to_uint8

SOFTWARE = 305  # the EXIF tag
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


PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def write_picture(path: Path, picture: Tensor, *, remedy: str = output.ROOM) -> None:
    """uint8 `[C, H, W]` -> PNG, JPEG or WebP by the ending of `path`, never seen half-written.

    Transparent pixels of a JPEG become white. Raises `EnvironmentFault`, whose sentence ends with
    `remedy`, when it cannot be written.
    """
    image = as_image(picture)
    ending = path.suffix.lower()
    if ending in (".jpg", ".jpeg") and image.mode == "RGBA":
        image = over_white(image)
    with output.writing(path, remedy=remedy) as partial:
        image.save(partial, **saved_as(ending, image.size))


def over_white(image):
    """A PIL image without its transparency."""
    from PIL import Image

    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def saved_as(ending: str, size: tuple[int, int]) -> dict:
    """Options of PIL for an ending; every file says who made it, see `output.MARK`.

    Raises `ConfigError` where the format cannot hold so many pixels.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    longest = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}.get(ending, 1 << 31)
    if max(size) > longest:
        raise ConfigError(
            f"a picture of {size[0]}x{size[1]} pixels is too large for {ending}; choose .png"
        )
    if ending in (".jpg", ".jpeg"):
        return {"format": "JPEG", "quality": 95, "comment": output.MARK}
    if ending == ".webp":
        exif = Image.Exif()
        exif[SOFTWARE] = output.MARK
        return {"format": "WEBP", "lossless": True, "exif": exif}
    about = PngInfo()
    about.add_text("Software", output.MARK)
    return {"format": "PNG", "pnginfo": about}
