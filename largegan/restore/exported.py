"""Exported networks: a folder with weights and everything needed to build the network again.

FOLDER/config.json          what it is, and the recipe options that its architecture follows from
       model.safetensors    the averaged weights of that one network, nothing else of the run
       model.onnx           optional; see interop/graphs.py
       model.pt2            optional
       README.md            for people

    from largegan.restore.exported import load_exported
    net = load_exported("horse2zebra").net      # images [N, C, H, W] in [-1, 1] -> the same
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from msgspec import structs
from torch import Tensor, nn

from largegan import checkpoint, restore
from largegan.errors import ConfigError, DataError, shown
from largegan.files.digests import sha256_of
from largegan.files.documents import Sha256, read_document
from largegan.files.tensors import read_tensors
from largegan.recipe import DataSpec, Recipe, TakesImages, TruncatesStyles
from largegan.restore import check_size
from largegan.restore.published import CONFIG, WEIGHTS, Format, keep_only, says

KIND = "largegan network"
FORMAT = f"{KIND}, version 1"


@dataclass(frozen=True)
class Exported:
    """A network and what is known of it.

    A "translator" takes images `[N, C, H, W]` in [-1, 1] of any size; a "generator" takes latents
    `[N, z_dim]` and, with classes, labels int64 `[N]`. `model` is the sha256 of the weights' file.
    """

    net: nn.Module
    kind: str
    recipe: str
    direction: str | None
    spec: DataSpec
    model: str
    options: dict
    class_names: tuple[str, ...]


class ExportedConfig(Format):
    """The `config.json` of an export."""

    kind: Literal["translator", "generator"]
    recipe: str
    options: dict[str, Any]
    spec: checkpoint.Spec
    sha256: Sha256
    direction: str | None = None
    class_names: tuple[str, ...] = ()


def is_exported(path: Path) -> bool:
    """Whether a folder says that it holds an exported network."""
    return says(path, KIND)


def load_exported(path: str | Path) -> Exported:
    """Builds the network of a folder, on the host, frozen and in evaluation mode.

    Raises:
        ConfigError: it is no such folder, or one that this version cannot build.
        DataError: the weights are damaged.
    """
    path = Path(path)
    if not is_exported(path):
        raise ConfigError(f"{path} is no exported network; largegan export makes one from a run")
    about = {"what": "is no configuration of a network", "remedy": "export it again"}
    form = read_document(path / CONFIG, Format, **about).format
    if form != FORMAT:
        raise ConfigError(
            f"{path} is a {shown(form)}, and this largegan reads {FORMAT}; export it again"
        )
    config = read_document(path / CONFIG, ExportedConfig, **about)
    weights = path / WEIGHTS
    if not weights.is_file() or sha256_of(weights) != config.sha256:
        raise DataError(f"{weights} is missing or not the one that was exported; export it again")
    spec = DataSpec(**structs.asdict(config.spec))
    make = partial(build, path, config.recipe, config.options, spec, config.direction)
    check_size(weights, make)
    net = make()
    saved = read_tensors(weights, remedy="export it again")
    checkpoint.check_model(path, saved, checkpoint.unaliased(net.state_dict()))
    net.load_state_dict(saved, strict=False)  # of tensors with two names the file holds one
    return Exported(
        net.eval().requires_grad_(False),
        config.kind,
        config.recipe,
        config.direction,
        spec,
        config.sha256,
        {"name": config.recipe, **config.options},
        config.class_names,
    )


def build(path: Path, name: str, options: dict, spec: DataSpec, direction: str | None) -> nn.Module:
    """The network of a recipe that is exported, with new weights."""
    with torch.random.fork_rng(devices=[]):  # new weights must not disturb the caller's numbers
        recipe = restore.build(path, {"name": name, **options}, spec)
    if direction is not None and direction not in recipe.directions:
        raise DataError(f"{path} is of a direction {shown(direction)} that {name} does not have")
    return network_of(recipe, direction)


def network_of(recipe: Recipe, direction: str | None) -> nn.Module:
    """What is worth exporting of a recipe: a translator, or the averaged generator.

    Raises `ConfigError` for recipes that have neither.
    """
    if direction is not None:
        return recipe.translator(direction)
    if not all(hasattr(recipe, name) for name in recipe.drawn_by):
        raise ConfigError(
            f"recipe {type(recipe).__name__} has no averaged generator that could be exported"
        )
    return Drawing(recipe)


def channels_of(net: nn.Module) -> int:
    """Colors of the images that a translation network takes: it says so, or its first
    convolution knows."""
    if isinstance(net, TakesImages):
        return net.image_channels
    return next(m for m in net.modules() if isinstance(m, nn.Conv2d)).in_channels


class Drawing(nn.Module):
    """`recipe.decode` as a network: what a recipe's samples are made by, and no other weights.

    How latents, labels and constant noise become images is the recipe's knowledge. Its networks
    but those of `drawn_by` are dropped, so the recipe cannot be trained afterwards.
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.recipe = keep_only(recipe, recipe.drawn_by)

    def forward(
        self, z: Tensor, label: Tensor | None = None, truncation: Tensor | None = None
    ) -> Tensor:
        """`truncation`, of one number, is for recipes that are `TruncatesStyles`."""
        if truncation is None:
            return self.recipe.decode(z, label)
        return cast(TruncatesStyles, self.recipe).decode_truncated(z, label, truncation)

    @property
    def truncates(self) -> bool:
        """Whether it takes a `truncation`."""
        return isinstance(self.recipe, TruncatesStyles)


def choose_direction(
    wanted: str | None, available: tuple[str, ...], path: Path | str
) -> str | None:
    """One of `available`, the first for None; `AtoB` and `a2b` mean `a_to_b`.

    None where nothing is available and nothing was wanted; ConfigError for what there is not.
    """
    if wanted is None:
        return available[0] if available else None
    for name in available:
        if _plain(name) == _plain(wanted):
            return name
    raise ConfigError(
        f"{path} does not translate {wanted}; it has {', '.join(available) or 'no directions'}"
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace("2", "to")
