"""Snapshots of power averages: small files from which any average is found after training.

RUN/snapshots/000064000.safetensors     named by images seen
    G_ema/0/mapping.layers.0.weight     16 bits, of the first of the widths
    G_ema/1/mapping.layers.0.weight     of the second
    G_ema/mapping.w_avg.mean            buffers, once, as they are
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jsonargparse import Namespace
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from largegan import checkpoint
from largegan.ema import Ema
from largegan.ema.powers import combined, gamma_of_width, mixture, without_powers
from largegan.errors import ConfigError, DataError, EnvironmentFault, shown

FOLDER, SUFFIX = "snapshots", ".safetensors"
LARGEST = torch.finfo(torch.float16).max


def follow(recipe: nn.Module, widths: Sequence[float]) -> None:
    """Makes every averaged network keep averages of these widths too.

    Raises `ConfigError` for fewer than two widths, or for one that no average has.
    """
    if len(set(widths)) < 2:
        raise ConfigError(
            f"train.snapshot_widths is {list(widths)}; two different widths or more are needed"
        )
    for width in widths:
        exponent(width, "train.snapshot_widths")
    averages = dict(averages_of(recipe))
    if not averages:
        raise ConfigError(
            f"recipe {type(recipe).__name__} keeps no average; leave train.snapshot_every_nimg out"
        )
    for average in averages.values():
        average.follow_powers(widths)


def carried_on(path: Path, content: checkpoint.Checkpoint, train: Namespace) -> dict[str, Tensor]:
    """The tensors of a checkpoint for a run with these settings: it may keep no averages any more.

    Raises `ConfigError` where it asks for averages that the checkpoint does not have: each is of
    all the training before.
    """
    if train.snapshot_every_nimg is None:
        return without_powers(content.model)
    choices = "leave train.snapshot_every_nimg out, or begin a new run with --run.init_from"
    if content.model.keys() == without_powers(content.model).keys():
        raise ConfigError(
            f"checkpoint {path} has no averages for train.snapshot_every_nimg, which a run keeps "
            f"from its first image on; {choices}"
        )
    before = content.state["config"].get("train", {}).get("snapshot_widths")
    if before != list(train.snapshot_widths):
        raise ConfigError(
            f"checkpoint {path} has averages of widths {shown(before)}, train.snapshot_widths asks "
            f"for {list(train.snapshot_widths)}; use those of before, {choices}"
        )
    return content.model


def exponent(width: float, setting: str) -> float:
    """gamma of a power average of this width. Raises ConfigError where there is none."""
    try:
        return gamma_of_width(width)
    except ValueError as fault:
        raise ConfigError(f"{setting}: {fault}") from fault


def averages_of(recipe: nn.Module) -> list[tuple[str, Ema]]:
    return [(name, m) for name, m in recipe.named_modules() if isinstance(m, Ema)]


def path_of(run: Path, nimg: int) -> Path:
    return run / FOLDER / f"{nimg:09d}{SUFFIX}"


def write(run: Path, nimg: int, recipe: nn.Module) -> None:
    """Writes all power averages of a recipe; a kill leaves the file whole or not there."""
    tensors: dict[str, Tensor] = {}
    for name, average in averages_of(recipe):
        for i, power in enumerate(average.powers):
            for key, value in power.net.named_parameters():
                tensors[f"{name}/{i}/{key}"] = small(value.detach())
        net = average.powers[0].net
        kept = net.state_dict().items()  # without buffers of the moment, which no checkpoint has
        known = dict(net.named_parameters())
        tensors |= {f"{name}/{key}": value for key, value in kept if key not in known}
    tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
    # One entry: safetensors writes several in any order, and equal runs leave equal files.
    widths = {"widths": json.dumps([power.width for power in averages_of(recipe)[0][1].powers])}
    target = path_of(run, nimg)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(checkpoint.unaliased(tensors), partial, widths)
        checkpoint.sync(partial)
        partial.replace(target)
    except (OSError, SafetensorError) as fault:
        partial.unlink(missing_ok=True)
        raise EnvironmentFault(
            f"cannot write {target}: {fault}; make room and continue with --run.resume auto"
        ) from fault


def small(value: Tensor) -> Tensor:
    """In 16 bits where the numbers fit."""
    fits = value.is_floating_point() and bool((value.abs() <= LARGEST).all())
    return value.half() if fits else value


def times(run: Path) -> list[int]:
    """When the snapshots of a run were taken, in images."""
    names = (path.stem for path in (run / FOLDER).glob(f"*{SUFFIX}"))
    return sorted(int(name) for name in names if name.isdigit())


def forget_after(run: Path, nimg: int) -> None:
    """Removes snapshots of what was trained after `nimg` images and is trained anew now."""
    for taken in times(run):
        if taken > nimg:
            path_of(run, taken).unlink(missing_ok=True)


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of a run up to one moment."""

    run: Path
    taken: list[int]
    widths: list[float]

    def average(self, width: float) -> dict[str, Tensor]:
        """Tensors of the averages of this width at the last snapshot, by their names in a recipe.

        Parameters are float32; buffers are those of the last snapshot.
        """
        gammas = [gamma_of_width(w) for w in self.widths]
        of_time = [t for t in self.taken for _ in gammas]
        weights = mixture(
            of_time, gammas * len(self.taken), self.taken[-1], [exponent(width, "width")]
        )[:, 0]
        try:
            return self._averaged(weights, len(gammas))
        except SafetensorError as fault:
            raise DataError(
                f"the snapshots of {self.run} are not all of the same networks ({fault}); remove "
                "those of one kind"
            ) from fault

    def write_checkpoint(self, base: Path, width: float, folder: Path) -> Path:
        """`base` with the averages of one width, as `folder/NNNNNNNNN`; replaces what is there."""
        content = checkpoint.load(base)
        averages = {k: v for k, v in self.average(width).items() if k in content.model}
        checkpoint.check_model(base, {**averages, **content.model}, content.model)
        model = without_powers(content.model)
        model |= {name: value.to(model[name].dtype) for name, value in averages.items()}
        state = content.state | {"posthoc_width": width}
        shutil.rmtree(folder / base.name, ignore_errors=True)
        written = checkpoint.Checkpoint(model, content.optimizer, state)
        return checkpoint.save(folder, int(base.name), written)

    def _averaged(self, weights: Tensor, count: int) -> dict[str, Tensor]:
        files = [safe_open(path_of(self.run, t), "pt") for t in self.taken]
        found, names = {}, files[-1].keys()
        for key in names:
            name, _, rest = key.partition("/")
            index, _, parameter = rest.partition("/")
            if not parameter:
                found[f"{name}.net.{rest}"] = files[-1].get_tensor(key)
            elif index == "0":
                keys = [f"{name}/{i}/{parameter}" for i in range(count)]
                parts = [file.get_tensor(key) for file in files for key in keys]
                found[f"{name}.net.{parameter}"] = combined(parts, weights)
        return found


def open_snapshots(run: Path, at: int | None = None) -> Snapshots:
    """All snapshots of a run, or those up to `at` images.

    Raises `ConfigError` when there are none, or none at `at`, and `DataError` for a damaged one.
    """
    taken = times(run)
    if not taken:
        raise ConfigError(
            f"{run} has no snapshots; train with --train.snapshot_every_nimg N (N images apart)"
        )
    if at is not None and at not in taken:
        raise ConfigError(
            f"{run} has no snapshot at {at} images; it has {', '.join(map(str, taken[-5:]))}"
        )
    taken = [t for t in taken if at is None or t <= at]
    widths: list[float] = []
    for t in taken:
        path = path_of(run, t)
        try:
            with safe_open(path, "pt") as file:
                found = json.loads(file.metadata()["widths"])
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as fault:
            raise DataError(
                f"snapshot {path} cannot be read ({fault}); remove it, the others suffice"
            ) from fault
        if widths and found != widths:
            raise DataError(
                f"snapshot {path} has averages of widths {found}, earlier ones of {widths}; "
                "remove those of one kind"
            )
        widths = found
    return Snapshots(run, taken, widths)
