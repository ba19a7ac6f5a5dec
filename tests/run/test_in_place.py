"""Images as they are, given as data.path: packed once, by content, and found again."""

import dataclasses
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from largegan.config.schema import DataConfig
from largegan.data import Domains
from largegan.data.in_place import Wanted, copy_in_cache
from largegan.errors import ConfigError, DataError
from largegan.recipes import recipe_class
from largegan.run.data import open_source, spec_of
from tests.data import writers
from tests.data.conftest import picture, png
from tests.data.writers import COUNT, IMAGES, SOURCES


@pytest.fixture
def opened(tmp_path: Path):
    """(source, DataConfig) of a path, with a cache of this test's own."""

    def open_it(path: Path, recipe: str = "gan", **settings):
        data = DataConfig(path=str(path), cache_dir=str(tmp_path / "cache"), **settings)
        return open_source(data, recipe_class(recipe)), data

    return open_it


def copies(tmp_path: Path) -> list[Path]:
    return sorted(p.parent for p in (tmp_path / "cache" / "packed").glob("*/index.json"))


IN_PLACE = ["folder", "zip", "npz", "lsun", "hdf5 biggan", "cifar-10", "mnist", "parquet shards",
            "csv absolute", "shards cls names"]  # fmt: skip


@pytest.mark.parametrize("case", IN_PLACE)
def test_every_format_trains_in_place(opened, tmp_path: Path, case: str) -> None:
    """One of each: all images, unchanged, with their labels."""
    name, write, _, classes = SOURCES[case]
    source, _ = opened(write(tmp_path / "source"))
    micro = source.read(np.arange(COUNT))
    images = IMAGES if name != "mnist" else np.repeat(IMAGES[..., :1], 3, 3)
    found = {image.numpy().tobytes() for image in micro["image"].permute(0, 2, 3, 1)}
    assert found == {image.tobytes() for image in images}
    assert source.info.num_classes == (0 if classes is None else 3)


def test_packed_once_by_content(opened, tmp_path: Path, capsys) -> None:
    """Found again by names and times; and, when those changed, by what the images hold."""
    first, _ = opened(writers.folder(tmp_path / "source"))
    assert "packed 12 images" in capsys.readouterr().out
    again, _ = opened(tmp_path / "source")
    assert capsys.readouterr().out == ""
    shutil.move(tmp_path / "source", tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*.png"):
        path.touch()
    moved, _ = opened(tmp_path / "elsewhere")
    assert len(copies(tmp_path)) == 1
    assert first.info.identity == again.info.identity == moved.info.identity
    (tmp_path / "elsewhere/ant/more.png").write_bytes(png(picture(50)))
    more, _ = opened(tmp_path / "elsewhere")
    assert more.info.count == COUNT + 1 and len(copies(tmp_path)) == 2
    shutil.rmtree(copies(tmp_path)[0])
    shutil.rmtree(copies(tmp_path)[0])
    assert opened(tmp_path / "elsewhere")[0].info.identity == more.info.identity


def test_one_of_several_processes_packs(tmp_path: Path) -> None:
    """The others wait, and read what it made."""
    source = writers.folder(tmp_path / "source")
    context = multiprocessing.get_context("fork")
    told = context.Queue()

    def work() -> None:
        copy = copy_in_cache(source, Wanted(), tmp_path / "cache")
        told.put((str(copy.path), len(copy.notes)))

    ranks = [context.Process(target=work) for _ in range(3)]
    for rank in ranks:
        rank.start()
    found = [told.get(timeout=60) for _ in ranks]
    assert len({path for path, _ in found}) == 1 == len(copies(tmp_path))
    assert sorted(notes for _, notes in found) == [0, 0, 1]


def test_a_copy_that_lost_a_shard_is_packed_again(opened, tmp_path: Path) -> None:
    first, _ = opened(writers.folder(tmp_path / "source"))
    next(copies(tmp_path)[0].glob("*.tar")).unlink()
    again, _ = opened(tmp_path / "source")
    assert again.read(np.arange(COUNT))["image"].shape[0] == COUNT
    assert again.info.identity == first.info.identity


def test_nothing_is_left_of_a_failure(opened, tmp_path: Path) -> None:
    source = writers.folder(tmp_path / "source")
    (source / "ant/bad.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"bad\.png is not a readable image"):
        opened(source)
    kept = [p.suffix for p in (tmp_path / "cache" / "packed").iterdir()]
    assert kept == [".lock"]
    assert opened(source, on_error="skip")[0].info.count == COUNT


SIZES = {  # (sizes of images, settings): what is stored, or the words of a refusal
    "alike": ([(8, 8)], {}, (8, 8)),
    "asked": ([(8, 8)], {"resolution": 4}, (4, 4)),
    "different": ([(8, 8), (8, 12)], {"resolution": 4}, (4, 4)),
    "different and not asked": ([(8, 8), (8, 12)], {}, "data.resolution"),
    "resized smaller": ([(8, 12)], {"resize": 4}, (4, 6)),
    "resized larger": ([(8, 8)], {"resize": 12, "crop": 8}, (8, 8)),
    "different and resized": ([(8, 8), (8, 12)], {"resize": 6, "crop": 4}, (6, 6)),
    "cut": ([(8, 12)], {"crop": 4}, (8, 12)),
}


@pytest.mark.parametrize("case", SIZES)
def test_sizes(opened, tmp_path: Path, case: str) -> None:
    sizes, settings, expected = SIZES[case]
    (tmp_path / "source").mkdir()
    for i, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height)).save(tmp_path / "source" / f"{i}.png")
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            opened(tmp_path / "source", **settings)
        return
    source, data = opened(tmp_path / "source", **settings)
    assert (source.info.height, source.info.width) == expected
    spec_of(data, source)


