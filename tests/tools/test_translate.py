"""tools/translate.py: the whole way from a checkpoint and a folder to a folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.interop.export import export
from largegan.recipe import DataSpec
from largegan.translation.translator import open_translator
from tests.ending import code_of
from tests.forked import run_ranks
from tests.recipes.common import TINY as TINY_RECIPES
from tests.tools.test_sample import load_tool
from tests.translation import checkpoints

TOOL = Path(__file__).parents[2] / "tools" / "translate.py"
TINY = {"depth": 1, "g_channels": 4, "d_channels": 2, "d_layers": 1, "pool_size": 2}
translate = load_tool(TOOL)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("run"), "cyclegan", **TINY)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Five images of three sizes, one of them below."""
    folder = tmp_path / "photos"
    for i, size in enumerate([(40, 30), (40, 30), (33, 47), (40, 30), (9, 70)]):
        array = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        path = folder / ("below" if i == 3 else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    return folder


@pytest.fixture
def tool(run, photos, tmp_path, capsys):
    """tool(*options) -> (exit code, what it said); photos to tmp_path/out by default."""

    def call(*options: str, source: Path = photos, model: Path = run, out: str = "out"):
        code = code_of(translate.main, [str(model), str(source), str(tmp_path / out), *options])
        said = capsys.readouterr()
        return code, said.err + said.out

    return call


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def by_hand(run: Path, image: Path, direction: str) -> np.ndarray:
    net = open_translator(run, "cpu", direction=direction).net
    x = torch.from_numpy(pixels(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        y = net(x)
    return ((y[0].permute(1, 2, 0) * 127.5 + 127.5).round().clamp(0, 255)).int().numpy()


@pytest.mark.parametrize("direction", ["a_to_b", "BtoA"])
def test_folder(tool, run, photos, tmp_path, direction):
    code, said = tool("--direction", direction, "--batch-size", "2")
    assert code == 0 and "5 translated, 0 were there already, 0 bad" in said
    for path in photos.rglob("*.png"):
        result = pixels(tmp_path / "out" / path.relative_to(photos))
        wanted = by_hand(run, path, direction)
        assert result.shape == wanted.shape and np.abs(result - wanted).max() <= 1
        assert result.std() > 10
    code, said = tool("--direction", direction)
    assert code == 0 and "0 translated, 5 were there already, 0 bad" in said


def test_directions_differ(run, photos):
    a, b = (by_hand(run, photos / "0.png", way) for way in ("a_to_b", "b_to_a"))
    assert np.abs(a - b).mean() > 5


@pytest.mark.parametrize("mode", ["exact", "thumbnail", "tile", "full"])
def test_modes(tool, tmp_path, run, mode):
    wide = np.random.default_rng(0).integers(0, 256, (70, 150, 3), np.uint8)
    (tmp_path / "wide").mkdir()
    Image.fromarray(wide).save(tmp_path / "wide/a.png")
    code, said = tool("--norm-stats", mode, "--tile", "40", source=tmp_path / "wide")
    assert code == 0
    difference = np.abs(
        pixels(tmp_path / "out/a.png") - by_hand(run, tmp_path / "wide/a.png", "a_to_b")
    )
    assert (difference.max() <= 1) == (mode in ("exact", "full"))
    record = json.loads((tmp_path / "out/manifest.jsonl").read_text())
    assert record["mode"] == mode and record["tiles"] == (1 if mode == "full" else 8)
    assert ("warning" in said) == (mode == "thumbnail"), "noise is what a thumbnail does not show"


def test_bf16(tool, run, photos, tmp_path):
    options = ("--precision", "bf16", "--norm-stats", "exact", "--tile", "24")
    assert tool(*options, source=photos / "2.png")[0] == 0
    difference = pixels(tmp_path / "out/2.png") - by_hand(run, photos / "2.png", "a_to_b")
    assert 0 < np.abs(difference).mean() < 8


def test_bad_file(tool, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    code, said = tool()
    assert code == 3 and "5 translated" in said and "1 bad" in said
    assert "bad: bad.jpg is not a readable image" in said
    (photos / "bad.jpg").unlink()
    assert tool()[0] == 0


def test_sheet(tool, tmp_path):
    code, said = tool("--sheet", str(tmp_path / "sheet.png"), "--sheet-count", "2")
    assert code == 0 and f"{tmp_path / 'sheet.png'}: " in said
    assert Image.open(tmp_path / "sheet.png").size[0] > 4 * 256


def test_exported_folder_is_a_checkpoint_too(tool, run, photos, tmp_path):
    export(run, tmp_path / "exported", forms=("safetensors",), direction="b_to_a")
    assert tool(model=tmp_path / "exported")[0] == 0
    wanted = by_hand(run, photos / "0.png", "b_to_a")
    assert np.abs(pixels(tmp_path / "out/0.png") - wanted).max() <= 1
    code, said = tool("--direction", "a_to_b", model=tmp_path / "exported", out="other")
    assert code == 2 and "does not translate a_to_b; it has b_to_a" in said


def test_two_processes_share_the_work(run, photos, tmp_path):
    """Every image once, the same files as one process makes, one manifest."""
    arguments = [str(TOOL), str(run), str(photos)]
    outputs = run_ranks([*arguments, str(tmp_path / "two")], 2)
    assert "process 0: " in outputs[0] and "3 translated" in outputs[0]
    assert "process 1: " in outputs[1] and "2 translated" in outputs[1]
    assert translate.main([str(run), str(photos), str(tmp_path / "one")]) == 0
    for path in photos.rglob("*.png"):
        name = path.relative_to(photos)
        assert (pixels(tmp_path / "one" / name) == pixels(tmp_path / "two" / name)).all()
    records = [json.loads(x) for x in (tmp_path / "two/manifest.jsonl").read_text().splitlines()]
    assert sorted(r["output"] for r in records) == sorted(
        p.relative_to(photos).as_posix() for p in photos.rglob("*.png")
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--direction up", "does not translate up; it has a_to_b, b_to_a"),
        ("--tile 0", "--tile is 0"),
        ("--batch-size 0", "--batch-size is 0"),
    ],
)
def test_refusals(tool, options, says):
    code, said = tool(*options.split())
    assert code == 2 and said.startswith("error: ") and says in said and said.count("\n") == 1


def test_places_that_cannot_be(tool, photos, tmp_path):
    code, said = tool(out="photos")
    assert code == 2 and "IN and OUT are both" in said
    code, said = tool(source=photos / "0.png", out="photos")
    assert code == 2 and "lies in OUT" in said
    code, said = tool(out="one.png")
    assert code == 2 and "OUT is a folder" in said
    code, said = tool(source=tmp_path / "nothing")
    assert code == 2 and "does not exist" in said
    code, said = tool(model=tmp_path / "nothing")
    assert code == 2 and "neither a checkpoint nor a run directory" in said
    (tmp_path / "file").write_text("")
    code, said = tool(out="file/below")
    assert code == 4 and "file/below: a file stands where a folder should" in said


def test_a_recipe_that_draws_does_not_translate(tool, tmp_path):
    spec = checkpoints.DataSpec(3, 32, 32)
    checkpoints.write(tmp_path / "gan", "gan", spec, width=8)
    code, said = tool(model=tmp_path / "gan")
    assert code == 2 and "recipe gan, which does not translate" in said


@pytest.mark.parametrize("window", ["5,5", "a,b", "1"])
def test_windows_that_are_none(tool, window):
    code, said = tool(f"--window={window}")
    assert code == 2 and said.startswith("error: ")


def test_help_is_quick():
    answer = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert answer.returncode == 0 and "--norm-stats exact" in answer.stdout


@pytest.mark.parametrize("name, scale", [("srresnet", 2), ("srgan", 4), ("esrgan", 2)])
def test_super_resolution(tool, photos, tmp_path, name, scale):
    """Every image larger by the scale, whole or in tiles, also through an exported folder."""
    spec = DataSpec(3, 16, 16)
    options = TINY_RECIPES[name] | {"scale": scale}
    run = checkpoints.write(tmp_path / "run", name, spec, **options)
    export(run, tmp_path / "net", forms=("safetensors",))
    ways = {
        "whole": (run, "--batch-size", "2"),
        "tiles": (run, "--norm-stats", "exact", "--tile", "44"),
        "exported": (tmp_path / "net",),
    }
    for out, (model, *words) in ways.items():
        code, said = tool(*words, model=model, out=out)
        assert code == 0 and "5 translated" in said, said
        for path in photos.rglob("*.png"):
            result = pixels(tmp_path / out / path.relative_to(photos))
            wanted = by_hand(run, path, "upscale")
            height, width = pixels(path).shape[:2]
            assert result.shape == wanted.shape == (height * scale, width * scale, 3)
            assert np.abs(result - wanted).max() <= 1
    lines = (tmp_path / "tiles" / "manifest.jsonl").read_text().splitlines()
    facts = [json.loads(line) for line in lines]
    assert {f["scale"] for f in facts} == {scale}
    assert {f["direction"] for f in facts} == {"upscale"} and max(f["tiles"] for f in facts) > 1
    code, said = tool("--direction", "a_to_b", model=run, out="other")
    assert code == 2 and "does not translate a_to_b; it has upscale" in said
    sheet = tmp_path / "sheet.png"
    code, _ = tool("--sheet", str(sheet), model=run, out="whole", source=photos)
    assert code == 0 and sheet.exists()
