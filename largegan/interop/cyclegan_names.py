"""Names of tensors in the code of CycleGAN, pix2pix and CUT, and ours."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from largegan.errors import DataError
from largegan.interop.peers import PeerNet, State, numbered
from largegan.nets.patchgan import PatchGAN
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.nets.unet_translation import UNetGenerator

IGNORED = r"\.filt$"  # blur filters, constants here


def names_of(net: nn.Module, peers: Mapping[str, Any]) -> dict[str, str]:
    """The peer's names of a network's tensors -> ours; `peers` are its tensors by those names."""
    names = [name for name in peers if not name.endswith(".filt")]
    if isinstance(net, ResnetGenerator):
        return {name: _resnet_name(name, names) for name in names}
    if isinstance(net, UNetGenerator):
        return {name: _unet_name(name, net.levels) for name in names}
    if isinstance(net, PatchGAN):
        return _patchgan_names(names, peers)
    pixel = {"net.0": "conv1", "net.2": "conv2", "net.3": "norm", "net.5": "score"}
    found = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        found[name] = f"{pixel.get(module, module.replace('mlp_', 'mlps.'))}.{tensor}"
    return found


def _resnet_name(name: str, names: list[str]) -> str:
    """Layers have the peer's numbers; in a block, only the order of what has tensors counts."""
    found = re.match(r"(model\.\d+\.conv_block)\.(\d+)\.(\w+)", name)
    if not found:
        return name.replace("model.", "layers.", 1)
    block, place, tensor = found.groups()
    places = numbered(names, rf"{re.escape(block)}\.(\d+)\.")
    parts = ["conv1", "conv2"] if len(places) == 2 else ["conv1", "norm1", "conv2", "norm2"]
    layer = block.replace("model.", "layers.").removesuffix(".conv_block")
    return f"{layer}.{parts[places.index(int(place))]}.{tensor}"


def _unet_name(name: str, levels: int) -> str:
    """Blocks are nested there: the depth of a name is the level, its last number the layer."""
    path, tensor = re.fullmatch(r"((?:model\.)?(?:\d+\.|model\.)+)(\w+)", name).groups()
    numbers = [int(n) for n in re.findall(r"\d+", path)]
    level, layer = len(numbers) - 1, numbers[-1]
    kinds = {1: "downs", 2: "down_norms", 5: "ups", 6: "up_norms"}
    if level == 0:
        kinds = {0: "downs", 3: "ups"}
    elif level == levels - 1:
        kinds = {1: "downs", 3: "ups", 4: "up_norms"}
    return f"{kinds[layer]}.{level}.{tensor}"


def _patchgan_names(names: list[str], peers: Mapping[str, Any]) -> dict[str, str]:
    """Layers have numbers there; what is a norm and what is not, shapes say."""
    convs = convolutions(peers)
    found = {}
    for name in names:
        _, number, tensor = name.split(".")
        before = [n for n in convs if n <= int(number)]
        index = len(before) - 1
        if int(number) not in convs:
            found[name] = f"norms.{index}.{tensor}"
        elif int(number) == convs[-1]:
            found[name] = f"score.{tensor}"
        else:
            found[name] = f"convs.{index}.{tensor}"
    return found


def convolutions(peers: Mapping[str, Any]) -> list[int]:
    """The numbers of a PatchGAN's convolutions."""
    numbers = numbered(peers, r"^model\.(\d+)\.weight$")
    return [n for n in numbers if len(peers[f"model.{n}.weight"].shape) == 4]


def names(module: nn.Module, *, state: State) -> Mapping[str, str]:
    """Ours -> the peer's. Raises `DataError` for networks that are none of these."""
    try:
        return {ours: peer for peer, ours in names_of(module, state).items()}
    except (AttributeError, KeyError, IndexError, ValueError) as fault:
        raise DataError(
            f"its tensors are not named like those of a {type(module).__name__} ({fault})"
        ) from fault


def peer_net(state: State) -> PeerNet:
    """A network of theirs, and how its tensors become ours."""
    return PeerNet(state, partial(names, state=state), ignored=IGNORED)
