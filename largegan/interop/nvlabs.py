"""Pickled snapshots of NVlabs' codes and of those made from them: a dictionary of G, D and G_ema.

`G_ema`, `G` and `D` are objects whose constructor's arguments are kept beside their tensors
(`torch_utils.persistence`), `augment_pipe` is ADA's state. What distinguishes StyleGAN2, StyleGAN3
and R3GAN is the names of their tensors.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from largegan.augment import GROUPS
from largegan.errors import DataError
from largegan.files.pickle_records import Record
from largegan.interop.peers import Found, PeerNet, State, attributes, module_state
from largegan.recipe import DataSpec

NETS = {"G": "G", "D": "D", "G_ema": "G_ema.net"}  # the pickle's keys -> our modules


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A pickle's networks: tensors and constructors' arguments, by its keys."""

    path: Path
    states: dict[str, State]
    arguments: dict[str, dict[str, Any]]
    records: dict[str, Record]
    content: dict

    @property
    def generator(self) -> str:
        """The key of a generator: the averaged one if there is one."""
        return "G_ema" if "G_ema" in self.states else "G"


def snapshot(path: Path, content: Any) -> Snapshot | None:
    """None when it is something else. Raises `DataError` for a snapshot without a generator."""
    if isinstance(content, Record):  # a network alone
        content = {"G_ema": content}
    if not isinstance(content, dict) or not any(
        isinstance(content.get(key), Record) for key in NETS
    ):
        return None
    nets = {key: unwrapped(content[key]) for key in NETS if isinstance(content.get(key), Record)}
    if not {"G", "G_ema"} & set(nets):
        raise DataError(f"{path} holds no generator, only {', '.join(nets)}")
    states = {key: module_state(record) for key, record in nets.items()}
    arguments = {key: constructor(record) for key, record in nets.items()}
    return Snapshot(path, states, arguments, nets, content)


def unwrapped(record: Record) -> Record:
    """A network without what spread it over GPUs."""
    parts = attributes(record).get("_modules") or {}
    inner = parts.get("module")
    return inner if list(parts) == ["module"] and isinstance(inner, Record) else record


def constructor(record: Record) -> dict[str, Any]:
    """The arguments it was built with, where the pickle keeps them."""
    inside = attributes(record)
    given = inside.get("_init_kwargs")
    if inside.get("_init_args"):
        raise DataError("has a network that was built with unnamed arguments")
    return dict(given) if isinstance(given, Mapping) else {}


class StyleGANReader(NamedTuple):
    """How one of the StyleGANs is read: options of its recipe, and its networks."""

    generator: Callable[[Snapshot], dict[str, Any]]
    discriminator: Callable[[Snapshot, dict[str, Any]], dict[str, Any]]  # beside a generator's
    net: Callable[[str, State, int], PeerNet]  # of the pickle's key, tensors, resolution


def stylegan(found: Snapshot, title: str, read: StyleGANReader) -> Found:
    """What is imported of a StyleGAN, by its title; ADA included. Raises `DataError`."""
    resolution, channels, classes = resolution_of(found)
    ada, buffers, notes = augmentation(found)
    notes += leave_other_judges(found, "b4.out.weight")
    options = read.generator(found)
    return Found(
        title=f"{found.path.name}: a snapshot of {title}",
        recipe=title.lower(),
        options=options | read.discriminator(found, options) | ada,
        spec=DataSpec(channels, resolution, resolution, classes),
        nets={NETS[key]: read.net(key, state, resolution) for key, state in found.states.items()},
        nimg=images_seen(found.path),
        buffers=buffers,
        notes=(*notes, "its optimizers and losses are not in the file: they begin anew"),
    )


