"""Trackers besides metrics.jsonl: Accelerate's, with what they need, and what they may not do.

A tracker is not the run: it cannot start without a sentence, and its troubles do not end training.
"""

import secrets
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from largegan.errors import DataError, EnvironmentFault, shown
from largegan.files.documents import read_bounded
from largegan.files.output import write_text

PICTURE_LISTS = ("wandb", "trackio", "comet_ml", "swanlab")  # take lists of pictures
WANDB = "wandb"  # its folder in the run directory
ID = "largegan-run-id"  # of wandb's run, inside that folder


class Trackers:
    """Those of `names`, with flat settings, and images each in its own shape.

    TensorBoard refuses nested settings and wants `[N, C, H, W]` arrays; wandb wants a list of
    pictures; several trackers take no images at all, and get none. Raises EnvironmentFault.
    """

    def __init__(self, names: list[str], folder: Path, *, project: str, settings: dict):
        self.accelerator: Any = None
        if not names:
            return
        from accelerate import Accelerator

        try:
            refuse_missing(names)
            cpu = not torch.cuda.is_available()
            self.accelerator = Accelerator(log_with=names, project_dir=folder, cpu=cpu)
            plain = {k: plain_setting(v) for k, v in settings.items()}
            options = {"wandb": wandb_options(folder)} if self._here("wandb", names) else {}
            self.accelerator.init_trackers(project, config=plain, init_kwargs=options)
        except EnvironmentFault:
            raise
        except Exception as fault:  # each tracker has errors of its own
            raise EnvironmentFault(
                f"log.trackers {', '.join(names)} cannot start: {why(fault)}; mend that, or leave "
                "it out"
            ) from fault

    def _here(self, name: str, names: list[str]) -> bool:
        return name in names and self.accelerator.is_main_process

    def log(self, values: dict[str, float], nimg: int) -> None:
        self._do(lambda: self.accelerator.log(values, step=nimg))

    def picture(self, name: str, picture: Tensor, nimg: int) -> None:
        """Shows one uint8 picture `[C, H, W]` in every tracker that takes images."""
        for tracker in self.accelerator.trackers if self.accelerator is not None else ():
            if tracker.name == "tensorboard":
                images: Any = picture[None].numpy()
            elif tracker.name in PICTURE_LISTS:
                from PIL import Image

                images = [Image.fromarray(picture.permute(1, 2, 0).numpy())]
            else:
                continue
            self._do(lambda t=tracker, i=images: t.log_images({name: i}, step=nimg))

    def close(self) -> None:
        self._do(lambda: self.accelerator.end_training())

    def _do(self, work: Callable[[], None]) -> None:
        """A tracker that fails is said, and asked no more."""
        if self.accelerator is None:
            return
        try:
            work()
        except Exception as fault:  # each tracker has errors of its own
            names = ", ".join(tracker.name for tracker in self.accelerator.trackers)
            self.accelerator = None
            print(
                f"warning: training goes on without its trackers ({names}): {why(fault)}",
                file=sys.stderr,
                flush=True,
            )


def why(fault: Exception) -> str:
    """The first line of what a tracker says."""
    return shown(next(iter(str(fault).splitlines()), "") or type(fault).__name__, 300)


def wandb_options(folder: Path) -> dict[str, str]:
    """Its folder in the run directory, and the run that it continues when training does."""
    path = folder / WANDB / ID
    try:
        number = read_bounded(path, 64, "remove it").decode("ascii", "replace").strip()
    except (FileNotFoundError, DataError):
        number = ""
    if not (number.isascii() and number.isalnum()):
        number = secrets.token_hex(8)
        write_text(path, number + "\n")
    name = folder.resolve().name
    return {"dir": str(folder), "id": number, "resume": "allow", "name": name}


def refuse_missing(names: list[str]) -> None:
    """Raises EnvironmentFault for trackers whose packages are not installed."""
    missing = missing_trackers(names)
    if missing:
        raise EnvironmentFault(
            f"log.trackers names {', '.join(sorted(missing))}, which is not installed; install it "
            "or leave it out"
        )


def missing_trackers(names: list[str]) -> set[str]:
    """Those of Accelerate's trackers whose packages are not installed; nothing is begun in any."""
    from accelerate.tracking import filter_trackers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own word for what is returned here
        found = filter_trackers(list(names), logging_dir=".")
    return set(names) - {str(getattr(name, "value", name)) for name in found}


def plain_setting(value: object) -> object:
    """TensorBoard takes only numbers, booleans and text."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)
