"""Recipes with an encoder or a pyramid: their sheets, codes, reconstruction error, faults."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.evaluation.image_sets import open_image_set
from largegan.metrics import table
from largegan.metrics.moments import gaussian_of
from largegan.metrics.side import Settings, Side
from largegan.recipe import DataSpec
from largegan.restore import restore
from tests.ending import code_of
from tests.recipes.common import TINY
from tests.tools.test_sample import load_tool
from tests.translation import checkpoints

TOOLS = Path(__file__).parents[2] / "tools"
sample, encode = load_tool(TOOLS / "sample.py"), load_tool(TOOLS / "encode.py")
SPEC = DataSpec(3, 16, 16, num_classes=2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name in ("ali", "bigan", "lapgan", "gmmn", "srresnet"):
        found[name] = checkpoints.write(folder / name, name, SPEC, **TINY[name])
    return found


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(11):
        array = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(array).save(folder / f"{i:02d}.png")
    return folder


def call(capsys, tool, *words) -> tuple[int, str]:
    code = code_of(tool.main, [str(word) for word in words])
    said = capsys.readouterr()
    return code, said.err + said.out


def made_of(run: Path, photos: Path) -> tuple[np.ndarray, np.ndarray]:
    """(codes, reconstructions) by hand."""
    recipe = restore(run).recipe
    images = [np.asarray(Image.open(p)) for p in sorted(photos.glob("*.png"))]
    real = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    codes = recipe.encode(real)
    made = (recipe.decode(codes) * 127.5 + 127.5).round().clamp(0, 255)
    return codes.detach().numpy(), made.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("name", ["ali", "bigan"])
def test_codes(runs, photos, tmp_path, capsys, name):
    out = tmp_path / "codes.npz"
    code, said = call(capsys, encode, runs[name], photos, out, "--batch", 4)
    assert code == 0 and "11 codes of 4 numbers, reconstruction error " in said
    found = np.load(out)
    codes, made = made_of(runs[name], photos)
    np.testing.assert_allclose(found["z"], codes, rtol=1e-4, atol=1e-5)
    real = np.stack([np.asarray(Image.open(p), float) for p in sorted(photos.glob("*.png"))])
    errors = np.square((made - real) / 127.5).mean((1, 2, 3))
    np.testing.assert_allclose(found["mse"], errors, rtol=1e-3)
    assert [Path(n).name for n in found["names"]] == [f"{i:02d}.png" for i in range(11)]
    assert str(found["model"]) == restore(runs[name]).model
    assert call(capsys, encode, runs[name], photos, out)[0] == 2, "it exists"
    code, _ = call(capsys, encode, runs[name], f"{photos}[2:4]", out, "--overwrite")
    assert code == 0 and np.load(out)["z"].shape == (2, 4)


def test_reconstruction_error_is_a_metric(runs, photos):
    drawn = open_image_set(str(runs["ali"]), count=4)
    real = open_image_set(str(photos))
    sides = [Side(gaussian_of(torch.randn(4, 2)), {}, images=images) for images in (real, drawn)]
    found = table.compute(*sides, ["reconstruction"], Settings())
    _, made = made_of(runs["ali"], photos)
    truth = np.stack([np.asarray(Image.open(p), float) for p in sorted(photos.glob("*.png"))])
    wanted = np.square((made - truth) / 127.5).mean()
    assert found["reconstruction"] == pytest.approx(wanted, rel=1e-3)
    assert table.better("reconstruction") == "lower" and found["reconstruction_error"] > 0


def cells(path: Path, rows: int, columns: int, left: int) -> np.ndarray:
    """`[rows, columns, 16, 16, 3]` of a sheet of 16-pixel images, shown as 64, right of names."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    step = (picture.shape[1] - left - 2) // columns
    found = [
        [picture[2 + r * step :, left + 2 + c * step :][: step - 2, : step - 2][2::4, 2::4]
         for c in range(columns)]
        for r in range(rows)
    ]  # fmt: skip
    return np.array(found)


