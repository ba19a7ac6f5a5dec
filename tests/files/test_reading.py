"""What decoders warn of is said with the file's name, for every file and once."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from largegan.commands import run
from largegan.files.photos import BadImage
from largegan.files.photos import read as photos_read
from tests.evaluation.images import save

ENTRY = b"\x01\x12\0\x03\0\0\xff\xff\0\0\0\0"  # an orientation of 65535 numbers
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + ENTRY


def jpeg(exif: bytes = b"") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards
    monkeypatch.setattr(warnings, "filters", list(warnings.filters))
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("odd.jpg", "odd2.jpg"):
        (folder / name).write_bytes(jpeg(EXIF))
    (folder / "good.jpg").write_bytes(jpeg())
    return folder


@pytest.mark.parametrize(
    "words", [["pack", "{}", "{}/../out"], ["reduce", "{}", "{}/../out", "--scale", "2"],
              ["compare", "{}", "{}"]]
)  # fmt: skip
def test_odd_exif_is_said_with_the_name(photos, capsys, words):
    assert run(words[0], [word.format(photos) for word in words[1:]]) == 0
    said = capsys.readouterr().err
    for name in ("odd.jpg", "odd2.jpg"):
        assert f"note: {name}: " in said, said
    assert "good.jpg" not in said and "Warning" not in said, said


def test_a_large_picture_is_said_with_its_name(photos, tmp_path, capsys, monkeypatch):
    save(photos / "large.png", np.zeros((3, 20, 20), np.uint8).transpose(1, 2, 0))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    assert run("pack", [str(photos), str(tmp_path / "out"), "--resolution", "16"]) == 0
    assert "note: large.png: Image size (400 pixels)" in capsys.readouterr().err


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_decoders_in_c_say_nothing_of_their_own(compression, capfd):
    """libtiff would print each fault to standard error, besides what is raised."""
    out, faults = io.BytesIO(), 0
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(out, "TIFF", compression=compression)
    for place in range(100, 4000, 150):
        data = bytearray(out.getvalue())
        data[place] ^= 0xFF
        try:
            photos_read(bytes(data))
        except BadImage:
            faults += 1
    assert faults and not capfd.readouterr().err
