"""A command line of every command, with all that it reads: for tests of what holds for all.

`sandbox` makes the inputs once; a row of `COMMANDS` names the words, run inside a copy of it.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import accelerate  # noqa: F401  (here, and not in every child anew; so below)
import numpy as np
import torch
import torchvision.utils  # noqa: F401
from PIL import Image

from largegan import checkpoint, recipes
from largegan.commands import run
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout
from largegan.interop import importing  # noqa: F401
from largegan.metrics import features, weights
from largegan.recipe import DataSpec
from largegan.run import snapshots
from largegan.translation import work  # noqa: F401
from largegan.viz import pictures, video  # noqa: F401
from tests.evaluation.images import tiny_extractor
from tests.golden import goldcheck
from tests.golden.goldcheck import Case
from tests.interop import peers
from tests.recipes.common import NUMBERS, TINY
from tests.translation import checkpoints

DATA = goldcheck.HERE / "data"
TINY_TRAINING = (
    "--train.batch_size=4 --train.total_nimg=8 --train.log_every_nimg=4 --train.save_every_nimg=4 "
    "--data.workers=0 --train.sample_rows=2 --train.cpu_threads=1"
)


class Row(NamedTuple):
    """Words of a command; which places it may write; whether it says --overwrite to go on."""

    words: str
    writes: tuple[str, ...] = ("out",)
    again: str = "--overwrite"


COMMANDS = {
    "sample": Row("sample dcgan out --count 3"),
    "sample a sheet": Row("sample dcgan out.png --count 4", ("out.png",)),
    "sample a sweep": Row("sample stylegan2 out --count 2 --thresholds 0.5,1"),
    "walk": Row("walk stylegan2 out.gif --seeds 0-1 --frames 2", ("out.gif",)),
    "project": Row("project stylegan2 photos/0.png out --features pixels --steps 2"),
    "encode": Row("encode ali photos out.npz", ("out.npz",)),
    "translate": Row("translate cyclegan photos out --sheet sheet.png", ("out", "sheet.png"), ""),
    "reduce": Row("reduce photos out --scale 2 --truths truths", ("out", "truths")),
    "compare": Row("compare photos zip.zip --sheet s.png --json c.json", ("s.png", "c.json")),
    "fid": Row(
        "fid photos zip.zip --backbone tiny --metrics fid --chunks 1 --device cpu --json f.json "
        "--statistics s.npz --cache cache", ("f.json", "s.npz", "cache")),
    "curve": Row(
        "curve photos stylegan2 out.png --count 6 --thresholds 0.5,1 --backbone tiny "
        "--neighbors 1", ("out.png", "out.json", "cache")),
    "pack": Row("pack photos out", again=""),
    "pack a zip": Row("pack zip.zip out", again=""),
    "pack an npz": Row("pack images.npz out", again=""),
    "verify": Row("verify shards --write-index", ("shards",), ""),
    "export": Row("export dcgan out --forms safetensors"),
    "import_checkpoint": Row("import_checkpoint peer out --resolution 32"),
    "ema": Row("ema averaged --width 0.1", ("averaged",), ""),
    "toys": Row("toys gaussian out.png", ("out.png",)),
    "weights": Row("weights fetch small --source small.pt --dir out", again=""),
    "train": Row(
        f"train --recipe.name dcgan --recipe.channels 4 --recipe.z_dim 4 --data.path shards "
        f"--run.dir out --run.resume auto {TINY_TRAINING}", again=""),
}  # fmt: skip


def sandbox(home: Path) -> Path:
    """All that the rows read."""
    home.mkdir(parents=True, exist_ok=True)
    spec = DataSpec(3, 16, 16)
    for name in ("dcgan", "stylegan2", "ali"):
        checkpoints.write(home / name, name, spec, **TINY[name])
    checkpoints.write(home / "cyclegan", "cyclegan", **TRANSLATOR)
    checkpoints.write(home / "gaussian", "gaussian", NUMBERS, **TINY["gaussian"])
    images = [picture(i) for i in range(6)]
    (home / "photos").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(home / "photos" / f"{i}.png")
    np.savez(home / "images.npz", images=np.stack(images))
    zipped(home / "photos", home / "zip.zip")
    pack(
        home / "photos",
        home / "shards",
        preparation=Preparation(format="png"),
        layout=Layout(shard_count=2),
    )
    peers.translators(Case(DATA, "cut_r32"), home / "peer")
    write_averaged(home / "averaged", spec)
    (home / "small.pt").write_bytes(SMALL)
    return home


TRANSLATOR = {"g_channels": 4, "d_channels": 4, "depth": 1, "d_layers": 1}
SMALL = b"weights"


def picture(seed: int) -> np.ndarray:
    y, x = np.mgrid[0:16, 0:16]
    return np.stack([(x * 9 + seed * 30) % 256, y * 12, (x + y) * 7], -1).astype(np.uint8)


def zipped(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def write_averaged(run_folder: Path, spec: DataSpec) -> None:
    """A run with two snapshots of power averages."""
    torch.manual_seed(0)
    recipe = recipes.build("stylegan2", spec, TINY["stylegan2"])
    snapshots.follow(recipe, [0.05, 0.1])
    config = {"recipe": {"name": "stylegan2", **TINY["stylegan2"]}, "data": {"path": "shards"}}
    state = {"config": config, "spec": vars(spec), "class_names": []}
    content = checkpoint.Checkpoint(recipe.state_dict(), {}, state)
    checkpoint.save(run_folder / "checkpoints", 1000, content)
    for nimg in (500, 1000):
        snapshots.write(run_folder, nimg, recipe)


class Ended(NamedTuple):
    """What came of a command."""

    code: int
    said: str

    @property
    def last(self) -> str:
        lines = [line for line in self.said.replace("\r", "\n").splitlines() if line.strip()]
        return lines[-1] if lines else ""


def in_a_child(words: str, where: Path, prepare: Callable[[], None] = lambda: None) -> Ended:
    """A command in a process of its own that starts in milliseconds, in the folder `where`."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            os.chdir(where)
            begin(where)
            prepare()
            code = answer(words)
            os.write(1, b"")
        os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said)


def begin(where: Path) -> None:
    """What a test replaces: standard streams, the feature network, the table of weights."""
    import sys

    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace"))
    real = features.open_extractor
    features.open_extractor = lambda name="inception", **options: (
        tiny_extractor() if name == "tiny" else real(name, **options)
    )
    row = weights.Weights("small", "small.pt", len(SMALL), hashlib.sha256(SMALL).hexdigest(), "")
    weights.TABLE["small"] = row
    os.environ |= {"LARGEGAN_CACHE": str(where / "cache"), "NO_COLOR": "1"}


def answer(words: str) -> int:
    """The exit code; what nobody foresaw is printed, and has code 70."""
    import traceback

    command, *rest = words.split()
    try:
        return run(command, rest)
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70


def listing(folder: Path) -> dict[str, str]:
    """Every file below a folder, and the hash of its bytes; folders with a slash."""
    return {
        path.relative_to(folder).as_posix() + "/" * path.is_dir(): hashlib.sha256(
            path.read_bytes() if path.is_file() else b""
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
    }
