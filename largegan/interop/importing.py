"""Other codes' checkpoints become ordinary runs: recognized by content, listed, built, written.

Adding a format is one file and one row of `IMPORTERS`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from largegan import checkpoint
from largegan.config.parse import as_dict, build_parser, resolved_yaml
from largegan.config.schema import GROUPS
from largegan.errors import ConfigError, DataError, shown
from largegan.files.claims import claim_new_folder
from largegan.files.output import new_folder, write_text
from largegan.files.pickle_records import Record
from largegan.files.ranges import plain
from largegan.files.stored import StoredArray, StoredTensor
from largegan.interop import (
    biggan_deep_hf,
    biggan_pytorch,
    cyclegan,
    projected_gan,
    r3gan,
    studiogan,
    stylegan2_ada,
    stylegan3,
)
from largegan.interop.peers import Found, PeerNet, build
from largegan.interop.torch_files import read_file
from largegan.recipe import Recipe

CONFIG, ABOUT, CHECKPOINTS = "config.yaml", "imported.json", "checkpoints"  # of what is written


@dataclass(frozen=True)
class ImportOptions:
    """What a person may add where a source does not say it."""

    epoch: str | None = None
    """Which of several checkpoints of a folder: an epoch, or the name of a copy."""
    resolution: int | None = None
    """Side of the training images, where it leaves no trace."""
    statistics: str = "running"
    """What batch norm of a translator uses: "running" averages, or each image's "own"."""


class Importer(NamedTuple):
    """A row: what it imports, and how; `read` returns None for what is something else."""

    what: str
    # A path, a file's content or None, options.
    read: Callable[[Path, Any, ImportOptions], Found | None]


MOST_NAMED = 3  # of what lies in a folder
IMPORTERS = (
    Importer(
        "StyleGAN2 snapshots (.pkl of stylegan2-ada-pytorch and of stylegan3)",
        lambda path, content, options: stylegan2_ada.read(path, content),
    ),
    Importer(
        "StyleGAN3 snapshots (.pkl of stylegan3)",
        lambda path, content, options: stylegan3.read(path, content),
    ),
    Importer(
        "R3GAN snapshots (.pkl)",
        lambda path, content, options: r3gan.read(path, content),
    ),
    Importer(
        "Projected GAN snapshots (.pkl), their FastGAN generators",
        lambda path, content, options: projected_gan.read(path, content),
    ),
    Importer(
        "BigGAN-PyTorch folders (G.pth, G_ema.pth, D.pth, optimizers)",
        lambda path, content, options: biggan_pytorch.read(path, content, epoch=options.epoch),
    ),
    Importer(
        "BigGAN-deep of Hugging Face's port (pytorch_model.bin and config.json)",
        lambda path, content, options: biggan_deep_hf.read(path),
    ),
    Importer(
        "CycleGAN, pix2pix and CUT folders (EPOCH_net_G.pth, ...)",
        lambda path, content, options: cyclegan.read(path, content, **vars(options)),
    ),
    Importer(
        "StudioGAN folders (model=G-...pth)",
        lambda path, content, options: studiogan.read(path, epoch=options.epoch),
    ),
)


def find(source: Path, options: ImportOptions | None = None) -> Found:
    """What a file or folder holds. Raises `DataError` and `ConfigError`, in a sentence."""
    if not source.exists():
        raise ConfigError(f"there is no {source}")
    content = read_file(source) if source.is_file() else None
    for importer in IMPORTERS:
        try:
            found = importer.read(source, content, options or ImportOptions())
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as fault:
            raise DataError(
                f"{source} looks like one of {importer.what}, but is not built like them "
                f"({type(fault).__name__}: {str(fault)[:120]})"
            ) from fault
        except DataError as fault:
            said = str(fault)
            raise (fault if str(source) in said else DataError(f"{source}: {said}")) from None
        if found is not None:
            return found
    kinds = "; ".join(importer.what for importer in IMPORTERS)
    raise DataError(
        f"{source} is none of what can be imported{held(content) or below(source)}: {kinds}"
    )


def below(source: Path) -> str:
    """What lies in a folder and may be meant, for the end of a sentence."""
    inside = sorted(source.iterdir()) if source.is_dir() else []
    meant = [p.name for p in inside if p.is_dir() or p.suffix in (".pkl", ".pth", ".pt", ".bin")]
    more = ", ..." if len(meant) > MOST_NAMED else ""
    names = ", ".join(shown(name, 60) for name in meant[:MOST_NAMED])
    return f" (give one of what lies in it: {names}{more})" if meant else ""


def held(content: Any) -> str:
    """What a file holds that nobody imports, for the end of a sentence."""
    networks = [one for one in parts(content) if isinstance(one, Record)]
    if any(str(one.kind).startswith("dnnlib.tflib.") for one in networks):
        return (
            " (it is a pickle of StyleGAN's TensorFlow code; convert it with legacy.py of "
            "stylegan2-ada-pytorch or stylegan3, and import that)"
        )
    if networks:
        return f" (it holds a network of the class {str(networks[0].kind)[:80]})"
    names = [name for name in content if isinstance(name, str)] if type(content) is dict else []
    if names:
        return f" (it holds {len(names)} entries such as {names[0][:60]}, of no network known here)"
    return ""


