"""Writing a folder that `largegan.load` opens and a hub shows: whole and compared, or not.

OUT/config.json         see `restore/published.py`
    model.safetensors   averaged networks only
    README.md           the model card
    picture.png         what it makes, where there is a picture
    model.onnx, .pt2    on request; of a translator with several directions, model-a_to_b.onnx ...
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from largegan.errors import ConfigError, DataError
from largegan.files.digests import sha256_of
from largegan.files.output import new_folder
from largegan.files.version import VERSION
from largegan.interop import graphs, model_card
from largegan.interop.export import claim_folder, traceable_of, write_graphs, write_weights
from largegan.restore import Restored, restore
from largegan.restore.exported import channels_of, network_of
from largegan.restore.published import (
    CONFIG,
    FORMAT,
    WEIGHTS,
    averages_of,
    is_published,
    keep_only,
)

README, PICTURE = "README.md", "picture.png"


@dataclass(frozen=True)
class PublishOptions:
    """What the publisher adds: `forms` of graphs, the name for titles and code, and facts."""

    forms: tuple[str, ...] = ()
    name: str | None = None  # OWNER/NAME on the hub
    license: str | None = None
    dataset: str | None = None
    scores: tuple[dict[str, Any], ...] = ()  # what `largegan fid --json` wrote


def claim(path: Path, out: Path, *, overwrite: bool) -> None:
    """Refuses a folder that is no earlier publication, or is read from. Raises UserError."""
    claim_folder(path, out, "publication", overwrite and is_published(out), ours)


def ours(name: str) -> bool:
    """Whether a file of this name is one that `publish` writes."""
    graph = name.startswith("model") and name.endswith((".onnx", ".onnx.data", ".pt2"))
    return graph or name in (CONFIG, WEIGHTS, README, PICTURE)


def publish(
    found: Restored, out: Path, picture: bytes | None, options: PublishOptions
) -> dict[str, float]:
    """Writes the folder; returns how far each file's network is from the original.

    `picture` is a PNG. Raises ConfigError for a form that a network cannot have, EnvironmentFault
    for what the disk refuses.
    """
    wanted = {way: answers(found, way) for way in ways(found)}
    keep_only(found.recipe, averages_of(found.recipe))
    with new_folder(out, over=is_published(out)) as partial:
        write_weights(partial / WEIGHTS, found.recipe)
        (partial / CONFIG).write_text(json.dumps(configuration(found, partial), indent=1) + "\n")
        if picture is not None:
            (partial / PICTURE).write_bytes(picture)
        (partial / README).write_text(model_card.text(found, options, picture is not None))
        differences = {WEIGHTS: compare_loaded(partial, wanted)}
        for way in ways(found) if options.forms else ():
            differences |= graphs_of(partial, found, way, options.forms)
        return differences


def configuration(found: Restored, folder: Path) -> dict[str, Any]:
    """What `config.json` says."""
    return {
        "format": FORMAT,
        "recipe": found.name,
        "options": {k: v for k, v in found.options.items() if k != "name"},
        "spec": vars(found.spec),
        "class_names": list(found.class_names),
        "nimg": found.nimg,
        "sha256": sha256_of(folder / WEIGHTS),
        "largegan": VERSION,
    }


def ways(found: Restored) -> tuple[str | None, ...]:
    """The directions of a translator; None for what draws."""
    return found.recipe.directions or (None,)


@torch.no_grad()
def answers(found: Restored, way: str | None) -> Tensor:
    """What a network makes of inputs that are always the same."""
    random = torch.Generator().manual_seed(0)
    if way is None:
        labels = torch.arange(4) % found.recipe.num_classes if found.recipe.num_classes else None
        return found.recipe.decode(found.recipe.latent(4, random), labels)
    net = found.recipe.translator(way)
    return net(torch.rand(1, channels_of(net), 64, 64, generator=random) * 2 - 1)


def compare_loaded(folder: Path, wanted: dict[str | None, Tensor]) -> float:
    """What somebody will load, against what was trained. Raises DataError where it differs."""
    loaded = restore(folder)
    for way, before in wanted.items():
        if not torch.equal(answers(loaded, way), before):
            raise DataError(
                f"the published {way or 'generator'} does not compute what the checkpoint does; "
                "this is a fault of largegan: please report it"
            )
    return 0.0


def graphs_of(
    folder: Path, found: Restored, way: str | None, forms: tuple[str, ...]
) -> dict[str, float]:
    """Writes one network as graphs; where there are several, their directions are in the names."""
    net = network_of(found.recipe, way).eval().requires_grad_(False)
    written = write_graphs(folder, traceable_of(net, found, way), forms)
    if len(ways(found)) == 1:
        return written
    return {named(folder, name, way): difference for name, difference in written.items()}


def named(folder: Path, name: str, way: str | None) -> str:
    """Renames model.onnx to model-WAY.onnx; returns that."""
    if (folder / f"{graphs.ONNX}.data").exists():
        raise ConfigError(
            "a network whose ONNX needs a second file cannot be published in several directions; "
            "export them one by one"
        )
    new = Path(name).with_stem(f"model-{way}").name
    (folder / name).rename(folder / new)
    return new
