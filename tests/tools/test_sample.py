"""tools/sample.py: every mode on tiny checkpoints, every error with its exit code."""

import importlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan import checkpoint, train
from largegan import sampler as drawing
from largegan.sampler.standing import use_standing_statistics
from largegan.viz import paths
from tests.ending import code_of

TOOL = Path(__file__).parents[2] / "tools" / "sample.py"
TINY = {
    "sngan": ["--recipe.g_channels", "4", "--recipe.d_channels", "4", "--recipe.d_steps", "1"],
    "gan": ["--recipe.width", "16", "--data.labels", "false"],
    "gaussian": ["--data.path", "synthetic:gaussian"],
}


def load_tool(path: Path):
    """The command behind the door tools/NAME.py."""
    assert path.is_file()
    return importlib.import_module(f"largegan.commands.{path.stem}")


sample = load_tool(TOOL)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with a finished run of each recipe in `TINY`."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in TINY.items():
        common = ["--recipe.name", name, "--run.dir", str(folder / name), *options]
        common += ["--data.workers", "0", "--train.cpu_threads", "1", "--train.sample_rows", "2"]
        assert train.main([*common, "--train.batch_size", "8", "--train.total_nimg", "24"]) == 0
    return folder


@pytest.fixture
def draw(runs, tmp_path, capsys):
    """draw(recipe, OUT, *options) -> (exit code, what it said); OUT is below tmp_path."""

    def run(recipe: str, out: str, *options: str) -> tuple[int, str]:
        code = code_of(sample.main, [str(runs / recipe), str(tmp_path / out), *options])
        said = capsys.readouterr()
        return code, said.err + said.out

    return run


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


STEP = 66  # of a sheet: 32 pixels, shown as 64, and a gap of 2


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """One 32-pixel image of a sheet without names, which shows each pixel as 2 x 2."""
    top, left = 2 + row * STEP, 2 + column * STEP
    shown = picture[top : top + 64, left : left + 64]
    assert (shown[::2, ::2] == shown[1::2, 1::2]).all()
    return shown[::2, ::2]


def test_grid_has_the_images_of_the_files(draw, tmp_path):
    assert draw("sngan", "sheet.png", "--seeds", "0-4,42", "--grid", "2x3") == (
        0,
        f"{tmp_path / 'sheet.png'}: 200x134 pixels\n",
    )
    assert draw("sngan", "single", "--seeds", "42,3", "--batch", "1")[0] == 0
    sheet = pixels(tmp_path / "sheet.png")
    names = sorted(path.name for path in (tmp_path / "single").iterdir())
    assert names == ["seed0003-Food_Drink.png", "seed0042-Smileys_Emotion.png"]
    for name, place in zip(names, [(1, 0), (1, 2)], strict=True):
        difference = np.abs(pixels(tmp_path / "single" / name) - cell(sheet, *place))
        assert difference.max() <= 1, "another batch moves the last bits at most"
    assert np.abs(cell(sheet, 0, 0) - cell(sheet, 0, 1)).max() > 1, "seeds differ"


def test_default_sheet_and_short_last_row(draw, tmp_path):
    assert draw("gan", "all.png")[0] == 0
    assert pixels(tmp_path / "all.png").shape == (530, 530, 3)
    assert draw("gan", "some.png", "--count", "5")[0] == 0
    assert (cell(pixels(tmp_path / "some.png"), 2, 1) == 255).all(), "3 x 2, the last one blank"


def test_jpeg_sheet_and_files(draw, tmp_path):
    assert draw("gan", "sheet.jpg", "--grid", "1x2")[0] == 0
    assert draw("gan", "folder.png", "--files", "--format", "jpg", "--count", "2")[0] == 0
    assert Image.open(tmp_path / "sheet.jpg").format == "JPEG"
    found = [p.name for p in sorted((tmp_path / "folder.png").iterdir())]
    assert found == ["seed0000.jpg", "seed0001.jpg"]


def test_classes_by_number_and_name(draw, tmp_path):
    assert draw("sngan", "a", "--classes", "2, Symbols", "--seeds", "0-3")[0] == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert [name[9:-4] for name in names] == ["Flags", "Symbols", "Flags", "Symbols"]


