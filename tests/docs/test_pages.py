"""Every fenced command of README and the guides parses, fits the one before it, or runs."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from largegan import commands
from largegan.config.parse import parse
from largegan.data.formats import FORMATS
from largegan.recipes import TABLE
from tests.docs.pages import OTHERS, PAGES, ROOT, largegan_words, words_of
from tests.docs.pages import commands as commands_of

ALL = [(page, command) for page in PAGES for command in commands_of(page)]
IDS = [f"{page.stem}-{i}" for i, (page, _) in enumerate(ALL)]
OURS = [(page, words) for page, c in ALL if (words := largegan_words(c))]
TRAINED = [(p, w) for p, w in OURS if w[0] in ("train", "doctor") and "..." not in w]


def filled(words: list[str]) -> list[str]:
    """Placeholders of a guide as something that can be parsed."""
    stand_ins = dict.fromkeys(("FILE", "runs/mine/config.yaml"), "configs/quickstart.yaml")
    return [stand_ins.get(word, word) for word in words]


WRITTEN = "largegan/ops/merge"  # by who follows write-an-op.md; tests/ops does


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_there_are_commands():
    assert len(ALL) > 60 and len(OURS) > 45 and len(TRAINED) > 15


@pytest.mark.parametrize(("page", "command"), ALL, ids=IDS)
def test_a_command_is_known_and_its_options_exist(page, command, capsys):
    words = largegan_words(command)
    if words is None:
        assert words_of(command)[0] in OTHERS | {"accelerate", "torchrun", "srun"}, command
        return
    name, rest = words[0], filled(words[1:])
    assert name in commands.TABLE, command
    if "..." in rest or "--help" in rest:
        return
    if name == "train" and not rest[0].startswith("-"):  # FOLDER, with or without a preset
        rest = ["--data.path", *rest, *([] if "--config" in rest else ["--config", "quickstart"])]
    if name in ("train", "doctor"):
        parse(rest)
    elif name == "ops":
        assert rest[0] in ("doctor", "table")
    else:
        importlib.import_module(commands.TABLE[name][0]).parse_arguments(rest)


def test_the_table_of_formats_is_whole_and_its_commands_parse():
    """Every format has its row; every row has a command whose options exist."""
    text = (ROOT / "docs/your-images.md").read_text()
    rows = [row.split(" | ") for row in re.findall(r"^\| .* \|$", text, re.M)]
    rows = [row for row in rows if "`largegan " in row[1]]
    cells = {row[0].removeprefix("| ") for row in rows}
    assert {row.about for row in FORMATS.values()} <= cells and len(rows) >= 18
    for row in rows:
        words = largegan_words(row[1].strip("`"))
        module = importlib.import_module(commands.TABLE[words[0]][0])
        parse(words[1:]) if words[0] == "train" else module.parse_arguments(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    text = page.read_text()
    rooms = "configs|slurm|benchmarks|tools|tests|largegan"
    named = re.findall(rf"(?<![\w/])((?:{rooms})/[\w./-]+)", text)
    for path in {name.rstrip(".") for name in named if not name.startswith(WRITTEN)}:
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def packed_before(page, position: int) -> dict[str, str | None]:
    """OUT -> --resolution of the `pack` commands above a command."""
    pack = importlib.import_module("largegan.commands.pack")
    found = {}
    for command in commands_of(page)[:position]:
        words = largegan_words(command)
        if words and words[0] == "pack":
            arguments = pack.parse_arguments(words[1:])
            found[str(arguments.out)] = arguments.resolution
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_packed_is_what_is_trained_on(page):
    """A configuration that states a resolution is trained on shards packed at that resolution."""
    for position, command in enumerate(commands_of(page)):
        words = largegan_words(command)
        if not words or words[0] != "train" or {"...", "--help"} & set(words):
            continue
        if not words[1].startswith("-"):
            continue  # FOLDER is no shards
        data = parse(filled(words[1:])).data
        size = packed_before(page, position).get(data.path)
        if size and data.resolution:
            assert size == (data.resolution, data.resolution), f"{page.name}: {command}"


def test_the_table_of_recipes_is_whole():
    rows = re.findall(r"^\| (`\w+`.*?) \|", (ROOT / "README.md").read_text(), re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(TABLE)


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


SMALL = "--train.total_nimg 8 --train.batch_size 8 --train.sample_rows 2 --train.cpu_threads 1"
TINY = f"{SMALL} --recipe.g_channels 4 --recipe.d_channels 4 --data.workers 0"


def test_the_first_page_of_your_images_runs(tmp_path, monkeypatch, capsys):
    """Word by word, in an empty folder with images; only shorter and thinner."""
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3), np.uint8)
        path = tmp_path / f"path/to/images/{'ab'[i % 2]}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    block = [largegan_words(c) for c in commands_of(ROOT / "docs/your-images.md")][:4]
    assert [words[0] for words in block] == ["pack", "verify", "train", "sample"]
    for words in block:
        more = TINY.split() if words[0] == "train" else []
        assert commands.main([*words, *more]) == 0, capsys.readouterr().err
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 8 * 32


def test_the_first_command_runs(tmp_path):
    """What README starts with, shortened, through its launcher."""
    (first, *_) = (c for c in commands_of(ROOT / "README.md") if "quickstart" in c)
    words = words_of(first)[2:]  # without `uv run`
    words += [*SMALL.split(), "--run.dir", str(tmp_path / "run")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PATH": path}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/checkpoints/000000008/COMPLETE").is_file()


def test_guides_go_back_to_where_their_runs_save():
    """`--to N` is the first whole batch behind a save of the run that the page trains before it."""
    goals = [(p, w[1], int(w[w.index("--to") + 1])) for p, w in OURS if w[0] == "rollback"]
    assert goals
    for page, run, nimg in goals:
        (train, *_) = (w for p, w in TRAINED if p == page and run in w)
        settings = parse(filled(train[1:])).train
        every, batch = settings.save_every_nimg, settings.batch_size
        saves = range(every, settings.total_nimg + 1, every)
        assert nimg in {-(-saved // batch) * batch for saved in saves}, page