def test_shards_of_others_are_read_as_they_are_where_they_fit(opened, tmp_path: Path) -> None:
    root = writers.foreign_shards(tmp_path / "s", label="json label")
    source, _ = opened(root)
    assert source.info.count == COUNT and source.info.num_classes == 3 and not copies(tmp_path)
    source, _ = opened(root, resolution=4)
    assert source.info.height == 4 and len(copies(tmp_path)) == 1


def domains(root: Path, a: str, b: str) -> Path:
    for name, first in ((a, 0), (b, 4)):
        (root / name).mkdir(parents=True)
        for i in range(4):
            (root / name / f"{i}.png").write_bytes(png(picture(first + i)))
    return root


@pytest.mark.parametrize("names", [("trainA", "trainB"), ("a", "b"), ("A", "B")])
def test_two_domains(opened, tmp_path: Path, names: tuple[str, str]) -> None:
    root = domains(tmp_path / "s", *names)
    (root / "testA").mkdir()
    source, _ = opened(root, "cyclegan")
    assert isinstance(source, Domains)
    for part, first in ((source.a, 0), (source.b, 4)):
        found = part.read(np.arange(4))["image"].permute(0, 2, 3, 1).numpy()
        assert {x.tobytes() for x in found} == {picture(first + i).tobytes() for i in range(4)}
    pairs, _ = opened(root, "pix2pix")
    micro = pairs.read(np.arange(4))
    seen = {micro[f"image_{d}"][0].permute(1, 2, 0).numpy().tobytes() for d in "ab"}
    assert any(seen == {picture(i).tobytes(), picture(4 + i).tobytes()} for i in range(4))
    lone = DataConfig(path=str(root / names[0]), path_b=str(root / names[1]))
    lone = dataclasses.replace(lone, cache_dir=str(tmp_path / "cache"))
    both = open_source(lone, recipe_class("cut"))
    assert both.info.identity == source.info.identity
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root))
    for recipe, same in (("cyclegan", source), ("pix2pix", pairs)):
        assert opened(packed, recipe)[0].info.identity == same.info.identity


