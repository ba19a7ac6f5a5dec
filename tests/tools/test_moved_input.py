"""What moves a generator's input: EQ metrics, the moved sheet, the walk's camera, refusals."""

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from largegan.evaluation.image_sets import open_image_set
from largegan.metrics import equivariance
from largegan.metrics.side import Settings, Side
from largegan.recipe import DataSpec
from largegan.sampler import open_sampler
from largegan.viz import sheets
from largegan.viz.paths import camera, motion
from tests.recipes.common import TINY
from tests.tools.test_sample import load_tool
from tests.translation import checkpoints

TOOLS = Path(__file__).parents[2] / "tools"
sample, walk, fid = (load_tool(TOOLS / f"{n}.py") for n in ("sample", "walk", "fid"))
SPEC = DataSpec(3, 32, 32, num_classes=2)
EXACT = {"layers": 6, "margin": 10, "filter_size": 6, "channel_base": 128, "channel_max": 8}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Untrained, but for biases that make pictures of it."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name in ("t", "r"):
        options = TINY["stylegan3"] | EXACT | {"configuration": name}
        found[name] = checkpoints.write(folder / name, "stylegan3", SPEC, **options)
    found["dcgan"] = checkpoints.write(folder / "dcgan", "dcgan", SPEC, **TINY["dcgan"])
    return found


def call(capsys, tool, *words) -> tuple[int, str]:
    code = tool.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.err + said.out


def side(run: Path, count: int = 20) -> Side:
    return Side(None, {}, images=open_image_set(str(run), count=count))


def test_an_alias_free_generator_is_equivariant(runs):
    """T to shifts; R to rotations too, far more than T."""
    found = {}
    for name in "tr":
        for metric in ("eqt", "eqt_frac", "eqr"):
            calculate = getattr(equivariance, metric)
            found[name, metric] = calculate(None, side(runs[name]), Settings())[metric]
    assert min(found[n, m] for n in "tr" for m in ("eqt", "eqt_frac")) > 40
    assert found["r", "eqr"] > 30 and found["r", "eqr"] > found["t", "eqr"] + 10


def test_moving_the_other_way_is_not(runs):
    ratio, images = equivariance.Ratio(), side(runs["t"]).images

    def draw(transform):
        return images.moved(0, 8, torch.linalg.inv(transform.double()))

    equivariance.compare_integer(ratio, draw, draw(torch.eye(3)), 0.125, -0.0625)
    assert ratio.decibel() < 35


@pytest.mark.parametrize("run", ["dcgan", "folder"])
@pytest.mark.parametrize("metric", ["eqt", "eqt_frac", "eqr"])
def test_what_cannot_be_moved_is_refused(runs, tmp_path, metric, run):
    from largegan.errors import ConfigError

    path = tmp_path
    if run == "dcgan":
        path = runs["dcgan"]
    else:
        Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    images = open_image_set(str(path), count=1)
    with pytest.raises(ConfigError, match="input"):
        getattr(equivariance, metric)(None, Side(None, {}, images=images), Settings())


def test_images_without_an_inside_are_refused(tmp_path):
    from largegan.errors import ConfigError

    spec = DataSpec(3, 8, 8)
    run = checkpoints.write(tmp_path, "stylegan3", spec, **TINY["stylegan3"])
    with pytest.raises(ConfigError, match="too small"):
        equivariance.eqr(None, side(run, count=1), Settings())


def test_the_moved_sheet_shows_the_motion(runs, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sheets, "sheet", lambda images, **names: images.int())
    sampler = open_sampler(runs["r"], "cpu")
    images = sheets.moved(sampler, sheets.Request((0, 1)))
    assert images.shape == (2, 5, 3, 32, 32)
    still, right, down, _, quarter = images.unbind(1)
    inside = slice(8, 24)
    for moved, same in (
        (right, still.roll(4, 3)),
        (down, still.roll(4, 2)),
        (quarter, torch.rot90(still, 1, (2, 3))),
    ):
        difference = (moved - same)[..., inside, inside].abs().float().mean()
        unlike = (moved - still)[..., inside, inside].abs().float().mean()
        assert difference < unlike / 4
    monkeypatch.undo()
    code, said = call(capsys, sample, runs["r"], tmp_path / "a.png", "--sheet", "moved")
    assert code == 0 and Image.open(tmp_path / "a.png").width > 5 * 64
    code, said = call(capsys, sample, runs["dcgan"], tmp_path / "b.png", "--sheet", "moved")
    assert code == 2 and "input that can be moved" in said


def test_the_camera_returns_to_where_it_began():
    transforms = camera(8, turns=2, radius=0.25)
    assert transforms.shape == (8, 3, 3)
    torch.testing.assert_close(transforms[0], torch.eye(3))
    torch.testing.assert_close(camera(8, turns=1, radius=0.0)[4], motion(degrees=180))
    furthest = camera(8, turns=0, radius=0.25)[4]
    torch.testing.assert_close(furthest[:2, 2], torch.tensor([0.5, 0.0]), atol=1e-6, rtol=0)


def test_motions_are_inverse():
    """A point of the picture, moved, is read from where it was."""
    transform = motion(degrees=90, shift=(0.5, 0.0))
    right = torch.tensor([0.25, 0.0])  # turned counterclockwise it is up, then shifted right
    moved = torch.tensor([0.5, -0.25, 1.0])
    torch.testing.assert_close((transform @ moved)[:2], right, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        motion(degrees=30).double(), equivariance.rotation_matrix(-math.radians(30))
    )


def test_a_walk_with_a_moving_camera(runs, tmp_path, capsys):
    still, turning = tmp_path / "a.gif", tmp_path / "b.gif"
    words = ["--seeds", "3,3", "--frames", "2"]
    assert call(capsys, walk, runs["r"], still, *words)[0] == 0
    code, _ = call(capsys, walk, runs["r"], turning, *words, "--turns", "1", "--shift", "0.1")
    assert code == 0 and Image.open(turning).n_frames == 4
    assert still.read_bytes() != turning.read_bytes()
    code, said = call(capsys, walk, runs["dcgan"], tmp_path / "c.gif", "--turns", "1")
    assert code == 2 and "input that can be moved" in said
    assert not (tmp_path / "c.gif").exists()


def test_the_command_reports_decibel(runs, tmp_path, capsys):
    """Through `fid`, beside other metrics."""
    (tmp_path / "real").mkdir()
    for i in range(4):
        Image.new("RGB", (32, 32), (i, 90, 90)).save(tmp_path / "real" / f"{i}.png")
    words = [tmp_path / "real", runs["r"], "--count", "4", "--metrics", "eqt,eqr"]
    words += ["--backbone", "efficientnet_lite0", "--no-cache", "--json", tmp_path / "a.json"]
    code, said = call(capsys, fid, *words)
    assert code == 0, said
    assert "EQ-T" in said and "EQ-R" in said
    found = json.loads((tmp_path / "a.json").read_text())["scores"]
    assert found["eqt"] > 40 and found["eqr"] > 30
