"""Grids and files for people."""

import pytest
import torch
from PIL import Image

from largegan.errors import EnvironmentFault
from largegan.sampler import to_uint8
from largegan.viz import pictures


def test_rounding_and_range():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("size", "shown"), [(16, 64), (32, 64), (64, 64), (100, 100)])
def test_small_images_are_enlarged(size, shown):
    picture = pictures.grid(torch.zeros(6, 3, size, size), columns=3, gap=2)
    assert picture.shape == (3, 2 * (shown + 4) + 4, 3 * (shown + 4) + 4)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_round_trip(channels, mode, tmp_path):
    picture = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    pictures.write_picture(tmp_path / "new" / "a.png", picture)
    image = Image.open(tmp_path / "new" / "a.png")
    assert image.mode == mode and image.size == (7, 5)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_disk_that_refuses_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"cannot write .* --run\.resume auto"):
        picture, remedy = torch.zeros(3, 2, 2, dtype=torch.uint8), "go on with --run.resume auto"
        pictures.write_picture(tmp_path / "file" / "a.png", picture, remedy=remedy)
