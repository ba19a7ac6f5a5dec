"""Snapshots of StyleGAN2 (NVlabs' ADA code in PyTorch, and StyleGAN3's code with StyleGAN2 in it).

The names below are facts about that code's state dictionaries; see `nets/stylegan2.py` for ours.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from largegan.errors import DataError
from largegan.interop.nvlabs import (
    FILTER,
    LAST,
    MAPPING,
    SLOPE,
    Only,
    Snapshot,
    StyleGANReader,
    inner_options,
    part,
    snapshot,
    stylegan,
    translated,
)
from largegan.interop.peers import Found, PeerNet, State, renamed

IGNORED = r"resample_filter$"  # constants here

RULES = {  # our names -> the peer's; both of its networks call their blocks b4, b8, ...
    "G": [
        (r"^mapping\.layers\.(\d+)\.", r"mapping.fc\1."),
        (r"^mapping\.w_avg\.mean$", "mapping.w_avg"),
        (r"\.to_image\.", ".torgb."),
        (r"\.noise$", ".noise_const"),
    ],
    "D": [
        (r"^mapping\.layers\.(\d+)\.", r"mapping.fc\1."),
        (r"^(from_image|conv|dense|out)\.", r"b4.\1."),
        (r"^b4\.dense\.", "b4.fc."),
        (r"\bfrom_image\.", "fromrgb."),
    ],
}

# The peer's options -> our recipe's; None: without effect on the numbers, or read elsewhere.
GENERATOR = {"z_dim": "z_dim", "w_dim": "w_dim", "c_dim": None, "img_resolution": None,
             "img_channels": None, "mapping_kwargs": None, "synthesis_kwargs": None}  # fmt: skip
REMEMBERED = {"num_layers": "mapping_layers", "w_avg_beta": "w_avg_beta"}
SYNTHESIS = {"channel_base": "channel_base", "channel_max": "channel_max",
             "conv_clamp": "conv_clamp", "architecture": "g_architecture", "use_noise": "noise",
             "num_fp16_res": None, "fp16_channels_last": None, "fused_modconv_default": None,
             "resample_filter": FILTER, "activation": SLOPE, "kernel_size": Only([3])}  # fmt: skip
DISCRIMINATOR = {"c_dim": None, "img_resolution": None, "img_channels": None,
                 "architecture": "d_architecture", "channel_base": "d_channel_base",
                 "channel_max": "d_channel_max", "conv_clamp": "conv_clamp",
                 "num_fp16_res": None, "cmap_dim": None, "block_kwargs": None,
                 "mapping_kwargs": None, "epilogue_kwargs": None}  # fmt: skip
EPILOGUE = LAST | {"mbstd_group_size": "mbstd_group", "mbstd_num_channels": "mbstd_features"}
UNSAID = {"channel_base": 32768, "channel_max": 512}
D_UNSAID = {f"d_{name}": value for name, value in UNSAID.items()}


def theirs(net: str, name: str, resolution: int) -> str:
    """Our name of a tensor of "G" or "D" -> the peer's."""

    def block(found: re.Match) -> str:
        i = int(found[1])
        return f"b{4 << i if net == 'G' else resolution >> i}."

    return re.sub(r"\bblocks\.(\d+)\.", block, renamed(name, RULES[net]))


def names(module: nn.Module, *, net: str, resolution: int) -> Mapping[str, str]:
    return {name: theirs(net, name, resolution) for name in module.state_dict()}


def peer_net(kind: str, state: State, resolution: int) -> PeerNet:
    """`kind` is "G" or "D"."""
    return PeerNet(state, partial(names, net=kind, resolution=resolution), ignored=IGNORED)


def read(path: Path, content: Any) -> Found | None:
    """None when it is no snapshot of StyleGAN2. Raises `DataError`."""
    found = snapshot(path, content)
    if found is None or "synthesis.b4.const" not in found.states[found.generator]:
        return None
    return stylegan(
        found, "StyleGAN2", StyleGANReader(generator_options, discriminator_options, inside)
    )


def inside(key: str, state: State, resolution: int) -> PeerNet:
    """The network under a key of the pickle."""
    return peer_net(key[0], state, resolution)


def generator_options(found: Snapshot) -> dict[str, Any]:
    told, what = found.arguments[found.generator], f"{found.path}: its generator"
    options = UNSAID | translated(told, GENERATOR, what)
    # The two codes differ in what they take unsaid; the layers remember what it was.
    inner = part(found.records[found.generator], "mapping")
    options |= {ours: inner[peer] for peer, ours in REMEMBERED.items() if peer in inner}
    options["conv_clamp"] = part(found.records[found.generator], "synthesis.b4.conv1")["conv_clamp"]
    translated(told.get("mapping_kwargs") or {}, MAPPING, f"{what}'s mapping")
    return options | translated(
        told.get("synthesis_kwargs") or {}, SYNTHESIS, f"{what}'s synthesis"
    )


def discriminator_options(found: Snapshot, options: dict[str, Any]) -> dict[str, Any]:
    """Raises `DataError` where they are others than the generator's, and ours are shared."""
    if "D" not in found.arguments:
        return {}
    told, what = found.arguments["D"], f"{found.path}: its discriminator"
    mine = D_UNSAID | translated(told, DISCRIMINATOR, what)
    mine |= inner_options(told, EPILOGUE, what)
    mine["conv_clamp"] = part(found.records["D"], "b4.conv")["conv_clamp"]
    if mine["conv_clamp"] != options["conv_clamp"]:
        raise DataError(
            f"{what} has conv_clamp {mine['conv_clamp']}, its generator {options['conv_clamp']}"
        )
    return mine