def test_reconstructions(runs, photos, tmp_path, capsys):
    """Rows in turn: eight images, and below each what is made of its code."""
    out = tmp_path / "again.png"
    words = "--sheet", "reconstructions", "--images", photos
    code, said = call(capsys, sample, runs["ali"], out, *words)
    assert code == 0 and "again.png" in said
    picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
    left = picture.shape[1] - 2 - 8 * ((picture.shape[0] - 2) // 4)
    found = cells(out, 4, 8, left)
    _, made = made_of(runs["ali"], photos)
    truth = [np.asarray(Image.open(p), int) for p in sorted(photos.glob("*.png"))]
    for i in range(11):
        row, column = 2 * (i // 8), i % 8
        assert np.abs(found[row, column] - truth[i]).max() <= 1
        assert np.abs(found[row + 1, column] - made[i]).max() <= 1
    assert (found[2, 3:] == 255).all(), "blank where the images run out"


def test_ways_between_images(runs, photos, tmp_path, capsys):
    out = tmp_path / "way.png"
    words = "--sheet", "image-interpolation", "--images", f"{photos}[:3]", "--steps", 3
    assert call(capsys, sample, runs["bigan"], out, *words)[0] == 0
    found = cells(out, 2, 5, 0)
    _, made = made_of(runs["bigan"], photos)
    truth = [np.asarray(Image.open(p), int) for p in sorted(photos.glob("*.png"))]
    for row in range(2):
        ends = truth[row], made[row], made[row + 1], truth[row + 1]
        for column, wanted in zip((0, 1, 3, 4), ends, strict=True):
            assert np.abs(found[row, column] - wanted).max() <= 1, (row, column)


def test_pyramids(runs, tmp_path, capsys):
    """A row per seed: 8 pixels, then 16, of the seed's own image."""
    out, single = tmp_path / "pyramid.png", tmp_path / "single"
    assert call(capsys, sample, runs["lapgan"], out, "--sheet", "pyramid", "--seeds", "3,4")[0] == 0
    assert call(capsys, sample, runs["lapgan"], single, "--seeds", "3,4")[0] == 0
    picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
    top = picture.shape[0] - 2 - 2 * 66
    shown = picture[top + 2 :, picture.shape[1] - 66 :][:, :64]
    for row, path in enumerate(sorted(single.iterdir())):
        last = shown[row * 66 :][:64][2::4, 2::4]
        assert np.abs(last - np.asarray(Image.open(path), int)).max() <= 1


@pytest.mark.parametrize(
    "name, words, says",
    [
        ("gmmn", ["--sheet", "reconstructions", "--images", "PHOTOS"], "has no encoder"),
        ("ali", ["--sheet", "reconstructions"], "and there are 0; give --images"),
        ("ali", ["--sheet", "image-interpolation", "--images", "PHOTOS[:1]"], "there are 1"),
        ("ali", ["--images", "PHOTOS"], "--images is for --sheet reconstructions or image-int"),
        ("ali", ["--sheet", "pyramid"], "has no pyramid"),
        ("srresnet", ["--count", "4"], "translates images and draws none of its own"),
    ],
)
def test_what_a_recipe_does_not_have_is_said(runs, photos, tmp_path, capsys, name, words, says):
    words = [word.replace("PHOTOS", str(photos)) for word in words]
    code, said = call(capsys, sample, runs[name], tmp_path / "x.png", *words)
    assert code == 2 and says in said and not (tmp_path / "x.png").exists()


def test_faults_of_encoding(runs, photos, tmp_path, capsys):
    out = tmp_path / "z.npz"
    code, said = call(capsys, encode, runs["gmmn"], photos, out)
    assert code == 2 and "recipe GMMN has no encoder; images become codes with ali" in said
    assert call(capsys, encode, runs["ali"], photos, tmp_path / "z.txt")[0] == 2
    assert call(capsys, encode, runs["ali"], photos, out, "--count", 0)[0] == 2
    Image.new("RGB", (20, 16)).save(photos / "zz.png")
    code, said = call(capsys, encode, runs["ali"], photos, out)
    assert code == 3 and "16x20 cannot be encoded by a network of 16x16 pixels" in said
    assert not out.exists()
