"""Commands for what a person wants next with a run: exact, to be copied into a shell."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from largegan.recipes import TABLE, recipe_class

REPAIR = "put back the file that the run wrote"


def commands(
    folder: Path,
    config: Mapping[str, Any],
    *,
    finished: bool,
    processes: int,
    best_nimg: int | None,
    kept: Sequence[int],
) -> list[tuple[str, str]]:
    """(what for, command line) in the order in which they are wanted."""
    found = [("go on", train(folder, config, finished=finished, processes=processes))]
    if not kept:
        return found
    best = folder / "checkpoints" / f"{best_nimg or kept[-1]:09d}"
    found += use(best, config, best="best" if best_nimg else "newest")
    others = [n for n in kept if n != kept[-1]]
    if others:
        back = best_nimg if best_nimg in others else others[-1]
        found.append((f"go back to {back:,} images", line("rollback", folder, "--to", back)))
    return [*found, ("write this page anew", line("report", folder))]


def train(folder: Path, config: Mapping[str, Any], *, finished: bool, processes: int) -> str:
    """Continues a run; a finished one for as long again."""
    launcher = ["python", "-m"]
    if processes > 1:
        launcher = ["accelerate", "launch", "--multi_gpu", "--num_processes", processes, "-m"]
    words = [*launcher, "largegan.train", "--config", folder / "config.yaml"]
    words += ["--run.dir", folder, "--run.resume", "auto"]
    if finished:
        words += ["--train.total_nimg", 2 * config["train"]["total_nimg"]]
    return joined(words)


def use(path: Path, config: Mapping[str, Any], *, best: str) -> list[tuple[str, str]]:
    """What a checkpoint of this recipe is good for."""
    name = config["recipe"]["name"]
    kind = recipe_class(name) if name in TABLE else None
    if kind is None:
        return []
    if "x" in kind.reads:
        return [(f"draw what the {best} one learned", line("toys", path, "toy.png"))]
    if kind.directions:
        return [(f"translate with the {best} one", line("translate", path, "IN", "OUT"))]
    data = config["data"].get("path")
    return [
        (f"draw from the {best} one", line("sample", path, "sheet.png")),
        (f"score the {best} one", line("fid", data, path)),
    ]


def line(command: str, *words: object) -> str:
    return joined(["largegan", command, *words])


def options(settings: Mapping[str, Any]) -> str:
    """{"recipe.lr": 1e-4} -> --recipe.lr 0.0001."""
    return joined([word for name, value in settings.items() for word in (f"--{name}", value)])


def joined(words: Sequence[object]) -> str:
    return shlex.join(str(word) for word in words)