def test_class_rows_share_their_latents(draw, tmp_path, runs):
    assert draw("sngan", "rows.png", "--class-rows", "--seeds", "5,6", "--classes", "1,3,1")[0] == 0
    picture = pixels(tmp_path / "rows.png")
    step, right = STEP, picture.shape[1] - 2 * STEP - 2
    top = picture.shape[0] - 3 * step
    rows = [picture[top + i * step : top + i * step + 64, right:] for i in range(3)]
    assert (rows[0] == rows[2]).all() and (rows[0] != rows[1]).any()
    assert (picture[top:, :right] < 128).any(), "names are written on the left"


def test_interpolation_ends_at_its_seeds(draw, tmp_path):
    options = ["--interpolate", "1,2,7", "--steps", "5", "--classes", "4"]
    assert draw("sngan", "walk.png", *options)[0] == 0
    assert draw("sngan", "ends", "--seeds", "1,2,7", "--classes", "4")[0] == 0
    ends = [pixels(path) for path in sorted((tmp_path / "ends").iterdir())]
    walk = pixels(tmp_path / "walk.png")
    walk = walk[:, walk.shape[1] - 5 * STEP - 2 :]
    for row, column, end in ((0, 0, 0), (0, 4, 1), (1, 0, 1), (1, 4, 2)):
        assert np.abs(cell(walk, row, column) - ends[end]).max() <= 1
    assert np.abs(cell(walk, 0, 2) - ends[0]).max() > 1


@pytest.mark.parametrize(("recipe", "normal"), [("sngan", True), ("gan", False)])
def test_arithmetic_of_a_minus_a_plus_c(draw, tmp_path, runs, recipe, normal):
    assert draw(recipe, "sum.png", "--arithmetic", "3-3+5", "1,2 - 4 + 5,6")[0] == 0
    picture = pixels(tmp_path / "sum.png")
    picture = picture[picture.shape[0] - 2 * STEP - 2 :, picture.shape[1] - 4 * STEP - 2 :]
    same = np.abs(cell(picture, 0, 3) - cell(picture, 0, 2)).max() <= 1
    assert same != normal, "a sum of normal latents is scaled back, one of uniform ones is not"
    sampler = drawing.open_sampler(runs / recipe, "cpu")
    assert drawing.has_normal_latents(sampler.recipe) == normal


def test_truncation(draw, tmp_path, runs):
    assert draw("sngan", "t.png", "--count", "1", "--truncation", "0.5")[0] == 0
    assert draw("sngan", "f.png", "--count", "1")[0] == 0
    assert (pixels(tmp_path / "t.png") != pixels(tmp_path / "f.png")).any()
    half = drawing.open_sampler(runs / "sngan", "cpu", truncation=0.5)
    full = drawing.open_sampler(runs / "sngan", "cpu")
    torch.testing.assert_close(half.latent(3) * 2, full.latent(3))


def test_thresholds_are_rows_of_the_same_seeds(draw, tmp_path):
    options = ["--sheet", "truncation", "--thresholds", "0.25,1", "--seeds", "3,4"]
    assert draw("sngan", "t.png", *options)[0] == 0
    assert draw("sngan", "low", "--seeds", "3,4", "--truncation", "0.25")[0] == 0
    picture = pixels(tmp_path / "t.png")
    picture = picture[picture.shape[0] - 2 * STEP - 2 :, picture.shape[1] - 2 * STEP - 2 :]
    for column, path in enumerate(sorted((tmp_path / "low").iterdir())):
        assert np.abs(cell(picture, 0, column) - pixels(path)).max() <= 1
        assert np.abs(cell(picture, 1, column) - pixels(path)).max() > 1


def test_a_sweep_is_a_folder_per_threshold_and_a_manifest(draw, tmp_path):
    options = ["--thresholds", "0.5,1", "--count", "3", "--standing", "2", "--batch", "4"]
    code, said = draw("sngan", "sweep", *options)
    assert code == 0, said
    manifest = json.loads((tmp_path / "sweep" / "manifest.json").read_text())
    assert manifest["standing_batches"] == 2 and len(manifest["classes"]) == 9
    for wanted, found in zip((0.5, 1.0), manifest["sets"], strict=True):
        assert found == {"truncation": wanted, "folder": f"{wanted:g}", "count": 3}
        assert len(list((tmp_path / "sweep" / found["folder"]).iterdir())) == 3
    assert draw("sngan", "sweep", *options)[0] == 2, "nothing is replaced unasked"


