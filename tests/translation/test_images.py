"""Image files in and out: what comes back must be what went in, at every depth."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from largegan.data.decode import BadImage
from largegan.files import photos
from largegan.files.photos import Photo, Scale, for_network, read, scale_for
from largegan.translation import images
from largegan.translation.images import encode

WHITE = (255, 255, 255)


def noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(0)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def saved(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".ppm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_round_trip(ending, channels):
    pixels = noise(7, 9, channels)
    again = read(encode(Photo(pixels), ending))
    assert np.array_equal(again.pixels, pixels) and again.alpha is None


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_round_trip(ending, channels, alpha):
    photo = Photo(noise(7, 9, channels, dtype=np.uint16))
    if alpha:
        photo.alpha = noise(7, 9, dtype=np.uint16)
    data = encode(photo, ending)
    if alpha and channels == 1 and ending == ".png":
        with pytest.raises(BadImage, match="gray with alpha"):
            read(data)
        return
    again = read(data)
    assert again.pixels.dtype == np.uint16 and np.array_equal(again.pixels, photo.pixels)
    assert (again.alpha is None) == (not alpha)
    assert not alpha or np.array_equal(again.alpha, photo.alpha)


def test_16_bit_grey_png_is_what_pil_reads():
    pixels = noise(7, 9, 1, dtype=np.uint16)
    other = np.asarray(Image.open(io.BytesIO(encode(Photo(pixels), ".png"))))
    assert np.array_equal(other, pixels[..., 0])
    assert np.array_equal(read(saved(Image.fromarray(pixels[..., 0]), "PNG")).pixels, pixels)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint32])
def test_other_types_are_tiff(dtype):
    pixels = noise(7, 9, 1, dtype=np.int16).astype(dtype)
    assert np.array_equal(read(encode(Photo(pixels), ".tif")).pixels, pixels)
    with pytest.raises(BadImage, match="choose --ext tif"):
        images.check_format(".png", np.dtype(dtype))


def test_8_bit_alpha_and_palette():
    rgba = noise(7, 9, 4)
    photo = read(saved(Image.fromarray(rgba), "PNG"))
    assert np.array_equal(photo.pixels, rgba[..., :3]) and np.array_equal(photo.alpha, rgba[..., 3])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(photo, ".png")))), rgba)
    over = for_network(photo, 3, WHITE).astype(int)
    share = rgba[..., 3:] / 255
    assert np.abs(over - (rgba[..., :3] * share + 255 * (1 - share))).max() <= 0.5
    palette = Image.fromarray(noise(7, 9, 3)).quantize(4)
    palette.info["transparency"] = 0
    photo = read(saved(palette, "PNG", transparency=0))
    assert set(np.unique(photo.alpha)) == {0, 255} and photo.pixels.shape == (7, 9, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_baked_in(orientation):
    """Against PIL, for 8 bits, and for 16, where PIL cannot help."""
    from PIL import ImageOps

    pixels = noise(5, 8, 3)
    exif = Image.Exif()
    exif[photos.ORIENTATION] = orientation
    tagged = saved(Image.fromarray(pixels), "TIFF", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(tagged))))
    assert np.array_equal(read(tagged).pixels, upright)
    file = io.BytesIO()
    tag = (photos.ORIENTATION, "H", 1, orientation, True)
    deep = pixels.astype(np.uint16) * 257
    tifffile.imwrite(file, deep, photometric="rgb", extratags=[tag])
    assert np.array_equal(read(file.getvalue()).pixels, upright.astype(np.uint16) * 257)


def test_planar_and_plain_tiff():
    pixels = noise(7, 9, 3, dtype=np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(file.getvalue()).pixels, pixels)


def test_profile_is_kept():
    for photo in (Photo(noise(4, 4, 3), icc=b"profile"), Photo(noise(4, 4, 3, dtype=np.uint16))):
        photo.icc = b"profile"
        for ending in (".png", ".tif"):
            assert read(encode(photo, ending)).icc == b"profile"


def many_pages() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, noise(3, 7, 9, dtype=np.uint16), photometric="minisblack")
    return file.getvalue()


def two_frames() -> bytes:
    other = Image.new("L", (5, 5), 9)
    return saved(Image.new("L", (5, 5)), "GIF", save_all=True, append_images=[other])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a readable image"),
        (b"no image at all", "unknown format"),
        (saved(Image.new("RGB", (50, 50), "red"), "PNG")[:80], "is not a readable image"),
        (encode(Photo(noise(9, 9, 3, dtype=np.uint16)), ".png")[:-40], "is not a readable image"),
        (encode(Photo(noise(9, 9, 3, dtype=np.uint16)), ".tif")[:60], "is not a readable image"),
        (many_pages(), "holds 3 pages"),
        (two_frames(), "holds 2 frames"),
    ],
)
def test_bad_files(data, says):
    with pytest.raises(BadImage, match=says):
        read(data)


def test_for_network():
    gray, color = Photo(noise(4, 5, 1)), Photo(noise(4, 5, 3))
    assert np.array_equal(for_network(gray, 3, WHITE), gray.pixels.repeat(3, 2))
    assert np.array_equal(for_network(color, 3, WHITE), color.pixels)
    luma = np.asarray(Image.fromarray(color.pixels).convert("L"))
    assert np.abs(for_network(color, 1, WHITE)[..., 0].astype(int) - luma).max() <= 1
    four = for_network(gray, 4, WHITE)
    assert four.shape == (4, 5, 4) and (four[..., 3] == 255).all()


def test_scale():
    pixels = np.arange(256, dtype=np.uint8)
    scale = scale_for(pixels.dtype, None)
    assert np.array_equal(scale.to_unit(pixels), pixels.astype(np.float32) / np.float32(127.5) - 1)
    assert np.array_equal(scale.from_unit(scale.to_unit(pixels), pixels.dtype), pixels)
    deep = np.arange(0, 65536, 7, dtype=np.uint16)
    scale = scale_for(deep.dtype, None)
    assert np.array_equal(scale.from_unit(scale.to_unit(deep), deep.dtype), deep)
    window = scale_for(np.dtype(np.int16), (-1000, 2000))
    stored = np.array([-3000, -1000, 500, 2000, 3000], np.int16)
    assert np.allclose(window.to_unit(stored), [-1, -1, 0, 1, 1])
    assert window.from_unit(np.float32([-9, -1, 0, 1, 9]), stored.dtype).tolist() == [
        -1000, -1000, 500, 2000, 2000,
    ]  # fmt: skip
    assert scale_for(np.dtype(np.float32), (0, 2)) == Scale(0, 2)


def test_windows_that_cannot_be():
    with pytest.raises(BadImage, match="say with --window"):
        scale_for(np.dtype(np.float32), None)
    with pytest.raises(BadImage, match="do not reach the --window -1000,2000"):
        scale_for(np.dtype(np.uint8), (-1000, 2000))


def test_huge_tiff_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "HUGE", 100)
    pixels = noise(20, 30, 3)
    tifffile.imwrite(tmp_path / "plain.tif", pixels, photometric="rgb")
    photo = photos.map_tiff(tmp_path / "plain.tif")
    assert isinstance(photo.pixels, np.memmap) and np.array_equal(photo.pixels, pixels)
    tifffile.imwrite(tmp_path / "packed.tif", pixels, photometric="rgb", compression="zlib")
    assert photos.map_tiff(tmp_path / "packed.tif") is None
