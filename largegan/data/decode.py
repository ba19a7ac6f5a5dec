"""Decode one image straight into its place in a uint8 batch.

JPEG goes through simplejpeg and PNG through pyspng (2-4 times faster than PIL, bit-equal to it);
anything else through PIL. An image that does not fit the dataset is refused, never converted:
a gray image in a color set is a packing mistake that training should not paper over.
"""

import io
import zlib

import numpy as np
import pyspng
import simplejpeg
from PIL import Image

from largegan.files.photos import PNG_START, BadImage, decoder_faults

JPEG_START = b"\xff\xd8\xff"
NPY_START = b"\x93NUMPY"
IMAGE_EXTENSIONS = (
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "avif",
)  # fmt: skip
LARGEST_SIDE, LARGEST_AREA = 1 << 16, 1 << 27  # pixels of images that networks are trained on
JPEG_SPACE = {1: "GRAY", 3: "RGB"}
SPNG_FORMAT = {1: "L", 3: "RGB", 4: "RGBA"}
PIL_MODE = {1: "L", 3: "RGB", 4: "RGBA"}
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by color type; a palette counts as color
JPEG_CHANNELS = {"Gray": 1, "YCbCr": 3, "RGB": 3}


def decode_into(data: bytes | memoryview, out: np.ndarray) -> None:
    """Fill ``out`` (uint8 [H, W, C], C-contiguous) with the image; raises BadImage.

    Where ``out`` is uint16, the image is a PNG of 16 bits.
    ``out`` may be partly written when BadImage is raised.
    """
    height, width, channels = out.shape
    if out.dtype == np.uint16 and not is_deep_png(data):
        raise BadImage("has 8 bits per channel, and the dataset has 16")
    if bytes(data[:3]) == JPEG_START:
        _check(jpeg_shape(data), out.shape)
        _decode_jpeg(data, out)
    elif bytes(data[:8]) == PNG_START:
        shape, depth = _png_shape(data)
        _check(shape, out.shape)
        _decode_png(data, out, depth=depth)
    else:
        image = _open_with_pil(data)
        _check((image.height, image.width, len(image.getbands())), out.shape)
        out[...] = np.asarray(image).reshape(height, width, channels)


def image_shape(data: bytes | memoryview) -> tuple[int, int, int]:
    """Height, width and channels as the header states them; raises BadImage."""
    if bytes(data[:3]) == JPEG_START:
        shape = jpeg_shape(data)
    elif bytes(data[:8]) == PNG_START:
        shape = _png_shape(data)[0]
    elif bytes(data[:6]) == NPY_START:
        raise BadImage("is a latent, which is read with the index that largegan pack wrote")
    else:
        image = _open_with_pil(data)
        shape = image.height, image.width, len(image.getbands())
    if not possible_size(*shape[:2]):
        raise BadImage(f"claims {shape[0]}x{shape[1]} pixels (height x width)")
    return shape


def is_deep_png(data: bytes | memoryview) -> bool:
    """Whether an image is a PNG of 16 bits per channel, by its header."""
    return bytes(data[:8]) == PNG_START and bytes(data[24:25]) == b"\x10"


def possible_size(height: int, width: int) -> bool:
    """Whether networks could be trained on such images."""
    return 1 <= min(height, width) <= LARGEST_SIDE and height * width <= LARGEST_AREA


def jpeg_shape(data: bytes | memoryview) -> tuple[int, int, int]:
    """(height, width, channels) of a JPEG, from its header. Raises BadImage."""
    with decoder_faults("JPEG"):
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    if space not in JPEG_CHANNELS:
        raise BadImage(f"is a JPEG in {space}; pack it again to convert it to RGB")
    return height, width, JPEG_CHANNELS[space]


def _png_shape(data: bytes | memoryview) -> tuple[tuple[int, int, int], int]:
    if len(data) < 33 or bytes(data[12:16]) != b"IHDR" or data[25] not in PNG_CHANNELS:
        raise BadImage("is not a readable PNG (its header is damaged)")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return (height, width, PNG_CHANNELS[data[25]]), data[24]


def _decode_jpeg(data: bytes | memoryview, out: np.ndarray) -> None:
    with decoder_faults("JPEG"):
        # strict: what libjpeg would repair with a warning is damage, and is reported as such.
        simplejpeg.decode_jpeg(data, JPEG_SPACE[out.shape[2]], buffer=out, strict=True)


def _decode_png(data: bytes | memoryview, out: np.ndarray, *, depth: int) -> None:
    if depth == 16 and out.dtype != np.uint16:
        raise BadImage("has 16 bits per channel, and the dataset has 8")
    data = bytes(data)
    _check_png(data)
    with decoder_faults("PNG"):
        if depth == 16:
            out[...] = pyspng.load(data)[..., : out.shape[2]]  # gray comes with an alpha of ones
            return
        out[...] = pyspng.load(data, format=SPNG_FORMAT[out.shape[2]]).reshape(out.shape)


def _check_png(data: bytes) -> None:
    """Verify the checksum of every chunk: pyspng leaves them out, and decodes damage into noise."""
    view, place = memoryview(data), len(PNG_START)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if end > len(data):
            break
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise BadImage("is not a readable PNG (the checksum of a chunk is wrong)")
        if kind == b"IEND":
            return
        place = end
    raise BadImage("is not a readable PNG (it is truncated)")


def _open_with_pil(data: bytes | memoryview):
    with decoder_faults():
        image = Image.open(io.BytesIO(data))
        image.load()
        if image.mode not in PIL_MODE.values():
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        return image


def _check(found: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    if found[2] != wanted[2]:
        raise BadImage(f"has {found[2]} channel(s), and the dataset has {wanted[2]}")
    if found[:2] != wanted[:2]:
        raise BadImage(
            f"is {found[0]}x{found[1]} (height x width), and the dataset is {wanted[0]}x{wanted[1]}"
        )