def test_standing_statistics_are_those_of_samples(runs, draw, tmp_path):
    sampler = drawing.open_sampler(runs / "sngan", "cpu")
    norm = sampler.recipe.G_ema.net.norm
    momentum, before = norm.momentum, norm.running_mean.clone()
    learning = sampler.recipe.G.norm.running_mean.clone()
    seen = []
    norm.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    use_standing_statistics(sampler, batches=3, batch=5)
    # The second norm of a block sees what the first one made: compare where batches are known.
    assert len(seen) == 3 and len(seen[0]) == 5
    wanted = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, wanted)
    assert not torch.equal(before, wanted) and norm.momentum == momentum and not norm.training
    assert torch.equal(sampler.recipe.G.norm.running_mean, learning), "it does not draw"
    assert draw("sngan", "s.png", "--count", "2", "--standing", "1")[0] == 0


def test_ways_between_latents():
    a, b = torch.randn(2, 64)
    for way in (paths.straight, paths.spherical):
        z = way(a, b, 7)
        assert z.shape == (7, 64)
        torch.testing.assert_close(z[[0, -1]], torch.stack([a, b]), atol=1e-5, rtol=1e-5)
    lengths = paths.spherical(a / a.norm(), b / b.norm(), 7).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(7))
    torch.testing.assert_close(paths.spherical(a, a, 3), a.expand(3, -1))


def test_numbers_are_shown_in_the_recipe_s_own_picture(draw, tmp_path):
    assert draw("gaussian", "histograms.png")[0] == 0
    assert pixels(tmp_path / "histograms.png").shape == (400, 600, 3)
    assert draw("gaussian", "folder")[0] == 2
    assert draw("gaussian", "x.png", "--arithmetic", "1-2+3")[0] == 2


def test_averaged_weights_are_what_is_drawn(runs, tmp_path):
    """The generator that learns may change as it likes: its average is what draws."""
    first = drawing.open_sampler(runs / "gan", "cpu")
    with torch.no_grad():
        for p in first.recipe.G.parameters():
            p.zero_()
    again = drawing.open_sampler(runs / "gan", "cpu")
    z = torch.stack([first.latent(seed) for seed in (1, 2)])
    assert (first.images(z, [None] * 2) == again.images(z, [None] * 2)).all()


def test_existing_files_are_kept_unless_told(draw, tmp_path):
    assert draw("gan", "a.png", "--count", "1")[0] == 0
    code, said = draw("gan", "a.png", "--count", "1")
    assert code == 2 and "a.png exists" in said and "--overwrite" in said
    assert draw("gan", "a.png", "--count", "4", "--overwrite")[0] == 0
    assert draw("gan", "folder", "--count", "2")[0] == 0
    code, said = draw("gan", "folder", "--count", "3")
    assert code == 2 and "(and 1 more) exists" in said
    assert len(list((tmp_path / "folder").iterdir())) == 2, "refused before anything was written"


