"""StyleGAN3's networks as a case's `args` say, with its weights or with weights made from names."""

import torch
from torch import Tensor

from largegan.interop.stylegan3 import theirs
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping
from largegan.nets.stylegan3 import W_AVG_BETA, Generator, Synthesis, SynthesisOptions
from tests.golden import procfill
from tests.golden.goldcheck import Case

SYNTHESIS = {  # names of a case's args, or of the peer's constructor -> ours
    "cbase": "channel_base",
    "channel_base": "channel_base",
    "cmax": "channel_max",
    "channel_max": "channel_max",
    "layers": "layers",
    "num_layers": "layers",
    "critical": "critical",
    "num_critical": "critical",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband",
    "margin": "margin",
    "margin_size": "margin",
    "conv_kernel": "kernel",
    "filter_size": "filter_size",
    "use_radial_filters": "radial",
    "conv_clamp": "conv_clamp",
    "output_scale": "output_scale",
}
CONFIGURATIONS = {"t": {"kernel": 3, "radial": False}, "r": {"kernel": 1, "radial": True}}


def generator(args: dict, channels: int) -> Generator:
    """From `args` alone: what they do not name is as the peer's defaults have it."""
    given = args | args.get("G", {})
    options = {SYNTHESIS[k]: v for k, v in given.items() if k in SYNTHESIS}
    made = SynthesisOptions(
        w_dim=args["w_dim"],
        image_channels=channels,
        **CONFIGURATIONS[args.get("cfg", "t")] | options,
    )
    synthesis = Synthesis(args["res"], args["res"], made)
    mapping = Mapping(
        z_dim=args["z_dim"],
        c_dim=args["c_dim"],
        w_dim=args["w_dim"],
        num_ws=synthesis.num_ws,
        layers=args.get("map", 2),
        w_avg_beta=W_AVG_BETA,
    )
    return Generator(mapping, synthesis)


def discriminator(args: dict, channels: int) -> Discriminator:
    options = DiscriminatorOptions(
        image_channels=channels,
        c_dim=args["c_dim"],
        channel_base=args["dbase"],
        channel_max=args["dmax"],
        conv_clamp=args.get("dclamp", 256),
        group_size=args["mbstd"],
    )
    return Discriminator(args["res"], args["res"], options)


def load_generator(module: Generator, state: dict[str, Tensor]) -> None:
    """Takes every tensor of the peer's; its filters have to be those that we design."""
    names = {name: theirs(module, name) for name in module.state_dict()}
    module.load_state_dict({ours: state[peer] for ours, peer in names.items()})
    left = set(state) - set(names.values()) - {"synthesis.input.transform"}
    for i, layer in enumerate(module.synthesis.layers):
        prefix = theirs(module, f"synthesis.layers.{i}.")
        for name, taps in (("up_filter", layer.f_up), ("down_filter", layer.f_down)):
            if taps is not None and prefix + name in left:
                expected = state[prefix + name]
                torch.testing.assert_close(torch.tensor(taps), expected, rtol=1e-5, atol=1e-6)
                left.remove(prefix + name)
    assert not left, f"tensors of the peer that we have no place for: {left}"


def filled(case: Case, G: Generator) -> dict[str, Tensor]:
    """The peer's state, made from its names."""
    state = {theirs(G, name): tensor for name, tensor in G.state_dict().items()}
    fill = case.meta["procfill"]
    made = {name: procfill.fill(fill, "G", name, t.shape) for name, t in state.items()}
    return {name: state[name] if tensor is None else tensor for name, tensor in made.items()}
