"""Every file in configs/: short, explained, parses, and builds its recipe."""

from pathlib import Path

import pytest
import torch

from largegan.config.parse import parse, recipe_options
from largegan.parallel.told import read_settings
from largegan.recipe import DataSpec
from largegan.recipes import TABLE, build, recipe_class

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def header(path: Path) -> str:
    """The comment at the top of a file, without its marks."""
    lines = path.read_text().splitlines()
    length = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.lstrip("# ") for line in lines[:length])


def test_every_recipe_has_one():
    named = {parse(["--config", str(path)]).recipe.name for path in FILES}
    assert named == set(TABLE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_is_short_and_says_how_to_start_it(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    command = f"-m largegan.train --config configs/{path.name}"
    assert command in header(path), f"the header of {path.name} must give the command: {command}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_builds_its_recipe(path):
    config = parse(["--config", str(path)])
    cls = recipe_class(config.recipe.name)
    spec = DataSpec(3, 32, 32, 10)
    if "x" in cls.reads:
        spec = DataSpec(1, 1, 1)
    elif "image_b" in cls.reads:
        spec = DataSpec(3, 32, 32, channels_b=3)
    with torch.device("meta"):
        recipe = build(config.recipe.name, spec, recipe_options(config))
    assert recipe.phases


ACCELERATE = sorted((Path(__file__).parents[1] / "configs/accelerate").glob("*.yaml"))
DEEPSPEED = sorted((Path(__file__).parents[1] / "configs/deepspeed").glob("*.json"))


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.stem)
def test_accelerate_files_load_and_say_how_to_start(path):
    from accelerate.commands.config.config_args import load_config_from_file

    assert f"--config_file configs/accelerate/{path.name}" in header(path)
    loaded = load_config_from_file(str(path))
    file = loaded.deepspeed_config.get("deepspeed_config_file") if loaded.deepspeed_config else None
    assert file is None or Path(__file__).parents[1] / file in DEEPSPEED


@pytest.mark.parametrize("path", DEEPSPEED, ids=lambda path: path.stem)
def test_deepspeed_files_are_accepted(path):
    settings = read_settings(str(path))
    assert settings["zero_optimization"]["stage"] == int(path.stem[-1])
    assert settings["gradient_clipping"] == 0.0  # written out: DeepSpeed's default is 1
