"""Image files of people: upright, any bit depth, alpha set aside.

Training reads through `data/decode.py`, which refuses what does not fit the dataset. Here people
bring what they have: gray and color, 8 and 16 bits, with and without alpha, PNG, JPEG, TIFF, WebP.
Whatever a decoder raises on a damaged file becomes `BadImage`, in `decoder_faults`.
"""

import contextlib
import ctypes
import io
import logging
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyspng
import tifffile
from PIL import Image, ImageOps, _imaging

from largegan.errors import shown

PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_ENDINGS = (".tif", ".tiff")
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as PIL's conversion to gray
ORIENTATION = 274  # the EXIF and TIFF tag
HUGE = 1 << 28  # bytes of pixels from which on they are mapped from disk rather than held
ANIMATED_WITHIN = 1 << 16  # bytes of a PNG
LARGEST, RATIO = 2 << 30, 200  # bytes of pixels; how many times more than the file has


def quiet_decoders() -> None:
    """What is wrong with a file is raised, in one sentence; decoders need not print it as well.

    libtiff prints to standard error by itself, so its handlers are taken away.
    """
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    with contextlib.suppress(OSError, AttributeError):  # a Pillow without libtiff
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


quiet_decoders()


class BadImage(ValueError):
    """An image cannot be read, or is not what is wanted: the end of a sentence about it."""


@contextlib.contextmanager
def decoder_faults(kind: str = "image") -> Iterator[None]:
    """Whatever decoders raise on a damaged file becomes BadImage, and nothing else does."""
    try:
        yield
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(
            "is so large that it may be an attack on memory; save it as TIFF without compression, "
            "which is mapped from disk"
        ) from error
    except MemoryError as error:
        raise BadImage("needs more memory than there is") from error
    except DECODERS_RAISE as error:
        reason = "unknown format" if "BytesIO" in str(error) else shown(error)
        reason = reason or type(error).__name__
        raise BadImage(f"is not a readable {kind} ({reason})") from error


# PIL's plugins, tifffile, pyspng and simplejpeg do not check all they read.
DECODERS_RAISE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    RuntimeError, SyntaxError, EOFError, NotImplementedError, AssertionError, UnicodeError,
    struct.error, zlib.error, lzma.LZMAError, tifffile.TiffFileError, BufferError,
)  # fmt: skip


@dataclass
class Photo:
    """One image: `pixels` `[H, W, C]` with C = 1 or 3, `alpha` `[H, W]` or None; one dtype."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]


@dataclass(frozen=True)
class Scale:
    """Which stored values mean -1 and 1 to the network."""

    low: float
    high: float

    def to_unit(self, pixels: np.ndarray) -> np.ndarray:
        """float32 in [-1, 1]; what lies outside of the window is clipped to it. Raises BadImage."""
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise BadImage("holds numbers that are not finite")
        x = pixels.astype(np.float32) - np.float32(self.low)
        return np.clip(x / np.float32((self.high - self.low) / 2) - 1, -1, 1)

    def from_unit(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Float32 in [-1, 1] -> stored values of `dtype` within the window, rounded."""
        y = (np.clip(x, -1, 1).astype(np.float64) + 1) * ((self.high - self.low) / 2) + self.low
        return y.astype(dtype) if dtype.kind == "f" else np.rint(y).astype(dtype)


def scale_for(dtype: np.dtype, window: tuple[float, float] | None) -> Scale:
    """The window, or all that the type can hold; raises BadImage where neither makes sense."""
    if dtype.kind == "f" and window is None:
        raise BadImage("has floating-point pixels; say with --window LO,HI what they range over")
    if window is None:
        return Scale(np.iinfo(dtype).min, np.iinfo(dtype).max)
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if window[0] < limits.min or window[1] > limits.max:
            raise BadImage(
                f"holds values from {limits.min} to {limits.max}, which do not reach the --window "
                f"{window[0]:g},{window[1]:g}"
            )
    return Scale(*window)


def read(data: bytes) -> Photo:
    """Decodes a file, upright; raises BadImage, which says what is wrong with it."""
    with decoder_faults():
        if data[:4] in TIFF_STARTS:
            return _read_tiff(io.BytesIO(data))
        if data[:8] == PNG_START and data[24:25] == b"\x10":
            return _read_deep_png(data)
        return _read_with_pil(data)


def is_deep(data: bytes) -> bool:
    """Whether an image has more than 8 bits per channel, by its header; raises BadImage."""
    if data[:8] == PNG_START:
        return data[24:25] == b"\x10"
    with decoder_faults():
        if data[:4] in TIFF_STARTS:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                return file.pages[0].dtype not in (np.uint8, bool)
        if data[:1] == b"P":  # portable gray maps
            with Image.open(io.BytesIO(data)) as image:
                return image.mode[0] in "IF"
    return False


def has_more(data: bytes) -> bool:
    """Whether an image is the first of several: an animation, or pages of a TIFF.

    Raises BadImage.
    """
    several = data[:4] == b"GIF8" or data[8:12] == b"WEBP" or data[:4] in TIFF_STARTS
    if not several and b"acTL" not in data[:ANIMATED_WITHIN]:
        return False
    with decoder_faults(), Image.open(io.BytesIO(data)) as image:
        return bool(getattr(image, "is_animated", False))


def map_tiff(path: Path) -> Photo | None:
    """A huge uncompressed TIFF without reading it into memory; None when it is not one."""
    if path.suffix.lower() not in TIFF_ENDINGS or path.stat().st_size < HUGE:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            plain = file.pages[0].is_memmappable and _turn_of(file.pages[0]) == 1
        return _split(tifffile.memmap(path, mode="r"), alpha=False) if plain else None
    except (ValueError, OSError, tifffile.TiffFileError):
        return None


