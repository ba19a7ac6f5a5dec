"""Checkpoints of StudioGAN: folders with `model=G-current-weights-step=N.pth`, `model=D-...`.

Each file holds {"state_dict", "optimizer", ...}. What the networks look like is read from their
tensors. The names below are facts about that code's state dictionaries; in its discriminators with
spectral norm the shortcut sees the activated input, because they activate in place.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from largegan.errors import ConfigError, DataError
from largegan.interop.peers import Found, PeerNet, State, numbered, renamed, shape, tensors
from largegan.interop.torch_files import read_file
from largegan.nets.resnet_sn import D_WIDTHS, G_WIDTHS
from largegan.recipe import DataSpec

PATTERN = re.compile(r"model=(G|D|G_ema)-(\w+)-weights-step=(\d+)\.pth")
NETS = {"G": "G", "D": "D", "G_ema": "G_ema.net"}

RULES = {  # per family: the peer's module names -> ours
    "deep_conv": [
        (r"^linear0\.", "project."),
        (r"^conv4\.", "to_rgb."),
        (r"^linear1\.", "head.score."),
        (r"^embedding\.", "head.embed."),
        (r"^conv1\.", "conv."),
        (r"^bn1\.", "norm."),
        (r"^(blocks\.\d+)\.0\.deconv0\.", r"\1.conv."),
        (r"^(blocks\.\d+)\.0\.conv0\.", r"\1.conv1."),
        (r"^(blocks\.\d+)\.0\.conv1\.", r"\1.conv2."),
        (r"^(blocks\.\d+)\.0\.bn0\.", r"\1.norm0."),
        (r"^(blocks\.\d+)\.0\.bn1\.", r"\1.norm2."),
    ],
    "resnet": [
        (r"^linear0\.", "project."),
        (r"^bn4\.", "norm."),
        (r"^conv2d5\.", "to_rgb."),
        (r"^linear1\.", "head.score."),
        (r"^embedding\.", "head.embed."),
        (r"^(blocks\.\d+)\.0\.conv2d0\.", r"\1.shortcut."),
        (r"^(blocks\.\d+)\.0\.bn0\.", r"\1.shortcut_norm."),
        (r"^(blocks\.\d+)\.0\.conv2d(\d)\.", r"\1.conv\2."),
        (r"^(blocks\.\d+)\.0\.bn(\d)\.", r"\1.norm\2."),
    ],
}
RULES["big_resnet"] = RULES["resnet"] + [(r"^shared\.", "shared.")]
DEEP = RULES["resnet"] + [(r"^input_conv\.", "stem.")]
RULES |= {"big_resnet_deep_legacy": DEEP, "big_resnet_deep_studiogan": DEEP}
ATTENTION = [
    (r"conv1x1_theta\.", "theta."),
    (r"conv1x1_phi\.", "phi."),
    (r"conv1x1_g\.", "g."),
    (r"conv1x1_attn\.", "o."),
    (r"sigma$", "gamma"),
]
TENSORS = [(r"\.weight_orig$", ".weight"), (r"\.weight_u$", ".u"), (r"\.weight_v$", ".v")]


def family(module: str) -> str:
    """`deep_conv16` is deep_conv with every width divided by 16."""
    return module.rstrip("0123456789")


def places(net: nn.Module) -> list[str]:
    """What the peer's `blocks` list holds, under our names: blocks, and attention after some."""
    depth, names = getattr(net, "depth", 1), []
    for i in range(len(net.blocks)):
        names.append(f"blocks.{i}")
        stage = i // depth
        if i % depth == depth - 1 and str(stage) in net.attention:
            names.append(f"attention.{stage}")
    return names


def rename(name: str, *, module: str, net: nn.Module, which: str) -> str:
    """A peer's parameter or buffer name -> ours."""
    found = re.match(r"blocks\.(\d+)\.0\.(.*)", name)
    if found:
        place = places(net)[int(found[1])]
        if place.startswith("attention"):
            return renamed(f"{place}.{found[2]}", ATTENTION + TENSORS)
        name = f"{place}.0.{found[2]}"
    name = renamed(name, RULES[family(module)] + TENSORS)
    # In the standard CNN, `bn0` is the generator block's only norm and D's first of two.
    name = name.replace(".norm0.", ".norm." if which == "G" else ".norm1.")
    return re.sub(r"(norm\d?)\.bn\.", r"\1.norm.", name)  # inside a conditional norm


def names(module: nn.Module, *, kind: str, which: str, state: State) -> Mapping[str, str]:
    """Ours -> the peer's."""
    return {rename(peer, module=kind, net=module, which=which): peer for peer in state}


