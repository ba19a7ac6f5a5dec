"""Make one image ready for a shard: upright, one size, one channel count, no metadata."""

import dataclasses
import io

import numpy as np
from PIL import Image, ImageOps

from largegan.data.decode import BadImage
from largegan.errors import ConfigError

FITS = ("center-crop", "stretch", "pad")
FILTERS = ("lanczos", "bicubic", "bilinear", "box")  # box is what papers call area
FORMATS = ("jpg", "png")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How images are stored. ``size`` is (height, width); None keeps theirs.

    ``filter`` is how they are resized; each of them widens where it shrinks, so nothing aliases.
    ``background`` (red, green, blue) lies behind transparent pixels and fills what ``pad`` adds.
    """

    size: tuple[int, int] | None = None
    fit: str = "center-crop"
    filter: str = "lanczos"
    channels: int = 3
    background: tuple[int, int, int] = (255, 255, 255)
    format: str = "jpg"
    quality: int = 95

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise ConfigError(
                f"there is no filter {self.filter!r}; give one of {', '.join(FILTERS)}"
            )
        if self.fit not in FITS or self.format not in FORMATS or self.channels not in MODES:
            raise ConfigError(
                f"cannot pack with fit {self.fit}, format {self.format} and {self.channels} "
                f"channels; fit is one of {', '.join(FITS)}, format {' or '.join(FORMATS)}, "
                "channels 1, 3 or 4"
            )
        if self.channels == 4 and self.format == "jpg":
            raise ConfigError("JPEG has no alpha channel; use --format png with --channels 4")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}; JPEG quality is between 1 and 100")

    def encode(self, data: bytes | np.ndarray) -> tuple[bytes, tuple[int, int]]:
        """File bytes and (height, width) of a prepared image; raises BadImage."""
        image = self._resize(self._convert(_upright(data)))
        out = io.BytesIO()
        if self.format == "jpg":
            image.save(out, "JPEG", quality=self.quality)
        else:
            image.save(out, "PNG")
        return out.getvalue(), (image.height, image.width)

    def _convert(self, image: Image.Image) -> Image.Image:
        """To the wanted channels. Alpha is composited before any resizing, so no edge is tinted."""
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise BadImage(f"has pixels of type {image.mode}; save it with 8 bits per channel")
        if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
        if image.mode == "RGBA" and self.channels != 4:
            ground = Image.new("RGBA", image.size, (*self.background, 255))
            image = Image.alpha_composite(ground, image)
        return image.convert(MODES[self.channels])

    def _resize(self, image: Image.Image) -> Image.Image:
        if self.size is None or (image.height, image.width) == self.size:
            return image
        size = (self.size[1], self.size[0])
        kernel = Image.Resampling[self.filter.upper()]
        if self.fit == "stretch":
            return image.resize(size, kernel)
        if self.fit == "center-crop":
            return ImageOps.fit(image, size, kernel)
        ground = Image.new("RGB", (1, 1), self.background).convert(image.mode).getpixel((0, 0))
        return ImageOps.pad(image, size, kernel, color=ground)


def upright_rgb(data: bytes | np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of a file or an array, as packing would store it; raises BadImage."""
    return np.asarray(Preparation()._convert(_upright(data)))


def _upright(data: bytes | np.ndarray) -> Image.Image:
    """Decode and turn as the EXIF orientation says. A fresh image: no metadata comes along."""
    if isinstance(data, np.ndarray):
        return Image.fromarray(data[..., 0] if data.shape[2] == 1 else data)
    try:
        with Image.open(io.BytesIO(data)) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "unknown format" if "BytesIO" in str(error) else error
        raise BadImage(f"is not a readable image ({reason})") from error
    # What a converted copy would pass on to the saved file.
    image.info = {k: v for k, v in image.info.items() if k == "transparency"}
    return image