def _read_tiff(file: io.BytesIO) -> Photo:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        if len(tiff.pages) > 1:
            raise BadImage(f"holds {len(tiff.pages)} pages; split it into files of one")
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE or page.dtype == bool:
            return _read_with_pil(file.getvalue())
        if page.dtype is None or page.dtype.kind not in "uif" or page.dtype.itemsize > 4:
            raise BadImage(f"has pixels of type {page.dtype}, which cannot be used")
        if page.dtype == np.uint8:  # PIL knows more compressions and color spaces
            return _read_with_pil(file.getvalue())
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise BadImage("counts from white to black; save it the other way round")
        if page.nbytes > min(LARGEST, HUGE + RATIO * len(file.getvalue())):
            raise BadImage(f"would unpack to {page.nbytes} bytes, as no image of its size does")
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise BadImage(
                    f"is compressed as {page.compression.name}; `pip install imagecodecs` to read "
                    "such files, or save it with deflate or without compression"
                ) from error
            raise
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        icc = page.tags.get(34675)
        photo = _split(pixels, alpha=bool(page.extrasamples), icc=icc.value if icc else None)
        return _turned(photo, _turn_of(page))


def _turn_of(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag else 1


def _turned(photo: Photo, orientation: int) -> Photo:
    """Rows and columns as they are meant to be seen (TIFF 6.0, tag 274)."""

    def turn(x: np.ndarray) -> np.ndarray:
        if orientation >= 5:
            x = x.swapaxes(0, 1)
        if orientation in (3, 4, 7, 8):
            x = x[::-1]
        if orientation in (2, 3, 6, 7):
            x = x[:, ::-1]
        return np.ascontiguousarray(x)

    if orientation == 1:
        return photo
    alpha = None if photo.alpha is None else turn(photo.alpha)
    return replace(photo, pixels=turn(photo.pixels), alpha=alpha)


def _read_deep_png(data: bytes) -> Photo:
    """16 bits per channel, which PIL would halve."""
    color = data[25]
    if color == 4:
        raise BadImage("is a 16-bit PNG of gray with alpha; save it as RGBA")
    with Image.open(io.BytesIO(data)) as file:
        file.load()  # checks what pyspng does not
        orientation, icc = file.getexif().get(ORIENTATION, 1), file.info.get("icc_profile")
        transparent = "transparency" in file.info
    pixels = pyspng.load(data)
    if color == 0:  # it comes as gray and an alpha of ones
        pixels = pixels[..., :1]
    elif color == 2 and not transparent:
        pixels = pixels[..., :3]
    return _turned(_split(pixels, alpha=pixels.shape[-1] == 4, icc=icc), orientation)


def _read_with_pil(data: bytes) -> Photo:
    with Image.open(io.BytesIO(data)) as file:
        # MPO is a telephone's JPEG with a preview or a second eye behind it.
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
            raise BadImage(f"holds {file.n_frames} frames; split it into files of one")
        return of_pil(file)


def of_pil(file: Image.Image) -> Photo:
    """An image of PIL, upright, in the colors that it can keep. PIL reads it now if it has not."""
    icc = file.info.get("icc_profile")
    image = ImageOps.exif_transpose(file)
    image.load()
    if image.mode.startswith("I;16"):
        return _split(np.asarray(image).astype(np.uint16), alpha=False, icc=icc)
    if image.mode in ("I", "F"):
        return _split(np.asarray(image), alpha=False, icc=icc)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image, icc = image.convert("RGB"), None  # a profile of other colors
    return _split(np.asarray(image), alpha=image.mode in ("LA", "RGBA"), icc=icc)


def of_array(pixels: np.ndarray) -> Photo:
    """An array [H, W] or [H, W, C] as a photo; the second and the fourth channel are alpha."""
    return _split(pixels, alpha=pixels.ndim == 3 and pixels.shape[2] in (2, 4))


def _split(pixels: np.ndarray, *, alpha: bool, icc: bytes | None = None) -> Photo:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] - alpha not in (1, 3):
        raise BadImage(f"has an array of shape {pixels.shape}; it needs 1 or 3 colors")
    if alpha:
        return Photo(pixels[..., :-1], pixels[..., -1], icc)
    return Photo(pixels, None, icc)


def for_network(photo: Photo, channels: int, background: tuple[int, int, int]) -> np.ndarray:
    """`[H, W, channels]` of the photo's dtype, over the background where it is transparent.

    1: colors become their luma. 3: gray is repeated. 4: the network takes alpha itself.
    """
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is not None and channels != 4:
        pixels = over(pixels, alpha, background)
    if channels == 1 and pixels.shape[2] == 3:
        luma = pixels @ LUMA
        pixels = (luma if pixels.dtype.kind == "f" else np.rint(luma)).astype(pixels.dtype)
        return pixels[..., None]
    if channels > 1 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if channels == 4:
        full = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
        opaque = np.full(pixels.shape[:2], full, pixels.dtype) if alpha is None else alpha
        pixels = np.concatenate([pixels, opaque[..., None]], 2)
    return pixels


def over(pixels: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """The photo laid over a color (0 to 255 each), in the photo's own dtype."""
    full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    ground = np.array(background, np.float64) / 255 * full
    if pixels.shape[2] == 1:
        ground = ground[:1] if len(set(background)) == 1 else np.array([ground @ LUMA])
    share = (alpha.astype(np.float64) / full)[..., None]
    mixed = pixels * share + ground * (1 - share)
    return (mixed if pixels.dtype.kind == "f" else np.rint(mixed)).astype(pixels.dtype)