def parts(content: Any) -> list[Any]:
    """What lies in a file at its top."""
    if isinstance(content, dict):
        return list(content.values())
    return list(content) if isinstance(content, list | tuple) else [content]


def write_run(found: Found, run: Path, *, overwrite: bool = False) -> tuple[Path, list[str]]:
    """Writes the run directory, or nothing; returns its checkpoint and what to tell the user.

    Raises `ConfigError` when something is there, and `DataError` when tensors do not fit.
    """
    there = claim(run, overwrite=overwrite)
    recipe, notes = build(found)
    config = configuration(found)
    start = {"position": found.nimg, "seed": 0, "identity": None}
    apart = "image_b" in recipe.reads and not recipe.paired  # two streams
    state = {
        "step": found.step,
        "nimg": found.nimg,
        "data": {"a": start, "b": start} if apart else start,
        "bad_steps": {"total": 0, "in_a_row": {}},
        "config": as_dict(config),
        "spec": vars(found.spec),
        "class_names": [],
        "micro_batch_size": config.train.batch_size,
        "processes": 1,
        "imported": {"title": found.title, "notes": [*found.notes, *notes]},
    }
    optimizer, remarks = moments(found, recipe)
    content = checkpoint.Checkpoint(recipe.state_dict(), optimizer, state)
    with new_folder(run, over=there) as partial:
        write_text(partial / CONFIG, resolved_yaml(config))
        write_text(partial / ABOUT, json.dumps(state["imported"], indent=1))
        path = checkpoint.save(partial / CHECKPOINTS, found.nimg, content)
    return run / CHECKPOINTS / path.name, [*found.notes, *notes, *remarks]


def claim(run: Path, *, overwrite: bool) -> bool:
    """Whether there is an earlier import to be replaced. Raises ConfigError for anything else."""
    if not run.exists() or run.is_symlink() or (run.is_dir() and not any(run.iterdir())):
        claim_new_folder(run)
        return False
    if not overwrite:
        raise ConfigError(f"{run} exists; choose another RUN, or give --overwrite")
    files = {path.name for path in run.iterdir()} if run.is_dir() else {"no folder"}
    made = len(checkpoint.numbered(run / CHECKPOINTS))
    if ABOUT not in files or not files <= {CONFIG, ABOUT, CHECKPOINTS} or made > 1:
        raise ConfigError(
            f"{run} holds more than an import, so it is not replaced; choose another RUN"
        )
    return True


def configuration(found: Found) -> Any:
    """The settings of a run of this recipe, with the source's where it says them."""
    config = build_parser(found.recipe).get_defaults()
    for name, value in found.options.items():
        config.recipe[name] = value
    config.train.total_nimg = max(config.train.total_nimg, found.nimg + 1_000_000)
    if found.batch_size:
        config.train.batch_size = found.batch_size
    for group in (*GROUPS, "recipe"):
        settings = getattr(config, group)
        for name, value in vars(settings).items():
            setattr(settings, name, plain(value))
    return config


def moments(found: Found, recipe: Recipe) -> tuple[dict[str, Tensor], list[str]]:
    """The optimizers' tensors under `player/parameter/field`, and remarks."""
    state: dict[str, Tensor] = {}
    remarks = []
    for player, (attribute, packed) in found.optimizers.items():
        net = found.nets[attribute]
        try:
            taken = player_moments(recipe, player, attribute, net, packed)
        except (DataError, AttributeError, KeyError, TypeError, ValueError) as fault:
            remarks.append(f"the optimizer of {player} does not fit ({fault}): it begins anew")
            continue
        state |= taken
    return state, remarks


def player_moments(
    recipe: Recipe, player: str, attribute: str, net: PeerNet, packed: dict
) -> dict[str, Tensor]:
    """Torch numbers an optimizer's parameters in the order of the network's state dictionary."""
    module = recipe.get_submodule(attribute)
    parameters = dict(module.named_parameters())
    ours = {peer: name for name, peer in net.names(module).items() if name in parameters}
    order = [ours[peer] for peer in net.state if peer in ours]
    numbers = [n for group in packed["param_groups"] for n in group["params"]]
    if len(numbers) != len(order):
        raise DataError(f"it has {len(numbers)} parameters, the network {len(order)}")
    found = {}
    for number, name in zip(numbers, order, strict=True):
        for field, value in packed["state"].get(number, {}).items():
            place = f"{player}/{attribute}.{name}/{field}"
            found[place] = moment(field, value, parameters[name])
    return found


def moment(field: str, value: Any, parameter: Tensor) -> Tensor:
    """The count of steps, or a tensor in the shape of its parameter."""
    stored = isinstance(value, StoredTensor | StoredArray)
    tensor = value.load() if stored else torch.tensor(float(value))
    if field == "step":
        return tensor.float().reshape(())
    if tensor.numel() != parameter.numel():
        raise DataError(f"a moment has the shape {list(tensor.shape)}")
    return tensor.reshape(parameter.shape)
