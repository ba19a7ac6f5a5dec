"""Translations as files: of the same kind as the image, at its bit depth, with its transparency.

Reading is `files/photos.py`.
"""

import io

import numpy as np
import tifffile
from PIL import Image

from largegan.files.photos import TIFF_ENDINGS, BadImage, Photo, over
from largegan.files.png import deep_png

PIL_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
WITH_ALPHA = (".png", ".webp", *TIFF_ENDINGS)


def check_format(ending: str, dtype: np.dtype) -> None:
    """Raises BadImage for pixels that a format cannot hold as they are."""
    if ending not in PIL_FORMATS:
        known = ", ".join(sorted(PIL_FORMATS))
        raise BadImage(f"cannot be written as {ending}; choose --ext png (known: {known})")
    deep = dtype != np.uint8
    if deep and not (ending in TIFF_ENDINGS or (ending == ".png" and dtype == np.uint16)):
        raise BadImage(f"has pixels of type {dtype}, which {ending} cannot keep; choose --ext tif")


def encode(photo: Photo, ending: str) -> bytes:
    """The photo as a file of that ending; raises BadImage for what the format cannot hold.

    Transparent pixels of formats without alpha become white.
    """
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is not None and ending in WITH_ALPHA:
        pixels = np.concatenate([pixels, alpha[..., None]], 2)
    elif alpha is not None:
        pixels = over(pixels, alpha, (255, 255, 255))
    file = io.BytesIO()
    try:
        if ending in TIFF_ENDINGS:
            layout = tiff_layout(pixels.shape[2], photo.icc)
            flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
            tifffile.imwrite(file, flat, compression="zlib", **layout)
        elif pixels.dtype == np.uint16:
            file.write(deep_png(pixels, icc=photo.icc))
        else:
            _save_with_pil(file, pixels, ending, photo.icc)
    except (OSError, ValueError) as error:  # e.g. more pixels than a format can count
        raise BadImage(f"cannot be written as {ending} ({error}); choose --ext tif") from error
    return file.getvalue()


def _save_with_pil(file: io.BytesIO, pixels: np.ndarray, ending: str, icc: bytes | None) -> None:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options = {"quality": 95} if ending in (".jpg", ".jpeg", ".jpe", ".jfif", ".webp") else {}
    if icc:
        options["icc_profile"] = icc
    image.save(file, PIL_FORMATS[ending], **options)


def tiff_layout(channels: int, icc: bytes | None) -> dict:
    """tifffile's words for 1 to 4 channels; the second and the fourth are alpha."""
    return {
        "photometric": "rgb" if channels > 2 else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "iccprofile": icc,
        "metadata": None,
    }
