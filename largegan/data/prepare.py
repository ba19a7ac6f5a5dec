"""Make one image ready for a shard: upright, one size, one channel count, no metadata."""

import dataclasses
import io

import numpy as np
from PIL import Image, ImageOps

from largegan.errors import ConfigError
from largegan.files import photos
from largegan.files.photos import BadImage, decoder_faults
from largegan.files.png import deep_png

FITS = ("center-crop", "stretch", "pad")
FILTERS = ("lanczos", "bicubic", "bilinear", "box")  # box is what papers call area
FORMATS = ("jpg", "png")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How images are stored. ``size`` is (height, width); None keeps theirs.

    ``filter`` is how they are resized; each of them widens where it shrinks, so nothing aliases.
    ``background`` (red, green, blue) lies behind transparent pixels and fills what ``pad`` adds.
    ``window`` are the stored values that become black and white, for images of more than 8 bits;
    None: all that their type can hold. ``depth`` is that of what is stored, 8 or 16 bits.
    """

    size: tuple[int, int] | None = None
    fit: str = "center-crop"
    filter: str = "lanczos"
    channels: int = 3
    background: tuple[int, int, int] = (255, 255, 255)
    format: str = "jpg"
    quality: int = 95
    window: tuple[float, float] | None = None
    depth: int = 8

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
        if self.depth not in (8, 16) or (self.depth == 16 and self.format != "png"):
            raise ConfigError(
                f"cannot pack {self.depth} bits as {self.format}; depth is 8, or 16 with png"
            )
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}; JPEG quality is between 1 and 100")

    def encode(self, data: bytes | np.ndarray) -> tuple[bytes, tuple[int, int]]:
        """File bytes and (height, width) of a prepared image; raises BadImage."""
        if self.depth == 16:
            deep = self.deep_pixels(data)
            return deep_png(deep), deep.shape[:2]
        image = self._convert(self._opened(data))
        out = io.BytesIO()
        with decoder_faults():  # of PIL on its way to the file: sides of 0, too many pixels
            image = self._resize(image)
            if self.format == "jpg":
                image.save(out, "JPEG", quality=self.quality)
            else:
                image.save(out, "PNG")
        return out.getvalue(), (image.height, image.width)

    def deep_pixels(self, data: bytes | np.ndarray) -> np.ndarray:
        """uint16 [H, W, C] of a prepared image, the window on 0 to 65535; raises BadImage."""
        photo = photos.of_array(data) if isinstance(data, np.ndarray) else photos.read(data)
        values = photos.for_network(photo, self.channels, self.background)
        unit = photos.scale_for(values.dtype, self.window).to_unit(values)
        white = photos.scale_for(np.dtype(np.uint8), None).to_unit(np.array([self.background]))
        with decoder_faults():
            planes = [
                self._resize(Image.fromarray(unit[..., c]), float(white[0, min(c, 2)]))
                for c in range(self.channels)
            ]
        resized = np.stack([np.asarray(plane) for plane in planes], 2)
        return np.rint((np.clip(resized, -1, 1) + 1) * 32767.5).astype(np.uint16)

    def pixels(self, data: bytes | np.ndarray) -> np.ndarray:
        """uint8 [H, W, C] of a prepared image; raises BadImage."""
        image = self._convert(self._opened(data))
        with decoder_faults():
            pixels = np.array(self._resize(image))
        return pixels.reshape(*pixels.shape[:2], self.channels)

    def _opened(self, data: bytes | np.ndarray) -> Image.Image:
        """The image with 8 bits per channel; raises BadImage."""
        if isinstance(data, np.ndarray):
            if self.window is None and data.dtype == np.uint8:
                return _of_array(data)
            return _of_array(shallow(data, self.window))
        if self.window is None and not photos.is_deep(data):
            return _upright(data)
        photo = photos.read(data)
        pixels = shallow(photo.pixels, self.window)
        if photo.alpha is not None:
            pixels = np.concatenate([pixels, shallow(photo.alpha, None)[..., None]], 2)
        return _of_array(pixels)

    def _convert(self, image: Image.Image) -> Image.Image:
        """To the wanted channels. Alpha is composited before any resizing, so no edge is tinted."""
        if image.mode[0] in "IF":  # deep, in a format that is not recognized as such
            image = _of_array(shallow(np.asarray(image)[..., None], self.window))
        with decoder_faults():  # PIL has not every way from one kind of color to another
            return self._in_colors(image)

    def _in_colors(self, image: Image.Image) -> Image.Image:
        """Alpha laid over the background, in the wanted channels."""
        if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
        if image.mode == "RGBA" and self.channels != 4:
            ground = Image.new("RGBA", image.size, (*self.background, 255))
            image = Image.alpha_composite(ground, image)
        return image.convert(MODES[self.channels])

    def _resize(self, image: Image.Image, ground: float | None = None) -> Image.Image:
        """Fitted to the size; `ground` is what ``pad`` adds to a plane of floats."""
        if self.size is None or (image.height, image.width) == self.size:
            return image
        size = (self.size[1], self.size[0])
        kernel = Image.Resampling[self.filter.upper()]
        if self.fit == "stretch":
            return image.resize(size, kernel)
        if self.fit == "center-crop":
            return ImageOps.fit(image, size, kernel)
        if ground is None:
            ground = Image.new("RGB", (1, 1), self.background).convert(image.mode).getpixel((0, 0))
        return ImageOps.pad(image, size, kernel, color=ground)


def upright_rgb(data: bytes | np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of a file or an array, as packing would store it; raises BadImage."""
    how = Preparation()
    return np.asarray(how._convert(how._opened(data)))


def shallow(pixels: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """uint8 of pixels of any type; raises BadImage where it is not known what they mean."""
    if pixels.dtype == np.uint8 and window is None:
        return pixels
    if pixels.dtype != np.uint16 and pixels.dtype != np.uint8 and window is None:
        raise BadImage(
            f"has pixels of type {pixels.dtype}; save it with 8 bits per channel, or say with "
            "--window LO,HI which values are black and white"
        )
    if window is None:
        return (pixels >> 8).astype(np.uint8)
    unit = photos.scale_for(pixels.dtype, window).to_unit(pixels)
    return np.rint((unit + 1) * 127.5).astype(np.uint8)


def size_of(data: bytes | np.ndarray) -> tuple[int, int]:
    """Height and width of an image, upright, by its header; raises BadImage."""
    if isinstance(data, np.ndarray):
        return data.shape[0], data.shape[1]
    with decoder_faults(), Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(photos.ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def _of_array(pixels: np.ndarray) -> Image.Image:
    with decoder_faults():
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _upright(data: bytes) -> Image.Image:
    """Decode and turn as the EXIF orientation says. A fresh image: no metadata comes along."""
    with decoder_faults(), Image.open(io.BytesIO(data)) as file:
        image = ImageOps.exif_transpose(file)
        image.load()
    # What a converted copy would pass on to the saved file.
    image.info = {k: v for k, v in image.info.items() if k == "transparency"}
    return image
