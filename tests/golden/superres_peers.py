"""Super-resolution networks of MMagic, BasicSR and Lornatang: their names, and ours for them."""

import ast
import re
from functools import partial

import torch
from torch import Tensor, nn

from largegan.nets.msrresnet import MSRResNet
from largegan.nets.rrdb import RRDBNet
from largegan.nets.srresnet import Discriminator, SRResNet
from largegan.nets.unet_discriminator import UNetDiscriminator
from largegan.nets.vgg_discriminator import VGGDiscriminator
from largegan.recipe import Progress
from tests.golden import procfill
from tests.golden.goldcheck import Case

NAMES = {  # our names -> the peer's
    SRResNet: [
        (r"^stem\.", "conv1.0."),
        (r"^stem_act\.", "conv1.1."),
        (r"^blocks\.(\d+)\.", r"trunk.\1.rcb."),
        (r"rcb\.conv1\.", "rcb.0."),
        (r"rcb\.norm1\.", "rcb.1."),
        (r"rcb\.act\.", "rcb.2."),
        (r"rcb\.conv2\.", "rcb.3."),
        (r"rcb\.norm2\.", "rcb.4."),
        (r"^conv\.", "conv2.0."),
        (r"^norm\.", "conv2.1."),
        (r"^ups\.(\d+)\.conv\.", r"upsampling.\1.upsample_block.0."),
        (r"^ups\.(\d+)\.act\.", r"upsampling.\1.upsample_block.2."),
        (r"^to_image\.", "conv3."),
    ],
    Discriminator: [
        (r"^from_image\.", "features.0."),
        (r"^convs\.(\d+)\.", lambda m: f"features.{2 + 3 * int(m[1])}."),
        (r"^norms\.(\d+)\.", lambda m: f"features.{3 + 3 * int(m[1])}."),
        (r"^dense\.", "classifier.0."),
        (r"^score\.", "classifier.2."),
    ],
    RRDBNet: [
        (r"^stem\.", "conv_first."),
        (r"^blocks\.(\d+)\.(\d)\.convs\.(\d)\.",
         lambda m: f"body.{m[1]}.rdb{int(m[2]) + 1}.conv{int(m[3]) + 1}."),
        (r"^body\.(weight|bias)$", r"conv_body.\1"),
        (r"^ups\.(\d)\.", lambda m: f"conv_up{int(m[1]) + 1}."),
        (r"^conv\.", "conv_hr."),
        (r"^to_image\.", "conv_last."),
    ],
    VGGDiscriminator: [
        (r"^(conv|norm)s\.(\d+)\.",
         lambda m: f"{m[1].replace('norm', 'bn')}{int(m[2]) // 2}_{int(m[2]) % 2}."),
        (r"^dense\.", "linear1."),
        (r"^score\.", "linear2."),
    ],
    UNetDiscriminator: [
        (r"^stem\.", "conv0."),
        (r"^downs\.(\d)\.", lambda m: f"conv{1 + int(m[1])}."),
        (r"^ups\.(\d)\.", lambda m: f"conv{4 + int(m[1])}."),
        (r"^convs\.(\d)\.", lambda m: f"conv{7 + int(m[1])}."),
        (r"^score\.", "conv9."),
        (r"^(conv[1-8])\.weight$", r"\1.weight_orig"),
        (r"\.([uv])$", r".weight_\1"),
    ],
}  # fmt: skip
MSR = [(r"^stem\.", "conv_first."), (r"^conv\.", "conv_hr."), (r"^to_image\.", "conv_last.")]
MMAGIC = [
    (r"^blocks\.", "trunk_net."),
    (r"^ups\.(\d)\.", lambda m: f"upsample{int(m[1]) + 1}.upsample_conv."),
]
BASICSR = [(r"^blocks\.", "body."), (r"^ups\.(\d)\.", lambda m: f"upconv{int(m[1]) + 1}.")]
START = Progress()


def peers_name(net: nn.Module, ours: str) -> str:
    """The peer's name of one of our tensors."""
    rules = NAMES.get(next((k for k in NAMES if isinstance(net, k)), None))
    if isinstance(net, MSRResNet):
        rules = MSR + (BASICSR if net.activate_ups else MMAGIC)
    for pattern, peer in rules:
        ours = re.sub(pattern, peer, ours)
    return ours


def names_of(net: nn.Module) -> dict[str, str]:
    """The peer's names -> ours; what only we keep (spectral norm's sigma) is not among them."""
    ours = [n for n in net.state_dict() if not n.endswith(".sigma")]
    return {peers_name(net, n): n for n in ours}


