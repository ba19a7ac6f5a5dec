"""Odd words, places and files, and what must come of them: the right thing, or one sentence.

Whatever comes of it, the user's files stay as they were and nothing hidden is left.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.commands.every_command import in_a_child, listing

FID = "--backbone tiny --metrics fid --chunks 1 --device cpu --no-cache"
Prepare = Callable[[Path], object]


def nothing(where: Path) -> None:
    pass


def link(target: str, name: str) -> Prepare:
    return lambda where: (where / name).symlink_to(target)


def zipped(*names: str) -> Prepare:
    def prepare(where: Path) -> None:
        data = (where / "photos" / "0.png").read_bytes()
        with zipfile.ZipFile(where / "z.zip", "w") as archive:
            for name in names:
                archive.writestr(name, data)

    return prepare


def arrays(**content: object) -> Prepare:
    return lambda where: np.savez(where / "n.npz", **content)


def labels(content: object) -> Prepare:
    text = json.dumps({"labels": content})
    return lambda where: (where / "photos" / "dataset.json").write_text(text)


def strange_names(where: Path) -> None:
    """A line break, and bytes that are no UTF-8."""
    for name in ("a\nb.png", os.fsdecode(b"caf\xe9.png")):
        shutil.copy(where / "photos" / "0.png", where / "photos" / name)


def empty_image(where: Path) -> None:
    (where / "photos" / "e.png").write_bytes(b"")


def pipe(where: Path) -> None:
    os.mkfifo(where / "photos" / "a.png")


def my_own(name: str) -> Prepare:
    def prepare(where: Path) -> None:
        (where / name).parent.mkdir(exist_ok=True)
        (where / name).write_bytes(b"my own")

    return prepare


IMAGES = np.zeros((4, 16, 16, 3), np.uint8)
WEIGHTS = "dcgan/checkpoints/000001000/model.safetensors"
# words, what is prepared, exit code, what is said
QUICK = [
    ("sample dcgan out --files --count 2", link("dcgan/checkpoints", "out"), 2, "both"),
    ("sample dcgan dcgan/checkpoints/sub --count 2", nothing, 2, "lies in"),
    ("sample dcgan out.png --thresholds 0.5", nothing, 2, "--thresholds are for"),
    ("sample dcgan out.png --count 9999999", nothing, 2, "too many for a sheet"),
    ("reduce photos photos/small --scale 2 --truths photos", nothing, 2, "photos"),
    ("reduce z.zip out --scale 2", zipped("a.png", "a.png/b.png"), 2, "a file and a folder"),
    ("reduce z.zip out --scale 2", zipped("../a.png", "b.png"), 3, "outside of OUT"),
    ("pack photos photos/out", nothing, 2, "lies in photos"),
    ("translate cyclegan photos photos/out", nothing, 2, "lies in photos"),
    ("reduce photos photos", nothing, 2, "are both photos"),
    ("sample dcgan a.png --overwrite", link(WEIGHTS, "a.png"), 2, "from which is read"),
    ("sample dcgan out", link("nowhere", "out"), 4, "a link to nowhere, which is not there"),
    ("weights fetch small --source small.pt --dir d", my_own("d/small.pt"), 2, "not the published"),
    ("verify gone.tar", link("nowhere", "gone.tar"), 3, "leads nowhere"),
    ("verify e.json --write-index", my_own("e.json"), 3, "lists no shards"),
    ("pack n.npz out --window 0,1", arrays(images=IMAGES * np.nan), 3, "not finite"),
    ("pack photos out", strange_names, 0, "8 images"),
    ("import_checkpoint peer dcgan --resolution 32 --overwrite", nothing, 2, "more than an import"),
    ("toys gaussian gaussian/checkpoints/000001000/a.png", nothing, 2, "which is read|lies in"),
    ("project stylegan2 photos/0.png stylegan2/checkpoints/000001000 --features pixels --steps 1",
     nothing, 2, "lies in"),
    ("walk stylegan2 out.gif --seeds 9223372036854775807,0 --grid 2x2", nothing, 2, "seeds lie"),
    (f"fid n.npz photos {FID}", arrays(mu=np.zeros(12), sigma=-np.eye(12)), 3, "covariance"),
    (f"fid photos photos {FID} --on-error skip", empty_image, 0, "6 images"),
]  # fmt: skip
SLOW = [
    ("sample dcgan dcgan/checkpoints/x.png", nothing, 2, "lies in"),
    (f"sample dcgan {WEIGHTS} --overwrite", nothing, 2, "is a file"),
    ("translate cyclegan photos out", link("photos", "out"), 2, "both"),
    ("translate cyclegan photos out --sheet out/0.png", nothing, 2, "a translation's name"),
    ("translate cyclegan photos cyclegan/checkpoints/x", nothing, 2, "lies in"),
    ("translate cyclegan photos out", strange_names, 0, "8 translated"),
    ("translate cyclegan photos out", pipe, 0, "6 translated"),
    ("translate cyclegan z.zip out", zipped("/a.png", "b.png"), 3, "outside of OUT"),
    ("translate cyclegan z.zip out", zipped("a.png", "a.png/b.png"), 2, "a file and a folder"),
    ("translate cyclegan z.zip out", zipped("d" * 300 + ".png"), 3, "too long"),
    ("compare z.zip z.zip", zipped("a.png", "a.jpg"), 3, "the same image"),
    ("compare photos photos --sheet photos/0.png --overwrite", nothing, 2, "from which is read"),
    ("compare photos photos", strange_names, 0, "8 pairs"),
    ("encode ali photos out.npz", empty_image, 3, "e.png"),
    ("pack photos out --on-error skip", empty_image, 0, "1 skipped"),
    ("pack photos out", pipe, 0, "1 left out"),
    ("pack z.zip out", zipped("a.png", "a.png"), 3, "twice"),
    ("pack photos out", labels([["0.png", 0], ["0.png", 1]]), 3, "two labels"),
    ("pack photos out", labels([[f"{i}.png", [0, 1]] for i in range(6)]), 3, "no class"),
    ("pack n.npz out", arrays(images=IMAGES, labels=np.arange(3)), 3, "3 labels"),
    ("pack n.npz out", arrays(images=IMAGES, labels=np.array([0, 1, 2, 10**15])), 3, "--compact"),
    ("import_checkpoint peer peer/run --resolution 32", nothing, 2, "lies in"),
    ("export dcgan dcgan/checkpoints/new --forms safetensors", nothing, 2, "lies in"),
    (f"fid photos photos {FID.replace('--no-cache', '--cache photos')}", nothing, 2, "--cache"),
    ("weights fetch small --source photos/0.png --dir out", nothing, 3, "nothing was kept"),
]  # fmt: skip


def check(row, inputs: Path, where: Path) -> None:
    import re

    words, prepare, code, says = row
    shutil.copytree(inputs, where)
    prepare(where)
    before = listing(where)
    done = in_a_child(words, where)
    after = listing(where)
    assert done.code == code and "Traceback" not in done.said, done
    assert re.search(says, done.said), done.said
    if code in (2, 4):
        assert done.last.startswith("error: "), done.said
    assert [path for path in before if after.get(path) != before[path]] == []
    strange = [path for path in after if path not in before]
    assert not [path for path in strange if any(p.startswith(".") for p in path.split("/"))]
    assert all(path.split("/")[0].startswith("out") for path in strange), strange


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row[0][:40])
def test_quick(row, inputs, tmp_path):
    check(row, inputs, tmp_path / "box")


@pytest.mark.slow
@pytest.mark.parametrize("row", SLOW, ids=lambda row: row[0][:40])
def test_slow(row, inputs, tmp_path):
    check(row, inputs, tmp_path / "box")