@pytest.mark.parametrize("half", ["left", "right"])
def test_pairs_side_by_side(opened, tmp_path: Path, half: str) -> None:
    """Facades' and edges2shoes' pictures; the half that is named is the source."""
    (tmp_path / "s").mkdir()
    left, right = picture(1), picture(2)
    (tmp_path / "s" / "x.png").write_bytes(png(np.concatenate([left, right], 1)))
    source, _ = opened(tmp_path / "s", "pix2pix", side_by_side=half)
    micro = source.read(np.arange(1))
    a, b = (micro[f"image_{d}"][0].permute(1, 2, 0).numpy() for d in "ab")
    assert np.array_equal(a, left if half == "left" else right)
    assert np.array_equal(b, right if half == "left" else left)
    with pytest.raises(ConfigError, match="for recipes that learn from them"):
        opened(tmp_path / "s", "gan", side_by_side=half)
    for part in ("train", "val"):
        (tmp_path / "facades" / part).mkdir(parents=True)
        shutil.copy(tmp_path / "s" / "x.png", tmp_path / "facades" / part / f"{part}.png")
    with pytest.raises(ConfigError, match=r"holds train and val; choose one with --split"):
        opened(tmp_path / "facades", "pix2pix", side_by_side=half)
    facades, _ = opened(tmp_path / "facades", "pix2pix", side_by_side=half, split="train")
    assert facades.info.count == 1
    with pytest.raises(ConfigError, match="side_by_side left or right"):
        opened(tmp_path / "s", "pix2pix")


def test_sixteen_bits_stay(opened, tmp_path: Path) -> None:
    """From a window of a deep image to what networks see, within half a step of 16 bits."""
    from largegan.data.transforms import to_device
    from largegan.data.verify import verify

    values = np.random.default_rng(0).integers(1000, 3000, (2, 8, 8)).astype(np.uint16)
    (tmp_path / "s").mkdir()
    for i, pixels in enumerate(values):
        Image.fromarray(pixels).save(tmp_path / "s" / f"{i}.png")
    settings = {"window": [1000.0, 3000.0], "channels": 1}
    deep, _ = opened(tmp_path / "s", depth=16, **settings)
    shallow, _ = opened(tmp_path / "s", **settings)
    assert deep.info.identity != shallow.info.identity and deep.info.depth == 16
    wanted = np.sort((values - 1000.0).reshape(2, -1) / 1000 - 1, 0)
    errors = {}
    for name, source in (("deep", deep), ("shallow", shallow)):
        seen = to_device(source.read(np.arange(2)), "cpu")["image"]
        assert seen.dtype.is_floating_point and seen.abs().max() <= 1
        errors[name] = np.abs(np.sort(seen.reshape(2, -1).numpy(), 0) - wanted).max()
    assert errors["deep"] < 1 / 65535 + 1e-6 < 1 / 300 < errors["shallow"] < 1 / 255 + 1e-6
    for window in ([1.0], [3000.0, 1000.0]):
        with pytest.raises(ConfigError, match="two values, black and then white"):
            opened(tmp_path / "s", window=window)
    copy = next(p for p in copies(tmp_path) if '"depth": 16' in (p / "index.json").read_text())
    assert verify(str(copy)).faults == []
    (copy / "index.json").unlink()
    assert verify(str(copy)).index.depth == 16


def test_copies_are_listed_and_removed(opened, tmp_path: Path, capsys) -> None:
    from largegan.commands import cache

    words = ["--dir", str(tmp_path / "cache")]
    assert cache.main(words) == 0 and "0 copies kept" in capsys.readouterr().out
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(png(picture(ord(name[0]))))
        opened(tmp_path / name, decoded="disk")
    capsys.readouterr()
    kept = copies(tmp_path)
    assert cache.main(words) == 0
    said = capsys.readouterr().out
    assert "4 copies kept" in said and all(
        f"of {tmp_path / name}" in said for name in ("old", "new")
    )
    line = next(line for line in said.splitlines() if line.endswith(f"of {tmp_path / 'old'}"))
    old = next(copy for copy in kept if line.startswith(f"{copy}: "))
    long_ago = time.time() - 100 * 86400
    os.utime(old / "index.json", (long_ago, long_ago))
    assert cache.main([*words, "--clear"]) == 0
    assert "1 copies removed" in capsys.readouterr().out and old not in copies(tmp_path)
    opened(tmp_path / "old")
    assert "packed 1 images" in capsys.readouterr().out and old in copies(tmp_path)
    (tmp_path / "cache" / "packed" / ".largegan-0123").mkdir()
    assert cache.main([*words, "--clear", "--unused-days", "0"]) == 0
    assert "5 copies removed" in capsys.readouterr().out
    assert not copies(tmp_path) and not list((tmp_path / "cache").rglob("*.bin"))
    assert (tmp_path / "old" / "x.png").exists()
