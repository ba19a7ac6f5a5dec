"""BigGAN-deep as Hugging Face's port published it: `pytorch_model.bin` and `config.json`.

A generator only, with batch statistics for 51 truncations of which one is taken. The names and
layouts below are facts about that port (MIT) and its weights, which came from TensorFlow: the first
layer's outputs are ordered rows, columns, channels, and conditions are (z, class) where ours are
(class, z).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import DataError
from largegan.interop.peers import Found, PeerNet, State, renamed, shape, tensors
from largegan.interop.torch_files import read_file
from largegan.nets.biggan import G_WIDTHS
from largegan.recipe import DataSpec

WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"
DEPTH = 2  # blocks a stage
COLORS = 3

RULES = [  # ours -> the peer's, but for the numbers of layers
    (r"^shared\.weight$", "embeddings.weight"),
    (r"^project\.", "generator.gen_z."),
    (r"^norm\.", "generator.bn."),
    (r"^to_rgb\.", "generator.conv_to_rgb."),
    (r"\.norm(\d)\.norm\.", r".bn_\1."),
    (r"\.norm(\d)\.gain\.", r".bn_\1.scale."),
    (r"\.norm(\d)\.bias\.", r".bn_\1.offset."),
    (r"\.conv(\d)\.", r".conv_\1."),
    (r"running_mean$", "running_means"),
    (r"running_var$", "running_vars"),
    (r"\.(theta|phi|g)\.", r".snconv1x1_\1."),
    (r"\.o\.", ".snconv1x1_o_conv."),
    (r"\.u$", ".weight_u"),
    (r"\.v$", ".weight_v"),
]


def theirs(name: str, attention: int) -> str:
    """Our name -> the peer's; a self-attention layer stands at `attention` in its list."""

    def earlier(found: re.Match) -> str:  # the peer counts blocks' parts from 0
        return f"{found[1]}{int(found[2]) - 1}{found[3]}"

    def layer(found: re.Match) -> str:
        i = int(found[1])
        return f"generator.layers.{i + (i >= attention)}."

    name = re.sub(r"(blocks\.\d+\.(?:norm|conv))(\d)(\.)", earlier, name)
    name = re.sub(r"^blocks\.(\d+)\.", layer, name)
    name = re.sub(r"^attention\.\d+\.", f"generator.layers.{attention}.", name)
    return renamed(name, RULES)


class Port:
    """The port's tensors in our layout, for a generator with its attention at `attention`."""

    def __init__(self, attention: int, embedded: int):
        self.attention, self.embedded = attention, embedded

    def names(self, module: nn.Module) -> Mapping[str, str]:
        """Nothing is stored alike: everything goes through `derive`."""
        return {}

    def derive(self, name: str, mine: Tensor, state: State) -> Tensor:
        if name.endswith("num_batches_tracked") or name.endswith(".sigma"):
            return mine
        if name.startswith("to_rgb."):
            return self.to_rgb(name, mine, state)
        peer = theirs(name, self.attention)
        peer = peer if peer in state else f"{peer}_orig"
        if peer not in state:
            raise DataError(f"{theirs(name, self.attention)} is missing")
        value = state[peer].load().float()
        if name == "shared.weight":  # a linear map of one-hot classes there
            return value.t()
        if "running_" in name:  # without truncation
            return value[-1]
        return self.turned(name, value)

    def turned(self, name: str, value: Tensor) -> Tensor:
        """Rows of the first layer, and columns that see conditions, in our order."""
        sees = name.startswith("project.") or re.search(r"norm\d\.(gain|bias)\.", name)
        if sees and name.endswith((".weight", ".v")):
            value = torch.cat([value[..., -self.embedded :], value[..., : -self.embedded]], -1)
        if name.startswith("project.") and not name.endswith(".v"):
            value = value.unflatten(0, (16, -1)).transpose(0, 1).flatten(0, 1)
        return value

    def to_rgb(self, name: str, mine: Tensor, state: State) -> Tensor:
        """Three of the port's outputs are colors; all of them are normalized together.

        Ours are divided by what u and v say. They are scaled so that it is 1, and the weights are
        normalized already.
        """
        weight = state["generator.conv_to_rgb.weight_orig"].load().float()
        u = state["generator.conv_to_rgb.weight_u"].load().float()
        v = state["generator.conv_to_rgb.weight_v"].load().float()
        colors = (weight / torch.dot(u, weight.flatten(1) @ v))[:COLORS]
        if name.endswith(".bias"):
            return state["generator.conv_to_rgb.bias"].load().float()[:COLORS]
        if name.endswith(".weight"):
            return colors
        left = F.normalize(torch.ones(COLORS), dim=0)
        right = F.normalize(colors.flatten(1).t() @ left, dim=0)
        scale = torch.dot(left, colors.flatten(1) @ right)
        return left / scale if name.endswith(".u") else right


def read(source: Path) -> Found | None:
    """None when it is no such folder. Raises `DataError`."""
    weights = the_file(source, WEIGHTS)
    if weights is None:
        return None
    state = tensors(read_file(weights), str(weights))
    if "generator.gen_z.weight_orig" not in state:
        return None
    config = read_config(source)
    what = str(source)
    rows, condition = shape(state, "generator.gen_z.weight_orig", what)
    embedded, classes = shape(state, "embeddings.weight", what)
    layers = config["layers"]
    side = 4 << sum(1 for up, _, _ in layers if up)
    width, attention = rows // 16 // layers[0][1], int(config["attention_layer_position"])
    stages = [False, True] * (len(layers) // DEPTH)
    if side not in G_WIDTHS or [up for up, _, _ in layers] != stages or attention % DEPTH:
        raise DataError(f"{what}: its {len(layers)} layers are not those of BigGAN-deep")
    port = Port(attention, embedded)
    options = {
        "z_dim": condition - embedded,
        "shared_dim": embedded,
        "g_channels": width,
        "g_widths": [
            width * n for n in (layers[0][1], *(outputs for up, _, outputs in layers if up))
        ],
        "d_channels": width,
        "g_attention_blocks": [attention // DEPTH - 1],
        "bn_eps": float(config["eps"]),
        "sn_eps": float(config["eps"]),
        "sn_refine_in_eval": False,
    }
    return Found(
        title=f"{source.name}: BigGAN-deep of Hugging Face's port",
        recipe="biggan_deep",
        options=options,
        spec=DataSpec(3, side, side, classes),
        nets={"G": PeerNet(state, port.names, derived="", derive=port.derive, ignored="")},
        notes=(
            "batch statistics are those without truncation; the file has others for 50 truncations",
            "its last layer is normalized together with outputs that are no colors: training "
            "begins with another scale of it",
        ),
    )


def the_file(source: Path, name: str) -> Path | None:
    """The file of this name in a folder, or the only one whose name ends in it."""
    found = sorted(source.glob(f"*{name}")) if source.is_dir() else []
    exact = [path for path in found if path.name == name]
    return (exact or found)[0] if exact or len(found) == 1 else None


def read_config(source: Path) -> dict[str, Any]:
    """`config.json`, with the few numbers that the tensors do not show."""
    path = the_file(source, CONFIG) or source / CONFIG
    try:
        config = json.loads(path.read_text())
        layers = [(bool(up), int(i), int(o)) for up, i, o in config["layers"]]
        if not layers or min(min(i, o) for _, i, o in layers) < 1:
            raise ValueError(f"layers {str(layers)[:40]}")
        return {
            "layers": layers,
            "attention_layer_position": config["attention_layer_position"],
            "eps": config["eps"],
        }
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(f"{path} is missing, or not the settings of that port ({fault})") from fault
