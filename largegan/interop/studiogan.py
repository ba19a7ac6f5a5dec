"""Checkpoints of StudioGAN: folders with `model=G-current-weights-step=N.pth`, `model=D-...`.

Each file holds {"state_dict", "optimizer", ...}. What the networks look like is read from their
tensors. The names below are facts about that code's state dictionaries; in its discriminators with
spectral norm the shortcut sees the activated input, because they activate in place.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import nn

from largegan.errors import ConfigError, DataError
from largegan.interop.peers import Found, PeerNet, State, renamed, tensors
from largegan.interop.studiogan_options import (
    classes_of,
    kind_of,
    leave_other_judges,
    options_of,
    plain,
    recipe_of,
)
from largegan.interop.torch_files import read_file

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


def family(kind: str) -> str:
    """`deep_conv16` is deep_conv with every width divided by 16."""
    return kind.rstrip("0123456789")


def places_of(net: nn.Module, depth: int) -> list[str]:
    """What the peer's `blocks` list holds, under our names: blocks, and attention after some.

    A stage has `depth` blocks.
    """
    names = []
    for i in range(len(net.blocks)):
        names.append(f"blocks.{i}")
        stage = i // depth
        if i % depth == depth - 1 and str(stage) in net.attention:
            names.append(f"attention.{stage}")
    return names


def rename(name: str, *, kind: str, places: list[str], which: str) -> str:
    """A peer's parameter or buffer name -> ours; see `places_of`."""
    found = re.match(r"blocks\.(\d+)\.0\.(.*)", name)
    if found:
        place = places[int(found[1])]
        if place.startswith("attention"):
            return renamed(f"{place}.{found[2]}", ATTENTION + TENSORS)
        name = f"{place}.0.{found[2]}"
    name = renamed(name, RULES[family(kind)] + TENSORS)
    # In the standard CNN, `bn0` is the generator block's only norm and D's first of two.
    name = name.replace(".norm0.", ".norm." if which == "G" else ".norm1.")
    return re.sub(r"(norm\d?)\.bn\.", r"\1.norm.", name)  # inside a conditional norm


def names(net: nn.Module, *, kind: str, depth: int, which: str, state: State) -> Mapping[str, str]:
    """Ours -> the peer's."""
    places = places_of(net, depth)
    return {rename(peer, kind=kind, places=places, which=which): peer for peer in state}


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
    kind = kind_of(generator, states.get("D"), str(source))
    classes = classes_of(kind, plain(generator))
    remarks = leave_other_judges(states, classes)
    recipe = recipe_of(kind, generator, judged="D" in states or classes > 0)
    options, spec = options_of(recipe, kind, states, str(source))
    renaming = partial(names, kind=kind, depth=options.get("depth", 1))
    nets = {
        NETS[name]: PeerNet(state, partial(renaming, which=name[0], state=state))
        for name, state in states.items()
    }
    step = next(iter(contents.values())).get("step") or 0
    return Found(
        title=f"{source.name}: StudioGAN, backbone {kind}",
        recipe=recipe,
        options=options,
        spec=spec,
        nets=nets,
        step=step if type(step) is int else 0,
        optimizers={
            name: (name, contents[name]["optimizer"])
            for name in ("G", "D")
            if name in states and isinstance(contents[name].get("optimizer"), dict)
        },
        notes=(*remarks, "its losses and schedule leave no trace: they are as the recipe has them"),
    )
