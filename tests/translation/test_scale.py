"""Translations larger than their input: tiles, files of every kind, transparency, the manifest."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from largegan.files import photos
from largegan.files.photos import Photo
from largegan.nets.upscalers import Upscaler, upscaler
from largegan.translation import images, target
from largegan.translation.manifest import Manifest
from largegan.translation.sources import find_items
from largegan.translation.tiles import Box
from largegan.translation.tiling import Tiler
from largegan.translation.translator import Translator
from largegan.translation.work import How, Job, outputs_of
from tests.nets.test_upscalers import KINDS


class Larger(nn.Module):
    """Every pixel becomes `scale` x `scale` equal ones."""

    def __init__(self, scale: int, channels: int = 3):
        super().__init__()
        self.scale, self.multiple, self.halo, self.image_channels = scale, 1, 0, channels
        self.one = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) * self.one


def enlarged(tiler: Tiler, mode: str, image: torch.Tensor) -> torch.Tensor:
    """What `run` writes; every pixel is written once."""
    height, width = (tiler.scale * side for side in image.shape[2:])
    out, times = torch.full((1, 3, height, width), math.nan), torch.zeros(height, width)

    def write(box: Box, part: torch.Tensor) -> None:
        out[:, :, box.top : box.bottom, box.left : box.right] = part
        times[box.top : box.bottom, box.left : box.right] += 1

    def read(box: Box) -> torch.Tensor:
        return image[:, :, box.top : box.bottom, box.left : box.right]

    done = tiler.run(mode, tuple(image.shape[2:]), read, write)
    assert (times == 1).all() and done.mode == mode
    return out


@pytest.mark.parametrize("mode", ["exact", "thumbnail", "tile"])
@pytest.mark.parametrize("name, scale", KINDS)
def test_tiles_are_the_whole_frame(name, scale, mode):
    """These networks normalize nothing over an image, so every way gives the same."""
    torch.manual_seed(0)
    net = upscaler(name, image_channels=3, channels=4, blocks=1, scale=scale, norm="batch")
    net = Upscaler(net).eval().requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    image = torch.rand(1, 3, 71, 93, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tiler = Tiler(net, tile=48)
    whole = enlarged(tiler, "full", image)
    assert whole.shape == (1, 3, 71 * scale, 93 * scale) and whole.std() > 0.1
    torch.testing.assert_close(enlarged(tiler, mode, image), whole, rtol=0, atol=1e-4)
    narrow = Tiler(net, tile=48)
    narrow.halo = narrow.halo // 2 // tiler.multiple * tiler.multiple
    assert (enlarged(narrow, "exact", image) - whole).abs().max() > 1e-4, "the halo is needed"


KINDS_OF_FILES = [
    ("a.png", np.uint8, 3, False),
    ("a.png", np.uint8, 1, True),
    ("a.png", np.uint8, 3, True),
    ("deep.png", np.uint16, 3, True),
    ("a.tif", np.uint16, 3, True),
    ("a.tif", np.uint8, 1, False),
]


def photo_of(dtype, channels: int, alpha: bool) -> Photo:
    random, full = np.random.default_rng(0), np.iinfo(dtype).max
    pixels = random.integers(0, full, (9, 14, channels), dtype)
    plane = random.integers(0, full, (9, 14), dtype) if alpha else None
    return Photo(pixels, plane)


def run(tmp_path: Path, photo: Photo, name: str, *, scale: int, **how) -> tuple[Photo, dict]:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir(), out.mkdir()
    (source / name).write_bytes(images.encode(photo, Path(name).suffix))
    translator = Translator(Larger(scale), 3, "upscale", "sha", "test")
    share = outputs_of(find_items(str(source)), "keep")
    outcome = Job(translator, out, How(background=(0, 0, 0), **how)).run(share)
    assert outcome.written == [name] and not outcome.faults
    facts = Manifest(out).records[name]
    return photos.read((out / name).read_bytes()), facts


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("how", [{}, {"tile": 4, "norm_stats": "exact"}], ids=["full", "tiles"])
@pytest.mark.parametrize("name, dtype, channels, alpha", KINDS_OF_FILES)
def test_files(tmp_path, name, dtype, channels, alpha, how, scale):
    photo = photo_of(dtype, channels, alpha)
    made, facts = run(tmp_path, photo, name, scale=scale, **how)
    assert made.pixels.dtype == dtype and made.pixels.shape == (9 * scale, 14 * scale, 3)
    assert (made.alpha is not None) == alpha
    seen = photos.for_network(photo, 3, (0, 0, 0))
    wanted = seen.repeat(scale, 0).repeat(scale, 1)
    assert np.abs(made.pixels.astype(int) - wanted.astype(int)).max() <= 1
    if alpha:
        middle = made.alpha.reshape(9, scale, 14, scale).mean((1, 3))
        assert np.corrcoef(middle.flatten(), photo.alpha.flatten())[0, 1] > 0.95
    assert (facts["height"], facts["width"], facts["scale"]) == (9, 14, scale)


def test_huge_files_grow_too(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "HUGE", 100)
    photo = photo_of(np.uint8, 3, True)
    made, _ = run(tmp_path, photo, "a.tif", scale=2)
    assert made.pixels.shape == (18, 28, 3) and made.alpha.shape == (18, 28)


def test_flat_transparency_stays_flat():
    for value in (0, 7, 65535):
        plane = target.enlarged(np.full((3, 5), value, np.uint16), 4)
        assert plane.dtype == np.uint16 and plane.shape == (12, 20) and (plane == value).all()