def fill(case: Case, peer: str, net: nn.Module) -> None:
    """Gives a network the weights that the case makes from its names, or has in its file."""
    names, state, stored = names_of(net), net.state_dict(), case.state(peer)
    shapes = (case.meta.get("state_shapes") or {}).get(peer)
    assert shapes is None or set(shapes) == set(names), set(shapes) ^ set(names)
    for name, ours in names.items():
        shape = torch.Size(shapes[name]) if shapes else state[ours].shape
        value = stored.get(name)
        if value is None:
            value = procfill.fill(case.meta["procfill"], peer, name, shape)
        if value is not None:
            state[ours] = value.reshape(state[ours].shape)
    net.load_state_dict(state)


def call(text: str) -> tuple[str, list, dict]:
    """Name, arguments and keywords of `Name(3, 3, num_feat=8)`."""
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Name):
        return node.id, [], {}
    keywords = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
    return node.func.id, [ast.literal_eval(a) for a in node.args], keywords


class Clamped(SRResNet):
    """The peer clamps what its network makes, also while it learns."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(0, 1)


PEERS = ("Lornatang", "open-mmlab", "XPixelGroup")
# The constructors of the peers: their parameters in order, with defaults, under our names.
FIRST = {"image_channels": 3, "_outputs": None}
CONSTRUCTORS = {
    ("Lornatang", "SRResNet"): FIRST | {"channels": 64, "blocks": 16, "scale": 4},
    ("Lornatang", "DiscriminatorForVGG"): FIRST | {"channels": 64},
    ("open-mmlab", "MSRResNet"): FIRST | {"channels": 64, "blocks": 16, "scale": 4},
    ("open-mmlab", "RRDBNet"): FIRST
    | {"channels": 64, "blocks": 23, "growth": 32, "scale": 4},
    ("open-mmlab", "ModifiedVGG"): {"image_channels": 3, "channels": 64},
    ("XPixelGroup", "MSRResNet"): FIRST | {"channels": 64, "blocks": 16, "scale": 4},
    ("XPixelGroup", "RRDBNet"): FIRST
    | {"scale": 4, "channels": 64, "blocks": 23, "growth": 32},
    ("XPixelGroup", "VGGStyleDiscriminator"): {"image_channels": 3, "channels": 64, "size": 128},
    ("XPixelGroup", "UNetDiscriminatorSN"): {"image_channels": 3, "channels": 64, "_skip": True},
}  # fmt: skip
KEYWORDS = {
    "in_channels": "image_channels",
    "num_in_ch": "image_channels",
    "out_channels": "_outputs",
    "num_out_ch": "_outputs",
    "mid_channels": "channels",
    "num_feat": "channels",
    "num_blocks": "blocks",
    "num_block": "blocks",
    "num_rcb": "blocks",
    "growth_channels": "growth",
    "num_grow_ch": "growth",
    "upscale_factor": "scale",
    "upscale": "scale",
    "input_size": "size",
    "skip_connection": "_skip",
}
NETWORKS = {
    ("Lornatang", "SRResNet"): Clamped,
    ("Lornatang", "DiscriminatorForVGG"): Discriminator,
    ("open-mmlab", "ModifiedVGG"): VGGDiscriminator,
    ("XPixelGroup", "MSRResNet"): partial(MSRResNet, activate_ups=True),
    ("XPixelGroup", "VGGStyleDiscriminator"): VGGDiscriminator,
    ("XPixelGroup", "UNetDiscriminatorSN"): UNetDiscriminator,
}
BY_NAME = {"MSRResNet": MSRResNet, "RRDBNet": RRDBNet}


def construct(peer: str, text: str, **more: int) -> nn.Module:
    """Our network for `Name(3, 3, num_feat=8)` in a peer's words; `more` are in ours."""
    name, values, keywords = call(text)
    if (peer, name) not in CONSTRUCTORS:
        raise NotImplementedError(f"{name} of {peer}")
    options = CONSTRUCTORS[peer, name].copy()
    options |= dict(zip(options, values, strict=False))
    for keyword, value in keywords.items():
        ours = KEYWORDS.get(keyword, keyword)
        if ours not in options:
            raise NotImplementedError(f"{keyword} of {name} is not built here")
        options[ours] = value
    if options.pop("_skip", True) is not True:
        raise NotImplementedError("a U-Net without skips")
    options.pop("_outputs", None)
    return NETWORKS.get((peer, name), BY_NAME.get(name))(**options | more)


def from_args(args: dict, name: str, keywords: dict[str, str]) -> str:
    """A constructor's call from the entries of `args` that belong to it; absent ones default."""
    found = [f"{k}={args[v]}" for k, v in keywords.items() if v in args]
    return f"{name}({', '.join(found)})"


LORNATANGS = {"channels": "channels", "num_rcb": "num_rcb", "upscale": "upscale"}
MMAGICS = {k: k for k in ("mid_channels", "num_blocks", "upscale_factor", "growth_channels")}
