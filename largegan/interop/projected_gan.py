"""Snapshots of Projected GAN (autonomousvision): its FastGAN generators, plain and lite.

Only generators: the judges look through a frozen network, of which ours begin anew. The names below
are facts about that code's state dictionaries; see `nets/fastgan.py` for ours. Noise of samples,
which that code draws anew for every image, is fixed here.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from largegan.errors import DataError
from largegan.interop.nvlabs import NETS, images_seen, snapshot
from largegan.interop.peers import Found, PeerNet, State, attributes, numbered, renamed, shape
from largegan.layers.spectral_norm import SpectralNorm
from largegan.nets.fastgan import WIDTHS
from largegan.recipe import DataSpec

PREFIX = "synthesis."
FIRST = f"{PREFIX}init.init.0.weight_orig"  # [z_dim, 2 * 16 * channels, 4, 4]
EMBED = f"{PREFIX}embed.weight"  # 1000 rows, however many classes there are
OURS_ALONE = r"\.(sigma|fixed)$"
SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}
STAGE = rf"^{re.escape(PREFIX)}(?:feat|se)_(\d+)\."


def rules(conditional: bool, lite: bool) -> list[tuple[str, str]]:
    """Our names -> the peer's, for one of its four kinds of blocks."""
    if conditional:
        convs, norms = (["conv"], ["bn"]) if lite else (["conv1", "conv2"], ["bn1", "bn2"])
        noises = ["noise"]
    else:
        convs, norms, noises = (["1"], ["2"], []) if lite else (["1", "5"], ["3", "7"], ["2", "6"])
    kinds = (("convs", convs), ("norms", norms), ("noises", noises))
    return [
        (r"^start\.", "init.init.0."),
        (r"^start_norm\.norm\.", "init.init.1."),
        *(
            (rf"^up\.(\d+)\.{ours}\.{i}\.(norm\.norm\.|norm\.)?", rf"feat_\1.{name}.")
            for ours, theirs in kinds
            for i, name in enumerate(theirs)
        ),
        (r"^excite\.(\d+)\.squeeze\.", r"se_\1.main.1."),
        (r"^excite\.(\d+)\.excite\.", r"se_\1.main.3."),
        (r"^to_image\.", "to_big."),
        (r"^", PREFIX),
        *([(r"(feat_.*)\.running_", r"\1.stored_")] if conditional else []),
    ]


def names(module: nn.Module, *, lite: bool, state: State) -> Mapping[str, str]:
    """Ours -> the peer's, of what both keep."""
    conditional = EMBED in state
    spectral = {n for n, m in module.named_modules() if isinstance(m, SpectralNorm)}
    found = {}
    for name in module.state_dict():
        layer, _, kind = name.rpartition(".")
        if re.search(OURS_ALONE, name) or (conditional and name == "embed.weight"):
            continue
        kind = SPECTRAL.get(kind, kind) if layer in spectral else kind
        peer = renamed(f"{layer}.{kind}", rules(conditional, lite))
        if kind != "num_batches_tracked" or peer in state:
            found[name] = peer
    return found


def classes_in_use(name: str, mine: Tensor, state: State) -> Tensor:
    """The rows of the class table that are some class's."""
    return state[EMBED].load()[: len(mine)]


def read(path: Path, content: Any) -> Found | None:
    """None when it is no snapshot of Projected GAN. Raises `DataError`."""
    found = snapshot(path, content)
    if found is None or FIRST not in found.states[found.generator]:
        return None
    state, told = found.states[found.generator], attributes(found.records[found.generator])
    options, spec = generator_options(state, told, str(path))
    beyond = [n for n in numbered(state, STAGE) if n > spec.height]
    ignored = rf"^{re.escape(PREFIX)}(feat|se)_({'|'.join(map(str, beyond))})\." if beyond else ""
    return Found(
        title=f"{path.name}: a snapshot of Projected GAN",
        recipe="projected_gan",
        options=options,
        spec=spec,
        nets={
            NETS[key]: PeerNet(
                states,
                partial(names, lite=options["lite"], state=states),
                derived=r"^embed\.weight$",
                derive=classes_in_use,
                ignored="|".join(filter(None, (ignored, rf"^{re.escape(EMBED)}$"))),
            )
            for key, states in found.states.items()
            if key != "D"
        },
        nimg=images_seen(path),
        notes=(
            "its judges are left behind: they look through a frozen network, and begin anew",
            "noise of samples is fixed here; the source draws it anew for every image",
        ),
    )


def generator_options(state: State, told: dict, what: str) -> tuple[dict[str, Any], DataSpec]:
    """What a generator was built with, from its tensors and attributes. Raises `DataError`."""
    z_dim, widest = shape(state, FIRST, what)[:2]
    stages = numbered(state, STAGE)
    side = told.get("img_resolution", max(stages, default=0))
    if type(side) is not int or side not in WIDTHS or not stages:
        raise DataError(f"{what}: its generator makes images of {str(side)[:20]} pixels")
    conditional = EMBED in state
    classes = told.get("c_dim", 0) if conditional else 0
    rows = shape(state, EMBED, what)[0] if conditional else 0
    if type(classes) is not int or not 0 <= classes <= rows or (conditional and not classes):
        raise DataError(f"{what}: it says that it has {str(classes)[:20]} classes, of {rows} rows")
    first = f"{PREFIX}feat_{min(stages)}."
    second = "conv2.weight_orig" if conditional else "5.weight_orig"
    options = {
        "z_dim": z_dim,
        "channels": widest // (2 * WIDTHS[4]),
        "lite": f"{first}{second}" not in state,
        "conditional": conditional,
    }
    channels = shape(state, f"{PREFIX}to_big.weight_orig", what)[0]
    return options, DataSpec(channels, side, side, classes)
