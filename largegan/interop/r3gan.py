"""Snapshots of R3GAN (brownvc): G, D, G_ema and both optimizers, pickled by reference.

The pickle does not keep its constructors' arguments; all of them are seen from the tensors. The
names below are facts about that code's state dictionaries; see `nets/r3gan.py` for ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from largegan.errors import DataError
from largegan.interop.nvlabs import NETS, Snapshot, images_seen, snapshot
from largegan.interop.peers import Found, PeerNet, State, numbered, shape
from largegan.nets.r3gan import Generator
from largegan.recipe import DataSpec

IGNORED = r"Kernel$"  # resampling filters, constants here

BLOCK = {  # our names within a block -> the peer's
    "expand.weight": "LinearLayer1.Layer.weight",
    "mix.weight": "LinearLayer2.Layer.weight",
    "project.weight": "LinearLayer3.Layer.weight",
    "act1.bias": "NonLinearity1.Bias",
    "act2.bias": "NonLinearity2.Bias",
}
ENDS = {
    "to_image.weight": "AggregationLayer.Layer.weight",
    "from_image.weight": "ExtractionLayer.Layer.weight",
    "embed.weight": "EmbeddingLayer.weight",
}
LAYERS = "Model.MainLayers"


def theirs(module: nn.Module, name: str) -> str:
    """Our name of a parameter -> the peer's, whose stages begin at the image in D."""
    if name in ENDS:
        return f"Model.{ENDS[name]}"
    part, rest = name.split(".", 1)
    number = int(re.match(r"\d+", rest)[0]) if rest[0].isdigit() else 0
    draws = isinstance(module, Generator)
    if part == "stages":  # a generator's stage begins with what enlarges, a discriminator's ends
        _, block, inner = rest.split(".", 2)
        stage, layer, inner = number, int(block) + draws, BLOCK[inner]
    elif part in ("ups", "downs"):
        stage = number + 1
        layer, inner = 0 if draws else len(module.stages[stage]), "LinearLayer.Layer.weight"
    elif part == "stem":
        stage, layer, inner = 0, 0, {"basis": "Basis", "weight": "LinearLayer.weight"}[rest]
    else:
        head = {"basis": "Basis.weight", "weight": "LinearLayer.weight"}
        stage, layer, inner = 0, len(module.stages[0]), head[rest]
    stage = stage if draws else len(module.stages) - 1 - stage
    return f"{LAYERS}.{stage}.Layers.{layer}.{inner}"


def names(module: nn.Module) -> Mapping[str, str]:
    return {name: theirs(module, name) for name in module.state_dict()}


def read(path: Path, content: Any) -> Found | None:
    """None when it is no snapshot of R3GAN. Raises `DataError`."""
    found = snapshot(path, content)
    if found is None or f"{LAYERS}.0.Layers.0.Basis" not in found.states[found.generator]:
        return None
    options, spec = generator_options(found.states[found.generator], str(path))
    if "D" in found.states and spec.num_classes:
        embedding = shape(found.states["D"], "Model.EmbeddingLayer.weight", str(path))
        options["d_embed_dim"] = embedding[0]
    seen = found.content.get("cur_nimg")
    return Found(
        title=f"{path.name}: a snapshot of R3GAN",
        recipe="r3gan",
        options=options,
        spec=spec,
        nets={NETS[k]: PeerNet(s, names, ignored=IGNORED) for k, s in found.states.items()},
        nimg=int(seen) if isinstance(seen, int | float) and seen >= 0 else images_seen(path),
        optimizers=optimizers(found),
        notes=("its losses and schedules leave no trace: they are as the recipe has them",),
    )


def optimizers(found: Snapshot) -> dict[str, tuple[str, Any]]:
    keys = {which: f"{which}_opt_state" for which in "GD"}
    return {
        which: (which, found.content[key])
        for which, key in keys.items()
        if isinstance(found.content.get(key), dict) and which in found.states
    }


def generator_options(state: State, what: str) -> tuple[dict[str, Any], DataSpec]:
    """Everything a generator was built with, from its tensors. Raises `DataError`."""
    stages = numbered(state, rf"^{LAYERS}\.(\d+)\.")
    widths, groups, blocks = [], [], []
    for stage in stages:
        prefix = f"{LAYERS}.{stage}.Layers"
        inside = numbered(state, rf"^{re.escape(prefix)}\.(\d+)\.LinearLayer1\.")
        if not inside:
            raise DataError(f"{what}: stage {stage} of its generator has no residual blocks")
        wide, width = shape(state, f"{prefix}.{inside[0]}.LinearLayer1.Layer.weight", what)[:2]
        part = shape(state, f"{prefix}.{inside[0]}.LinearLayer2.Layer.weight", what)[1]
        widths.append(width), groups.append(wide // part), blocks.append(len(inside))
    first = f"{LAYERS}.0.Layers.0"
    basis = shape(state, f"{first}.Basis", what)
    inputs = shape(state, f"{first}.LinearLayer.weight", what)[1]
    embedding = (0, 0)
    if "Model.EmbeddingLayer.weight" in state:
        embedding = shape(state, "Model.EmbeddingLayer.weight", what)
    side = basis[-1] << (len(stages) - 1)
    channels = shape(state, "Model.AggregationLayer.Layer.weight", what)[0]
    options = {
        "z_dim": inputs - embedding[0],
        "widths": widths,
        "groups": groups,
        "blocks": max(blocks),
        "expansion": wide // width,
    }
    if len(set(blocks)) > 1:
        raise DataError(f"{what}: its stages have {blocks} blocks; ours have one number of them")
    if embedding[0]:
        options["g_embed_dim"] = embedding[0]
    return options, DataSpec(channels, side, side, embedding[1])
