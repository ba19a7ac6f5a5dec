"""`largegan train FOLDER` alone: what it chooses, says and starts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from largegan import train
from largegan.config.parse import parse
from largegan.config.presets import ADVICE, presets
from largegan.doctor.dry_run import duration
from largegan.recipes import recipe_class
from largegan.run import suggestion as advice
from largegan.run.data import open_source, spec_of
from tests.data import writers
from tests.data.conftest import picture, png


def images(folder: Path, side: int, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        data = np.full((side, side + 8 * (i % 2), 3), 40 * i, np.uint8)
        Image.fromarray(data).save(folder / f"{folder.name}{i}.png")
    return folder


def source_of(root: Path, reads: str, side: int) -> Path:
    if reads == "images":
        return images(root, side)
    for name in ("trainA", "trainB"):
        images(root / name, side)
        if reads == "pairs":
            for path in (root / name).iterdir():
                path.rename(path.with_name(path.name.removeprefix(name)))
    return root


@pytest.mark.parametrize("row", ADVICE, ids=lambda row: row.preset)
@pytest.mark.parametrize("side", [20, 70, 300])
def test_every_row_makes_a_start(tmp_path: Path, monkeypatch, row, side: int) -> None:
    """The words parse, the images become what the recipe reads, at a size that the row allows."""
    monkeypatch.setattr(advice, "has_gpu", lambda: row.gpu)
    source = source_of(tmp_path / "mine", row.reads, side)
    suggestion = advice.suggest([str(source), "--data.cache_dir", str(tmp_path / "cache")])
    config = parse(suggestion.words)
    assert row.preset in presets() and f"preset {row.preset}" in suggestion.notes[1]
    assert f"3 {row.reads} of {side} pixels" in suggestion.notes[0]
    spec = spec_of(config.data, open_source(config.data, recipe_class(config.recipe.name)))
    assert spec.height == spec.width and spec.height in row.sides
    assert spec.height == max((s for s in row.sides if s <= side), default=min(row.sides))
    if row.epochs:
        assert config.train.total_nimg == 3 * row.epochs
    assert config.train.cuda_graphs is row.gpu
    several = advice.suggest([str(source)], {"WORLD_SIZE": "2"})
    assert not parse(several.words).train.cuda_graphs  # where gradients leave during backward
    cut = advice.suggest([str(source), "--parallel.engine", "zero2"])
    told = advice.suggest([str(source)], {"ACCELERATE_USE_FSDP": "true"})
    assert not parse(cut.words).train.cuda_graphs and not parse(told.words).train.cuda_graphs


def test_words_that_were_said_stay(tmp_path: Path) -> None:
    source = source_of(tmp_path / "mine", "images", 40)
    words = [str(source), "--train.total_nimg", "500", "--data.resolution", "16"]
    config = parse(advice.suggest(words).words)
    assert config.train.total_nimg == 500 and config.data.resolution == 16
    named = advice.suggest([str(source), "--recipe.name", "wgan"])
    assert named.words == ["--data.path", str(source), "--recipe.name", "wgan"]


def test_a_folder_alone_trains_and_goes_on(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))
    writers.folder(tmp_path / "mine")
    few = ["--train.batch_size", "4", "--train.cpu_threads", "1", "--train.sample_rows", "1"]
    few += ["--recipe.channels", "4", "--train.save_every_nimg", "8"]
    assert train.main(["mine", "--train.total_nimg", "8", *few]) == 0
    said = capsys.readouterr().out
    assert "mine: 12 images of 8 pixels" in said and "packed 12 images of mine at 32x32" in said
    assert "8 images take about a minute on two CPU cores" in said
    assert (tmp_path / "runs/mine/checkpoints/000000008").is_dir()
    assert train.main(["mine", "--train.total_nimg", "16", *few]) == 0
    said = capsys.readouterr().out
    assert "resuming from" in said and "packed" not in said.replace("cache/packed", "")
    (tmp_path / "mine/ant/more.png").write_bytes(png(picture(50)))
    more = ["mine", "--train.total_nimg", "24", *few]
    assert train.main(more) == 3
    assert "set data.may_change true to go on with images" in capsys.readouterr().err
    assert train.main([*more, "--data.may_change", "true"]) == 0
    assert "the data have changed (images before: 12, now: 13)" in capsys.readouterr().out


def test_a_folder_of_something_else_is_a_sentence(tmp_path: Path, capsys) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.doc").write_text("x")
    assert train.main([str(tmp_path / "notes")]) == 3
    assert "holds no image" in capsys.readouterr().err
    assert train.main([str(tmp_path / "nowhere")]) == 3


def test_how_long_on_a_gpu(tmp_path: Path) -> None:
    words = [
        "--config",
        "quickstart",
        "--data.path",
        str(tmp_path / "x"),
        "--data.resolution",
        "32",
    ]
    said = duration(parse(words), None)
    assert said.startswith("120,000 images take about ") and said.endswith("(--dry-run shows it)")
    (tmp_path / "x.png").write_bytes(png(picture(0)))