def augmentation(found: Snapshot) -> tuple[dict, dict, list[str]]:
    """ADA's options, its state under our names, and what could not be kept."""
    pipe = found.content.get("augment_pipe")
    if not isinstance(pipe, Record):
        return {"augment": "none"}, {}, []
    state, given = module_state(pipe), constructor(pipe)
    p = float(state["p"].load()) if "p" in state else 0.0
    on = {name for name, value in given.items() if value}
    group = next((name for name, members in GROUPS.items() if set(members) == on), None)
    notes = [] if group else [f"its augmentations ({', '.join(sorted(on))}) are no group of ours"]
    if group is None:
        group = "bgc"
    p = min(max(p, 0.0), 1.0)
    return {"augment": "ada", "ada_transforms": group}, {"augment.p": p}, notes


def images_seen(path: Path) -> int:
    """network-snapshot-000012.pkl: 12,000 images."""
    found = re.search(r"network-snapshot-(\d+)", path.name)
    return int(found[1]) * 1000 if found else 0


def resolution_of(found: Snapshot) -> tuple[int, int, int]:
    """(side in pixels, channels, classes) as the generator was told."""
    told = found.arguments[found.generator]
    try:
        return int(told["img_resolution"]), int(told["img_channels"]), int(told["c_dim"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{found.path}: its generator does not say its img_resolution, img_channels and c_dim"
        ) from None


class Only(tuple):
    """In a table of options: the values that are built here, of which none is an option of ours."""


FILTER, SLOPE = Only([(1, 3, 3, 1)]), Only(["lrelu"])
# What parts of networks may be told; widths and counts of layers are seen from the tensors, too.
WIDTHS = dict.fromkeys(("num_layers", "w_avg_beta", "embed_features", "layer_features"))
MAPPING = WIDTHS | {"activation": SLOPE, "lr_multiplier": Only([0.01])}
BLOCK = {"freeze_layers": None, "fp16_channels_last": None, "activation": SLOPE,
         "resample_filter": FILTER}  # fmt: skip
LAST = {"activation": SLOPE, "cmap_dim": None}


def part(record: Record, name: str) -> dict[str, Any]:
    """The attributes of a module within a network, by its dotted name."""
    for step in name.split("."):
        record = (attributes(record).get("_modules") or {}).get(step)
        if record is None:
            raise DataError(f"has a network without {name}")
    return attributes(record)


def inner_options(told: Mapping, epilogue: Mapping, what: str) -> dict[str, Any]:
    """What a discriminator's parts were told, as ours. Raises `DataError` for what is not built."""
    translated(told.get("block_kwargs") or {}, BLOCK, f"{what}'s blocks")
    if told.get("c_dim"):
        translated(told.get("mapping_kwargs") or {}, MAPPING, f"{what}'s mapping")
    return translated(told.get("epilogue_kwargs") or {}, epilogue, f"{what}'s last block")


def leave_other_judges(found: Snapshot, last: str) -> list[str]:
    """Takes away a discriminator that lacks the tensor `last`, and notes it."""
    if "D" not in found.states or last in found.states["D"]:
        return []
    for kept in (found.states, found.arguments, found.records):
        del kept["D"]
    return ["its discriminator is of another code, and left behind: D begins anew"]


def translated(
    options: Mapping[str, Any], table: Mapping[str, str | Only | None], what: str
) -> dict[str, Any]:
    """A peer's options under our names; None in the table: without effect on the numbers.

    Raises `DataError` for an option that we do not build.
    """
    found = {}
    for name, value in options.items():
        if name not in table:
            raise DataError(f"{what} has the option {name}, which is not built here")
        ours = table[name]
        if isinstance(ours, Only):
            check_value(name, value, ours, what)
        elif ours is not None:
            found[ours] = value
    return found


def check_value(name: str, value: Any, built: Only, what: str) -> None:
    """Raises `DataError` for a value of an option that is not built here."""
    value = tuple(value) if isinstance(value, list) else value
    if value not in built:
        known = " or ".join(str(list(one) if isinstance(one, tuple) else one) for one in built)
        raise DataError(f"{what} has {name} {str(value)[:40]}; only {known} is built here")
