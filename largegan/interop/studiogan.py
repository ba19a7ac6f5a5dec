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
GAIN = "blocks.0.0.bn1.gain.weight"  # of features by what a norm sees
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
    kind = kind_of(generator, states.get("D"), str(source))
    classes = classes_of(kind, plain(generator))
    remarks = leave_other_judges(states, classes)
    recipe = recipe_of(kind, generator, judged="D" in states or classes > 0)
    options, spec = options_of(recipe, kind, states, str(source))
    nets = {
        NETS[name]: PeerNet(state, partial(names, kind=kind, which=name[0], state=state))
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


def kind_of(state: State, judge: State | None, what: str) -> str:
    """The peer's backbone, from a generator's names. Raises `DataError` for one without recipe."""
    if any(name.startswith("synthesis.") for name in state):
        raise DataError(
            f"{what}: a StyleGAN of StudioGAN, which keeps no constructor's arguments; import a "
            "snapshot (.pkl) of the codes that StyleGAN was published with"
        )
    if any(".deconv0." in name for name in state):
        return "deep_conv"
    if "conv2d5.bias" not in state:
        raise DataError(f"{what}: a generator of StudioGAN whose backbone has no recipe here")
    if not any(".0.conv2d4." in name for name in state):
        large = "shared.weight" in state or sees_latents(plain(state), judge)
        return "big_resnet" if large else "resnet"
    shortcut = any(".0.conv2d0." in name for name in state)
    return f"big_resnet_deep_{'studiogan' if shortcut else 'legacy'}"


def sees_latents(state: State, judge: State | None) -> bool:
    """Whether norms see a part of z, as in a BigGAN without classes, and not a class."""
    knows = judge is not None and any(name.startswith("embedding.") for name in judge)
    if knows or GAIN not in state:
        return False
    return shape(state, GAIN, "")[1] == shape(state, "linear0.weight", "")[1]


def recipe_of(kind: str, state: State, *, judged: bool) -> str:
    """Our recipe for a backbone; `judged`: with a discriminator that ours have, or with classes."""
    if kind == "deep_conv":
        return "sngan"
    if kind == "resnet":
        return "sagan" if "linear0.weight_orig" in state else "sngan" if judged else "wgan_gp"
    return "biggan" if kind == "big_resnet" else "biggan_deep"


def leave_other_judges(states: dict[str, State], classes: int) -> list[str]:
    """Takes away a discriminator that no recipe has, and says which."""
    why = strange(states["D"], classes) if "D" in states else None
    if why is None:
        return []
    del states["D"]
    return [f"its discriminator {why}, which ours do not: it is left behind, and D begins anew"]


def strange(judge: State, classes: int) -> str | None:
    """What a discriminator does that none of our recipes' does."""
    if "linear1.weight_u" not in judge:
        return "has no spectral norm"
    if any(name.startswith(("linear2.", "linear3.", "linear_")) for name in judge):
        return "has several heads"
    if shape(judge, "linear1.weight_orig", "its discriminator")[0] != 1:
        return "has an output for each class"
    if (classes > 0) != any(name.startswith("embedding.") for name in judge):
        return "sees classes in another way than by projection"
    return None


def plain(state: State) -> State:
    """With spectral norm the plain weight is called `weight_orig`: here it is not."""
    return {name.removesuffix("_orig"): tensor for name, tensor in state.items()}


def split(state: State) -> tuple[list[int], list[int]]:
    """(places of blocks, places of attention) in the peer's list of both."""
    attention = numbered(state, r"^blocks\.(\d+)\.0\.conv1x1_theta\.")
    return numbered(state, r"^blocks\.(\d+)\.0\.conv2d1\."), attention


def attention_of(state: State, depth: int = 1) -> list[int]:
    """The stages, counted from 0, that self-attention follows."""
    blocks, attention = split(state)
    return [sum(block < place for block in blocks) // depth - 1 for place in attention]


def widths_of(state: State, what: str, *, depth: int, up: bool) -> list[int]:
    """Feature maps after each stage, which its last block gives in G and its first in D."""
    blocks, _ = split(state)
    last = max(numbered(state, r"\.0\.conv2d([1-4])\."))
    ends = blocks[depth - 1 :: depth] if up else blocks[::depth]
    return [shape(state, f"blocks.{i}.0.conv2d{last}.weight", what)[0] for i in ends]


def image_spec(state: State, what: str, doublings: int, kind: str = "resnet") -> DataSpec:
    side = 4 << doublings
    if side not in G_WIDTHS:
        raise DataError(f"{what}: a generator of {doublings} doublings is none of ours")
    channels = shape(state, "conv2d5.weight", what)[0]
    return DataSpec(channels, side, side, classes_of(kind, state))


def classes_of(kind: str, state: State) -> int:
    """How many classes the generator knows: rows of its table, or of one-hot conditions."""
    if kind.startswith("big"):
        return state["shared.weight"].shape[0] if "shared.weight" in state else 0
    gains = (GAIN, "blocks.0.0.bn0.gain.weight")
    return next((state[name].shape[1] for name in gains if name in state), 0)


def cnn_options(generator: State, judge: State | None, what: str) -> tuple[dict, DataSpec]:
    """The standard CNN's. Raises `DataError` for variants that the recipe does not have."""
    blocks = numbered(generator, r"^blocks\.(\d+)\.0\.deconv0\.")
    if "linear0.weight_u" in generator or any("conv1x1_theta" in name for name in generator):
        raise DataError(
            f"{what}: a CNN with self-attention, or with spectral norm in its generator"
        )
    channels, width = shape(generator, "conv4.weight", what)[:2]
    side, classes = 4 << len(blocks), classes_of("deep_conv", generator)
    options = {
        "architecture": "cnn",
        "z_dim": shape(generator, "linear0.weight", what)[1],
        "g_channels": width,
        "d_channels": width if judge is None else judge["blocks.0.0.conv0.weight"].shape[0],
        "conditional": classes > 0,
    }
    return options, DataSpec(channels, side, side, classes)


def resnet_options(generator: State, judge: State | None, what: str) -> tuple[dict, DataSpec]:
    """What WGAN-GP's, SNGAN's and SAGAN's ResNets have in common."""
    blocks, _ = split(generator)
    spec = image_spec(generator, what, len(blocks))
    first, z_dim = shape(generator, "linear0.weight", what)
    options = {"z_dim": z_dim, "g_channels": first // 16 // G_WIDTHS[spec.height][0]}
    if judge is not None:
        width = shape(judge, "blocks.0.0.conv2d1.weight", what)[0]
        options["d_channels"] = width // D_WIDTHS[spec.height][0]
    return options, spec


def sngan_options(generator: State, judge: State | None, what: str) -> tuple[dict, DataSpec]:
    """Raises `DataError` for a variant that no recipe has."""
    options, spec = resnet_options(generator, judge, what)
    if attention_of(generator) or (judge is not None and attention_of(judge)):
        raise DataError(f"{what}: self-attention without spectral norm in its generator")
    more = {"d_activated_shortcut": True, "conditional": spec.num_classes > 0}
    return options | more, spec


def sagan_options(generator: State, judge: State | None, what: str) -> tuple[dict, DataSpec]:
    options, spec = resnet_options(generator, judge, what)
    more = {"d_activated_shortcut": True, "sn_refine_in_eval": False}
    more["g_attention_blocks"] = attention_of(generator)
    more |= {} if judge is None else {"d_attention_blocks": attention_of(judge)}
    return options | more, spec


def large_options(
    generator: State, judge: State | None, what: str, *, depth: int
) -> tuple[dict, DataSpec]:
    """BigGAN's networks, and with a `depth` of 2 and more BigGAN-deep's."""
    if "linear0.weight_u" not in generator:
        raise DataError(f"{what}: a BigGAN without spectral norm in its generator; ours have it")
    blocks, _ = split(generator)
    spec = image_spec(generator, what, len(blocks) // depth, "big_resnet")
    rows, inputs = shape(generator, "linear0.weight", what)
    shared = shape(generator, "shared.weight", what)[1] if spec.num_classes else 0
    options: dict[str, Any] = {
        "shared_dim": shared,
        "z_dim": inputs - shared if depth > 1 else inputs * (len(blocks) + 1),
        "g_widths": [rows // 16, *widths_of(generator, what, depth=depth, up=True)],
        "g_attention_blocks": attention_of(generator, depth),
        "sn_refine_in_eval": False,
        "bn_eps": 1e-4,
        "d_activated_shortcut": True,
    }
    if depth > 1:
        options |= {"depth": depth}
        conv = any(".0.conv2d0." in name for name in generator)
        options["shortcut"] = "conv" if conv else "identity"
    if judge is not None:
        stem = [shape(judge, "input_conv.weight", what)[0]] if depth > 1 else []
        options["d_widths"] = stem + widths_of(judge, what, depth=depth, up=False)
        options["d_attention_blocks"] = attention_of(judge, depth)
    return options, spec


DEEP_BLOCKS = 2  # a stage, as published: nothing in the tensors shows where stages end
OPTIONS = {"sngan": sngan_options, "sagan": sagan_options, "wgan_gp": resnet_options}


def options_of(
    recipe: str, kind: str, states: dict[str, State], what: str
) -> tuple[dict, DataSpec]:
    """Our options, and what the images look like. Raises `DataError`."""
    generator = plain(states.get("G_ema") or states["G"])
    judge = plain(states["D"]) if "D" in states else None
    if kind == "deep_conv":
        return cnn_options(generator, judge, what)
    if kind == "resnet":
        return OPTIONS[recipe](generator, judge, what)
    return large_options(generator, judge, what, depth=DEEP_BLOCKS if "deep" in kind else 1)
