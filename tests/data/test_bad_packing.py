"""Every way that what is packed can be wrong: one sentence, and an exit code."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import picture, png, save_pictures

LARGE = png(picture(1, size=9))


def _zip(path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, png(picture(0)))


def _two(p: Path) -> Path:
    return save_pictures(p / "s", 4, classes=2)


PACK_CASES: dict[str, tuple[Callable[[Path], object], list[str], int, list[str]]] = {
    "no source": (lambda p: None, [], 3, ["does not exist"]),
    "empty folder": (lambda p: (p / "s").mkdir(), [], 3, ["holds no image"]),
    "another kind of file": (
        lambda p: (p / "s").write_text("x"),
        [],
        3,
        ["is no set of images that is known", "a folder of images"],
    ),
    "empty class folder": (
        lambda p: (_two(p) / "class9").mkdir(),
        [],
        3,
        ["class folder class9", "holds no image"],
    ),
    "loose image": (
        lambda p: (_two(p) / "x.png").write_bytes(png(picture(0))),
        [],
        3,
        ["x.png lies beside the class folders"],
    ),
    "unreadable image": (
        lambda p: (_two(p) / "class1" / "x.png").write_bytes(b"x"),
        [],
        3,
        ["class1/x.png is not a readable image", "--on-error skip"],
    ),
    "mixed sizes": (
        lambda p: (_two(p) / "class1" / "x.png").write_bytes(LARGE),
        [],
        3,
        ["9x9", "8x8", "--resolution"],
    ),
    "no label for an image": (
        lambda p: (_two(p) / "labels.csv").write_text("a.png,1\n"),
        [],
        3,
        ["labels.csv has no label for class0/0000.png"],
    ),
    "damaged dataset.json": (
        lambda p: (_two(p) / "dataset.json").write_text("[]"),
        [],
        3,
        ["dataset.json cannot be read"],
    ),
    "label file missing": (_two, ["--labels", "file"], 3, ["dataset.json nor labels.csv"]),
    "no class folders": (
        lambda p: Image.fromarray(picture(0)).save((p / "s").mkdir() or p / "s" / "a.png"),
        ["--labels", "folder"],
        3,
        ["no sub-folders"],
    ),
    "output exists": (
        lambda p: (_two(p), (p / "out").mkdir(), (p / "out" / "x").write_text("")),
        [],
        2,
        ["exists already"],
    ),
    "alpha in jpeg": (_two, ["--channels", "4", "--format", "jpg"], 2, ["no alpha channel"]),
    "unknown fit": (_two, ["--fit", "squeeze"], 2, ["--fit", "'squeeze'", "center-crop"]),
    "unknown label choice": (_two, ["--labels", "maybe"], 2, ["'maybe'"]),
    "odd name": (_two, ["--name", "a.b"], 2, ["a dot or a slash"]),
    "too few class names": (_two, ["--class-names", "one"], 2, ["1 class names", "go up to 1"]),
    "odd quality": (_two, ["--quality", "300"], 2, ["quality is 300"]),
}


@pytest.mark.parametrize("case", PACK_CASES)
def test_packing_bad_sources(tool, tmp_path: Path, case: str) -> None:
    prepare, extra, expected, words = PACK_CASES[case]
    prepare(tmp_path)
    code, _, err = tool("pack", tmp_path / "s", tmp_path / "out", *extra)
    sentence = next(line for line in err.splitlines() if line.startswith("error: "))
    assert code == expected and all(w in sentence for w in words), err


NPZ_CASES: dict[str, tuple[dict, list[str]]] = {
    "no image array": ({"labels": np.arange(3)}, ["no image array", "it holds labels"]),
    "floats": ({"x": np.zeros((2, 8, 8, 3), np.float32)}, ["array x", "float32", "uint8"]),
    "odd shape": ({"x": np.zeros((2, 5, 8, 7), np.uint8)}, ["(2, 5, 8, 7)", "[N, H, W, C]"]),
    "empty": ({"x": np.zeros((0, 8, 8, 3), np.uint8)}, ["array x", "is empty"]),
    "labels of another count": (
        {"x": np.zeros((2, 8, 8, 3), np.uint8), "y": np.arange(3)},
        ["2 images but 3 labels"],
    ),
    "float labels": (
        {"x": np.zeros((2, 8, 8, 3), np.uint8), "y": np.ones(2)},
        ["not class numbers", "float64"],
    ),
    "pickled": ({"x": np.array([{}, {}], dtype=object)}, ["cannot be read as an npz"]),
}


@pytest.mark.parametrize("case", NPZ_CASES)
def test_packing_bad_npz(tool, tmp_path: Path, case: str) -> None:
    arrays, words = NPZ_CASES[case]
    np.savez(tmp_path / "s.npz", **arrays)
    code, _, err = tool("pack", tmp_path / "s.npz", tmp_path / "out")
    assert code == 3 and all(w in err for w in words), err


@pytest.mark.parametrize("name", ["s.npz", "s.zip"])
def test_packing_damaged_archives(tool, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 but not really")
    code, _, err = tool("pack", tmp_path / name, tmp_path / "out")
    assert code == 3 and f"cannot be read as {'an npz' if 'npz' in name else 'a zip'}" in err
