"""Snapshots of StyleGAN3 (NVlabs' code): T and R.

The names below are facts about that code's state dictionaries; see `nets/stylegan3.py` for ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from largegan.errors import DataError
from largegan.interop import stylegan2_ada
from largegan.interop.nvlabs import (
    LAST,
    MAPPING,
    Only,
    Snapshot,
    StyleGANReader,
    inner_options,
    part,
    snapshot,
    stylegan,
    translated,
)
from largegan.interop.peers import Found, PeerNet, State
from largegan.nets.stylegan3 import W_AVG_BETA, Generator

# Filters are designed anew, and the input's transform is what a caller moves the image by.
IGNORED = r"(up_filter|down_filter|synthesis\.input\.transform)$"

# The peer's options -> our recipe's; None: read elsewhere, or without effect on the numbers.
GENERATOR = {
    "z_dim": "z_dim",
    "w_dim": "w_dim",
    "channel_base": "channel_base",
    "channel_max": "channel_max",
    "num_layers": "layers",
    "num_critical": "critical",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband",
    "margin_size": "margin",
    "filter_size": "filter_size",
    "conv_clamp": "conv_clamp",
    "output_scale": Only([0.25]),
    "lrelu_upsampling": Only([2]),
    **dict.fromkeys(("c_dim", "img_resolution", "img_channels", "mapping_kwargs")),
    **dict.fromkeys(("num_fp16_res", "magnitude_ema_beta", "conv_kernel", "use_radial_filters")),
}
DISCRIMINATOR = {
    "channel_base": "d_channel_base",
    "channel_max": "d_channel_max",
    "architecture": Only(["resnet"]),
    **dict.fromkeys(("c_dim", "img_resolution", "img_channels", "num_fp16_res", "conv_clamp")),
    **dict.fromkeys(("cmap_dim", "block_kwargs", "mapping_kwargs", "epilogue_kwargs")),
}
EPILOGUE = LAST | {"mbstd_group_size": "mbstd_group", "mbstd_num_channels": Only([1])}
UNSAID = {"channel_base": 32768, "channel_max": 512, "conv_clamp": 256}


def theirs(module: Generator, name: str) -> str:
    """Our name of one of the generator's tensors -> the peer's, which says sizes and widths."""

    def layer(found: re.Match) -> str:
        i = int(found[1])
        made = module.synthesis.layers[i]
        return f"synthesis.L{i}_{made.size[1]}_{len(made.weight)}."

    name = re.sub(r"^synthesis\.layers\.(\d+)\.", layer, name)
    name = re.sub(r"^mapping\.layers\.(\d+)\.", r"mapping.fc\1.", name)
    return name.replace("magnitude.mean", "magnitude_ema").replace("w_avg.mean", "w_avg")


def names(module: nn.Module) -> Mapping[str, str]:
    return {name: theirs(module, name) for name in module.state_dict()}


def read(path: Path, content: Any) -> Found | None:
    """None when it is no snapshot of StyleGAN3. Raises `DataError`."""
    found = snapshot(path, content)
    if found is None or "synthesis.input.freqs" not in found.states[found.generator]:
        return None
    return stylegan(
        found, "StyleGAN3", StyleGANReader(generator_options, discriminator_options, inside)
    )


def inside(key: str, state: State, resolution: int) -> PeerNet:
    """The network under a key of the pickle: StyleGAN2's discriminator, or ours."""
    if key == "D":
        return stylegan2_ada.peer_net(key, state, resolution)
    return PeerNet(state, names, ignored=IGNORED)


def generator_options(found: Snapshot) -> dict[str, Any]:
    told, what = found.arguments[found.generator], f"{found.path}: its generator"
    options = UNSAID | translated(told, GENERATOR, what)
    inner = part(found.records[found.generator], "mapping")
    translated(told.get("mapping_kwargs") or {}, MAPPING, f"{what}'s mapping")
    options["mapping_layers"] = inner["num_layers"]
    if inner["w_avg_beta"] != W_AVG_BETA:
        raise DataError(f"{what} has w_avg_beta {inner['w_avg_beta']}, ours {W_AVG_BETA}")
    kernel, radial = told.get("conv_kernel", 3), bool(told.get("use_radial_filters", False))
    configuration = {(3, False): "t", (1, True): "r"}.get((kernel, radial))
    if configuration is None:
        raise DataError(f"{what} is neither T nor R: kernels of {kernel}, radial filters {radial}")
    return options | {"configuration": configuration}


def discriminator_options(found: Snapshot, options: dict[str, Any]) -> dict[str, Any]:
    """Without a discriminator: as wide as the generator, of which R is twice as wide."""
    widths = {f"d_{name}": UNSAID[name] for name in ("channel_base", "channel_max")}
    if "D" not in found.arguments:
        narrow = 2 if options["configuration"] == "r" else 1
        return {name: max(1, options[name[2:]] // narrow) for name in widths}
    told, what = found.arguments["D"], f"{found.path}: its discriminator"
    said = told.get("conv_clamp", UNSAID["conv_clamp"])
    clamp = part(found.records["D"], "b4.conv").get("conv_clamp", said)
    if clamp != options["conv_clamp"]:
        raise DataError(f"{what} has conv_clamp {clamp}, its generator {options['conv_clamp']}")
    return widths | translated(told, DISCRIMINATOR, what) | inner_options(told, EPILOGUE, what)
