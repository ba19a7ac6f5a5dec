"""Opening a model by the name that a person gives: a folder of any kind, or one of the hub."""

import re
from pathlib import Path
from typing import cast

import torch

from largegan.api.device import choose_device
from largegan.api.generator import Generator
from largegan.api.precision import Precision
from largegan.api.translator import Translator
from largegan.errors import ConfigError, DataError, shown
from largegan.recipe import Recipe
from largegan.restore import Restored, restore
from largegan.restore.exported import is_exported, load_exported
from largegan.sampler import sampler_of

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
PUBLISHED = ["config.json", "model.safetensors", "README.md"]  # what is fetched from the hub


def open_model(
    source: str | Path,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    download: bool,
) -> Generator | Translator:
    """See `largegan.load`."""
    precision = Precision.of(dtype)
    path = find(source, download=download)
    where = choose_device(None if device is None else str(device))
    with torch.random.fork_rng(devices=[]):  # building must not disturb the caller's numbers
        if is_exported(path):
            return of_export(path, where, precision)
        found = restore(path)
    if found.recipe.directions:
        return Translator.of_recipe(found, where, precision)
    return Generator(sampler_of(found, where), found.name, found.nimg, precision)


def of_export(path: Path, device: torch.device, precision: Precision) -> Generator | Translator:
    """The one network of a folder that `largegan export` wrote."""
    exported = load_exported(path)
    if exported.kind == "translator":
        return Translator.of_network(exported, device, precision)
    state = {"class_names": list(exported.class_names)}
    recipe = cast(Recipe, exported.net.recipe)  # of a `Drawing`
    found = Restored(path, recipe, exported.spec, exported.options, state, exported.model)
    return Generator(sampler_of(found, device), found.name, 0, precision)


def find(source: str | Path, *, download: bool) -> Path:
    """The folder that a name stands for. Raises ConfigError, DataError."""
    try:
        path = Path(source).expanduser()
    except TypeError:
        raise ConfigError(
            f"a model is the name of its folder or of the hub, not a {type(source).__name__}"
        ) from None
    if path.is_dir():
        return path
    if path.exists():
        raise ConfigError(
            f"{shown(path)} is a file; give the folder of a run, a checkpoint or a published model "
            "(largegan import_checkpoint makes a run of another code's file)"
        )
    if HUB_NAME.fullmatch(str(source)):
        return from_hub(str(source), download=download)
    raise ConfigError(f"there is no folder {shown(path)}; give a run, a checkpoint or a model")


def from_hub(name: str, *, download: bool) -> Path:
    """The folder of OWNER/NAME in the hub's cache, fetched first if `download`."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as fault:
        raise ConfigError(
            f"there is no folder {name}; for a model of that name on the hub, `pip install "
            "huggingface_hub`"
        ) from fault
    try:
        place = snapshot_download(name, allow_patterns=PUBLISHED, local_files_only=not download)
    except (LocalEntryNotFoundError, HFValidationError) as fault:
        remedy = "check the name and the network" if download else "download=True fetches it"
        raise ConfigError(
            f"there is no folder {name}, and no model of that name in the hub's cache; {remedy}"
        ) from fault
    except Exception as fault:  # of the network: its client has errors of its own
        raise ConfigError(f"{name} cannot be fetched from the hub ({shown(fault)})") from fault
    path = Path(place)
    if not (path / PUBLISHED[0]).is_file():
        raise DataError(f"{name} of the hub holds no {PUBLISHED[0]}, so it is no model of ours")
    return path