def files_of(source: Path, epoch: str | None) -> dict[str, Path]:
    """The networks of a step: `epoch` is "current", "best" or a number of steps."""
    found: dict[tuple[str, int], dict[str, Path]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if match := PATTERN.fullmatch(path.name):
            found.setdefault((match[2], int(match[3])), {})[match[1]] = path
    if not found:
        return {}
    fitting = [key for key in found if epoch in (None, key[0], str(key[1]))]
    if not fitting:
        known = ", ".join(f"{which} {step}" for which, step in sorted(found))
        raise ConfigError(f"{source} has no weights {epoch}; it has {known}")
    return found[max(fitting, key=lambda key: (key[1], key[0] == "best"))]


def read(source: Path, *, epoch: str | None = None) -> Found | None:
    """None when it is no such folder. Raises `DataError` and `ConfigError`."""
    files = files_of(source, epoch)
    if not files:
        return None
    contents = {name: read_file(path) for name, path in files.items()}
    states = {
        name: tensors(content["state_dict"], f"{files[name]}: state_dict")
        for name, content in contents.items()
    }
    generator = states.get("G_ema") or states.get("G")
    if generator is None:
        raise DataError(f"{source} holds no generator, only {', '.join(files)}")
    kind = kind_of(generator, str(source))
    options, spec = READERS[kind](states, generator, str(source))
    nets = {
        NETS[name]: PeerNet(state, partial(names, kind=kind, which=name[0], state=state))
        for name, state in states.items()
    }
    step = next(iter(contents.values())).get("step") or 0
    return Found(
        title=f"{source.name}: StudioGAN, backbone {kind}",
        recipe=RECIPES[kind],
        options=options,
        spec=spec,
        nets=nets,
        step=step if type(step) is int else 0,
        optimizers={
            name: (name, contents[name]["optimizer"])
            for name in ("G", "D")
            if isinstance(contents.get(name, {}).get("optimizer"), dict)
        },
        notes=("its losses and schedule leave no trace: they are as the recipe has them",),
    )


def kind_of(state: State, what: str) -> str:
    """The peer's backbone, from a generator's names."""
    if any(".deconv0." in name for name in state):
        raise DataError(f"{what}: the standard CNN of StudioGAN has no recipe of ours")
    if any(name.startswith("shared.") for name in state):
        four = any(".conv2d4." in name for name in state)
        return "big_resnet_deep_legacy" if four else "big_resnet"
    return "resnet"


def tensor_name(state: State, name: str) -> str:
    """With spectral norm the plain weight is called `weight_orig`."""
    return name if name in state else f"{name}_orig"


def image_shape(state: State, what: str, blocks: int) -> tuple[int, int, int]:
    """(side, channels, width of the start) of a generator of so many doublings."""
    side = 4 << blocks
    if side not in G_WIDTHS:
        raise DataError(f"{what}: a generator of {blocks} doublings is none of ours")
    channels = shape(state, tensor_name(state, "conv2d5.weight"), what)[0]
    first = shape(state, tensor_name(state, "linear0.weight"), what)[0] // 16
    return side, channels, first


def classes_of(state: State, what: str) -> int:
    """How many classes the generator's norms know, from one-hot conditions."""
    gain = tensor_name(state, "blocks.0.0.bn1.gain.weight")
    return shape(state, gain, what)[1] if gain in state else 0


def read_resnet(
    states: dict[str, State], generator: State, what: str
) -> tuple[dict[str, Any], DataSpec]:
    """SNGAN's ResNets: `sngan`. Raises `DataError` for variants with a recipe of their own."""
    blocks = numbered(generator, r"^blocks\.(\d+)\.0\.conv2d1\.")
    side, channels, first = image_shape(generator, what, len(blocks))
    if "linear0.weight_orig" in generator or any("conv1x1_theta" in n for n in generator):
        raise DataError(f"{what}: a ResNet with spectral norm or attention in its generator")
    classes = classes_of(generator, what)
    options = {
        "z_dim": shape(generator, "linear0.weight", what)[1],
        "g_channels": first // G_WIDTHS[side][0],
        "conditional": classes > 0,
        "d_activated_shortcut": True,
    }
    if "D" in states:
        judge = states["D"]
        if "linear1.weight_orig" not in judge:
            raise DataError(f"{what}: its discriminator has no spectral norm")
        if bool(classes) != ("embedding.weight_orig" in judge):
            raise DataError(f"{what}: only one of its networks knows classes")
        width = shape(judge, "blocks.0.0.conv2d1.weight_orig", what)[0]
        options["d_channels"] = width // D_WIDTHS[side][0]
    return options, DataSpec(channels, side, side, classes)


def read_other(
    states: dict[str, State], generator: State, what: str
) -> tuple[dict[str, Any], DataSpec]:
    raise DataError(f"{what}: BigGAN of StudioGAN is not imported yet")


READERS = {
    "resnet": read_resnet,
    "big_resnet": read_other,
    "big_resnet_deep_legacy": read_other,
}
RECIPES = {"resnet": "sngan", "big_resnet": "biggan", "big_resnet_deep_legacy": "biggan_deep"}
