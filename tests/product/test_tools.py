"""The table of recipes times the tools: each pair works, or is refused in one sentence.

A new recipe enters by its row, a new sheet by its; a new tool is a row of `TOOLS`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from largegan import commands
from largegan.metrics import features
from largegan.recipe import HasEncoder, HasStyles, MovesInput, Recipe
from largegan.restore import restore
from largegan.sampler import has_images, has_normal_latents
from largegan.viz.sheet_table import SHEETS
from tests.evaluation.images import tiny_extractor
from tests.product.runs import RECIPES, trained

PHOTOS = "photos"


class Tool(NamedTuple):
    """`words` follow `largegan COMMAND RUN`; `makes` is what lies in the folder afterwards."""

    command: str
    words: str
    makes: str
    fits: Callable[[Recipe], bool]


draws = cache(has_images)  # a toy draws its whole picture to be asked


def truncates(recipe: Recipe) -> bool:
    return not recipe.directions and has_normal_latents(recipe)


def sheet_fits(name: str) -> Callable[[Recipe], bool]:
    def fits(recipe: Recipe) -> bool:
        if not draws(recipe) or (name == "truncation" and not has_normal_latents(recipe)):
            return False
        by_class = name in ("classes", "class-interpolation")
        return SHEETS[name].fits(recipe) and bool(recipe.num_classes or not by_class)

    return fits


def sheet_words(name: str) -> str:
    words = f"OUT/sheet.png --sheet {name} --seeds 0-1 --steps 2"
    words += " --thresholds 0.5,1" if name == "truncation" else ""
    return words + (f" --images {PHOTOS}" if SHEETS[name].images else "")


def truncates_by_class(recipe: Recipe) -> bool:
    return isinstance(recipe, HasStyles) and recipe.num_classes > 0


TOOLS = {
    "sample": Tool("sample", "OUT/a.png --count 4", "a.png", lambda r: not r.directions),
    "sample files": Tool("sample", "OUT/a --count 2", "a/seed000*.png", draws),
    "sample truncated": Tool(
        "sample", "OUT/a.png --count 2 --truncation 0.7", "a.png",
        truncates,
    ),
    "sample toward the class": Tool(
        "sample", "OUT/a.png --count 2 --truncation 0.7 --toward class", "a.png",
        truncates_by_class,
    ),
    "sample toward the class, but not truncated": Tool(
        "sample",
        "OUT/a.png --count 2 --toward class",
        "a.png",
        lambda r: False,
    ),
    **{f"sheet {n}": Tool("sample", sheet_words(n), "sheet.png", sheet_fits(n)) for n in SHEETS},
    "walk": Tool("walk", "OUT/w.gif --seeds 0,1 --frames 2", "w.gif", draws),
    "walk with a moving camera": Tool(
        "walk", "OUT/w.gif --seeds 0,1 --frames 2 --turns 1", "w.gif",
        lambda r: isinstance(r, MovesInput),
    ),
    "project": Tool(
        "project", f"{PHOTOS}/0.png OUT/p --features pixels --steps 2 CLASS", "p/projected.png",
        lambda r: isinstance(r, HasStyles),
    ),
    "directions": Tool(
        "directions", "OUT/d.png --count 2 --save OUT/d.safetensors", "d.*",
        lambda r: isinstance(r, HasStyles),
    ),
    "encode": Tool("encode", f"{PHOTOS} OUT/c.npz", "c.npz", lambda r: isinstance(r, HasEncoder)),
    "translate": Tool(
        "translate", f"{PHOTOS} OUT/t --device cpu", "t/0.png", lambda r: bool(r.directions)
    ),
    "export": Tool("export", "OUT/e --forms safetensors", "e/model.safetensors", lambda r: True),
    "publish": Tool("publish", "OUT/m", "m/README.md", lambda r: True),
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / PHOTOS
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def run_tool(tool: Tool, run: Path, photos: Path, out: Path, recipe: Recipe) -> int:
    """The exit code of a command on a run."""
    out.mkdir()
    classes = "--class 1" if recipe.num_classes else ""
    words = tool.words.replace("CLASS", classes).split()
    places = {"OUT": str(out), PHOTOS: str(photos)}
    words = [f"{places[w.split('/')[0]]}{w[len(w.split('/')[0]):]}"
             if w.split("/")[0] in places else w for w in words]  # fmt: skip
    return commands.main([tool.command, str(run), *words])


@pytest.mark.parametrize("name", RECIPES)
def test_every_tool(name, runs_of_recipes, photos, tmp_path, capsys):
    run = trained(name, runs_of_recipes)
    recipe, found = restore(run).recipe, {}
    for title, tool in TOOLS.items():
        out = tmp_path / title.replace(" ", "_")
        code, said = run_tool(tool, run, photos, out, recipe), capsys.readouterr()
        made = sorted(out.glob(tool.makes))
        if tool.fits(recipe):
            found[title] = "" if code == 0 and made else f"exit {code}: {said.err[-300:]}"
            continue
        sentence = said.err.startswith("error: ") and said.err.count("\n") == 1
        fine = code == 2 and sentence and not list(out.iterdir())
        found[title] = "" if fine else f"exit {code}, wanted a refusal: {said.err[-300:]}"
    assert not {title: fault for title, fault in found.items() if fault}


@pytest.mark.parametrize("name", RECIPES)
def test_scores_of_eight_images(name, runs_of_recipes, photos, tmp_path, capsys, monkeypatch):
    run, extractor = trained(name, runs_of_recipes), tiny_extractor()
    monkeypatch.setattr(features, "open_extractor", lambda *words, **options: extractor)
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))
    words = [photos, run, "--count", "8", "--metrics", "fid", "--json", tmp_path / "a.json"]
    code = commands.main(["fid", *map(str, words), "--device", "cpu", "--chunks", "1"])
    said = capsys.readouterr().err
    if has_images(restore(run).recipe):
        assert code == 0 and (tmp_path / "a.json").is_file(), said
    else:
        assert code == 2 and said.startswith("error: "), said
