"""What StudioGAN's networks look like, seen from their tensors: backbone, classes, our options."""

from typing import Any

from largegan.errors import DataError
from largegan.interop.peers import State, numbered, shape
from largegan.nets.resnet_sn import D_WIDTHS, G_WIDTHS
from largegan.recipe import DataSpec

GAIN = "blocks.0.0.bn1.gain.weight"  # of features by what a norm sees


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