@pytest.mark.parametrize(
    ("recipe", "out", "options", "says"),
    [
        ("nothing", "a.png", "", "neither a checkpoint nor a run directory"),
        ("sngan", "a.png", "--classes 9", "classes are 0 to 8"),
        ("sngan", "a.png", "--classes cat", "there is no class 'cat'; give one of Activities"),
        ("gan", "a.png", "--classes 0", "trained without classes"),
        ("gan", "a.png", "--class-rows", "trained without classes"),
        ("gan", "a.png", "--truncation 0.5", "uniform latents"),
        ("sngan", "a.png", "--truncation 0", "above 0"),
        ("gan", "a.png", "--sheet truncation --thresholds 0.5", "uniform latents"),
        ("sngan", "a.png", "--sheet truncation", "needs --thresholds"),
        ("sngan", "a.png", "--sheet truncation --thresholds 1;2", "--thresholds is '1;2'"),
        (
            "sngan",
            "a.png",
            "--sheet truncation --truncation 1 --thresholds 1",
            "both say how to truncate",
        ),
        ("sngan", "a.png", "--sheet nothing", "give one of classes, interpolation"),
        ("sngan", "a", "--sheet classes", "such as sheet.png"),
        ("sngan", "a.png", "--sheet class-interpolation", "has no class embeddings"),
        ("sngan", "a.png", "--standing -1", "--standing is -1"),
        ("gan", "a.png", "--seeds 3-1", "cannot read the seeds '3-1'"),
        ("gan", "a.png", "--seeds 1,x", "at 'x'"),
        ("gan", "a.png", "--seeds 1 --count 3", "give one of them"),
        ("gan", "a.png", "--count 0", "--count is 0"),
        ("gan", "a.png", "--batch 0", "--batch is 0"),
        ("gan", "a.png", "--grid 3", "rows x columns"),
        ("gan", "a.png", "--grid 2x2 --count 5", "too small for 5"),
        ("gan", "a", "--grid 2x2", "such as sheet.png"),
        ("gan", "a", "--interpolate 1,2", "such as sheet.png"),
        ("gan", "a.png", "--interpolate 1", "two or more"),
        ("gan", "a.png", "--interpolate 1,2 --steps 1", "--steps is 1"),
        ("gan", "a.png", "--arithmetic 1-2", "write A-B+C"),
    ],
)
def test_refusals(draw, tmp_path, recipe, out, options, says):
    code, said = draw(recipe, out, *options.split())
    assert code == 2 and said.startswith("error: ") and says in said
    assert said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_modes_exclude_each_other(draw):
    code, said = draw("sngan", "a.png", "--class-rows", "--interpolate", "1,2")
    assert code == 2 and said.startswith("error: ")


@pytest.fixture
def copied(runs, tmp_path) -> Path:
    """A checkpoint to spoil, not below tmp_path/out."""
    (source,) = checkpoint.numbered(runs / "gan" / "checkpoints")
    return Path(shutil.copytree(source, tmp_path / "run" / "checkpoints" / source.name))


@pytest.mark.parametrize("name", [checkpoint.MARKER, checkpoint.MODEL, checkpoint.STATE])
def test_incomplete_checkpoint(copied, tmp_path, capsys, name):
    (copied / name).unlink()
    for path in (copied, copied.parents[1]):
        assert sample.main([str(path), str(tmp_path / "a.png")]) == 3
        assert name in capsys.readouterr().err


def rewrite(folder: Path, change) -> None:
    """Changes the state of a checkpoint and completes it again, as another version would have."""
    state = json.loads((folder / checkpoint.STATE).read_text())
    change(state)
    (folder / checkpoint.STATE).write_text(json.dumps(state))
    checkpoint._write_marker(folder)


def test_recipe_of_another_version(copied, tmp_path, capsys):
    def rename(state):
        state["config"]["recipe"]["name"] = "gan9"

    rewrite(copied, rename)
    assert sample.main([str(copied), str(tmp_path / "a.png")]) == 2
    assert "recipe gan9, which this version" in capsys.readouterr().err


def test_option_of_another_version(copied, tmp_path, capsys):
    rewrite(copied, lambda state: state["config"]["recipe"].update(zz=1))
    assert sample.main([str(copied), str(tmp_path / "a.png")]) == 2
    assert "'zz'" in capsys.readouterr().err


def test_weights_of_another_width(copied, tmp_path, capsys):
    rewrite(copied, lambda state: state["config"]["recipe"].update(width=8))
    assert sample.main([str(copied), str(tmp_path / "a.png")]) == 2
    assert "this configuration makes it" in capsys.readouterr().err


def test_cannot_write(draw, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = draw("gan", "file/a.png")
    assert code == 4 and "cannot write" in said
    code, said = draw("gan", "file", "--count", "1")
    assert code == 2 and "is a file" in said


@pytest.mark.parametrize("device", ["nonsense", "cuda:77", "meta"])
def test_device_that_is_not_there(draw, device):
    code, said = draw("gan", "a.png", "--device", device)
    assert code == 4 and f"--device {device} cannot be used" in said


def test_help_is_quick_and_has_examples():
    start = time.perf_counter()
    answer = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert time.perf_counter() - start < 2
    assert answer.returncode == 0 and "--arithmetic 3-8+5" in answer.stdout
