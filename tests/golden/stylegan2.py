"""NVlabs' StyleGAN2 (ADA, PyTorch): built from a case's `build`, in our own networks and recipe."""

import ast
import re
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.interop.stylegan2_ada import IGNORED, theirs
from largegan.losses import path_lengths, sq_grad_norm
from largegan.nets.stylegan2 import Generator, Synthesis, SynthesisOptions
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec
from largegan.recipes.stylegan2 import StyleGAN2, StyleGAN2Options
from largegan.trainer import Trainer
from tests.golden import procfill
from tests.golden.goldcheck import Case

# The peer's options -> ours, per part; None: no effect on the numbers here.
OPTIONS = {
    "G": {"z_dim": "z_dim", "c_dim": "c_dim", "w_dim": "w_dim", "img_resolution": "resolution",
          "img_channels": "image_channels", "mapping_kwargs": "mapping_kwargs",
          "synthesis_kwargs": "synthesis_kwargs"},
    "D": {"c_dim": "c_dim", "img_resolution": "resolution", "img_channels": "image_channels",
          "architecture": "architecture", "channel_base": "channel_base",
          "channel_max": "channel_max", "num_fp16_res": None, "conv_clamp": "conv_clamp",
          "cmap_dim": "cmap_dim", "block_kwargs": "block_kwargs",
          "mapping_kwargs": "mapping_kwargs", "epilogue_kwargs": "epilogue_kwargs"},
    "mapping": {"num_layers": "layers", "embed_features": "embed_features",
                "layer_features": "layer_features", "activation": "activation",
                "lr_multiplier": "lr_multiplier", "w_avg_beta": "w_avg_beta"},
    "synthesis": {"channel_base": "channel_base", "channel_max": "channel_max",
                  "num_fp16_res": None, "conv_clamp": "conv_clamp", "fp16_channels_last": None,
                  "architecture": "architecture", "resample_filter": "resample_filter",
                  "activation": "activation", "use_noise": "use_noise"},
    "block": {"resample_filter": "resample_filter", "fp16_channels_last": None},
    "epilogue": {"mbstd_group_size": "group_size", "mbstd_num_channels": "group_features"},
}  # fmt: skip
# A case's args -> where the peer's constructors take them; the others are those of its losses and
# optimizers. What is named in `syn` and the like went to the peer beside what `build` repeats.
ARGS = {
    "z_dim": ["G.z_dim"],
    "w_dim": ["G.w_dim"],
    "c_dim": ["G.c_dim", "D.c_dim"],
    "res": ["G.img_resolution", "D.img_resolution"],
    "channels": ["G.img_channels", "D.img_channels"],
    "cbase": ["G.synthesis_kwargs.channel_base", "D.channel_base"],
    "cmax": ["G.synthesis_kwargs.channel_max", "D.channel_max"],
    "clamp": ["G.synthesis_kwargs.conv_clamp", "D.conv_clamp"],
    "map": ["G.mapping_kwargs.num_layers"],
    "darch": ["D.architecture"],
    "cmap": ["D.cmap_dim"],
    "mbstd": ["D.epilogue_kwargs.mbstd_group_size"],
    "mbch": ["D.epilogue_kwargs.mbstd_num_channels"],
    "syn": ["G.synthesis_kwargs"],
    "mapping": ["G.mapping_kwargs"],
    "dis": ["D"],
    "blk": ["D.block_kwargs"],
    "dmap": ["D.mapping_kwargs"],
    "epi": ["D.epilogue_kwargs"],
}
OF_TRAINING = {"N", "gamma", "lr", "ema_kimg"}


def options(part: str, given: dict) -> dict:
    """The peer's options under our names; refuses what we do not build."""
    for name in given:
        if name not in OPTIONS[part]:
            raise NotImplementedError(f"{part}: {name} is not built here")
    return {OPTIONS[part][k]: v for k, v in given.items() if OPTIONS[part][k] is not None}


def literal(call: str) -> dict:
    """Keyword arguments of `Name(a=1, b=dict(c=2))`."""

    def value(node: ast.expr):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
            return {k.arg: value(k.value) for k in node.keywords}
        return ast.literal_eval(node)

    return {k.arg: value(k.value) for k in ast.parse(call, mode="eval").body.keywords}


def constructors(build: dict[str, str], args: dict) -> dict[str, dict]:
    """What the peer's G and D were built with: `build`, and `args` over it."""
    made = {net: literal(call) for net, call in build.items()}
    for name, value in args.items():
        if name not in ARGS and name not in OF_TRAINING:
            raise NotImplementedError(f"args.{name} is not built here")
        for place in ARGS.get(name, ()):
            *path, last = place.split(".")
            options = made
            for step in path:
                options = options.setdefault(step, {})
            options[last] = options.get(last, {}) | value if isinstance(value, dict) else value
    return made


def generator(build: dict) -> Generator:
    o = options("G", build)
    made = SynthesisOptions(
        w_dim=o["w_dim"],
        image_channels=o["image_channels"],
        **options("synthesis", o.get("synthesis_kwargs", {})),
    )
    synthesis = Synthesis(o["resolution"], o["resolution"], made)
    mapping = Mapping(
        z_dim=o["z_dim"],
        c_dim=o["c_dim"],
        w_dim=o["w_dim"],
        num_ws=synthesis.num_ws,
        **options("mapping", o.get("mapping_kwargs", {})),
    )
    return Generator(mapping, synthesis)


def discriminator(build: dict) -> Discriminator:
    o = options("D", build)
    size, mapping = o.pop("resolution"), options("mapping", o.pop("mapping_kwargs", {}))
    o |= options("block", o.pop("block_kwargs", {}))
    o |= options("epilogue", o.pop("epilogue_kwargs", {}))
    D = Discriminator(size, size, DiscriminatorOptions(**o))
    if D.mapping is not None:  # ours has less to choose there
        D.mapping = Mapping(z_dim=0, c_dim=o["c_dim"], w_dim=D.cmap_dim, **mapping)
    return D


def load(net: str, module: nn.Module, state: dict[str, Tensor], resolution: int) -> None:
    """Takes every tensor of the peer's but its filters, which are constants here."""
    names = {name: theirs(net, name, resolution) for name in module.state_dict()}
    left = {n for n in state if not re.search(IGNORED, n)} - set(names.values())
    assert not left, f"tensors of the peer that we have no place for: {left}"
    module.load_state_dict({ours: state[peer] for ours, peer in names.items()})


class Scripted:
    """Within it, `torch.randn` returns what a case says: latents in order, and noise by shape."""

    def __init__(self, latents: list[Tensor], noise: Tensor | None = None):
        self.latents, self.noise = list(latents), noise

    def __enter__(self) -> None:
        self.patch = mock.patch.object(torch, "randn", self.randn)
        self.patch.start()

    def randn(self, *shape, dtype: torch.dtype | None = None, **_) -> Tensor:
        if isinstance(shape[0], torch.Size):  # path lengths ask for images' shape
            return self.noise.to(dtype or torch.float32)
        return self.latents.pop(0)[: shape[0]]

    def __exit__(self, *_) -> None:
        self.patch.stop()
        assert not self.latents, "latents of the case that nobody drew"


class Run:
    """A case's networks in our recipe, with the views of them that the outputs are made of."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        builds = constructors(case.meta["build"], self.args)
        self.resolution = builds["G"]["img_resolution"]
        self.nets = {"G": generator(builds["G"]), "D": discriminator(builds["D"])}
        self.z, self.real = case.input("z"), case.image("real_u8")
        conditional = "in.c" in case.keys
        self.c = case.input("c") if conditional else None
        self.c_step = case.input("c_step") if conditional else [None] * 4
        self.z_step = case.input("z_step")
        self.pl_noise = case.input("pl_noise").float()
        self.reset()

    def reset(self) -> None:
        """Back to the state before anything ran, training mode, no gradients."""
        for key, net in self.nets.items():
            load(key, net, self.case.state(key), self.resolution)
            net.train().requires_grad_(True).zero_grad()
        self.nets["G"].mapping.w_avg.pending.zero_()

    def peers_names(self, net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies, under the names that the peer has for them."""
        return {theirs(net, n, self.resolution): t.detach().clone() for n, t in tensors.items()}

    def tensors(self, net: str) -> dict[str, Tensor]:
        return self.peers_names(net, dict(self.nets[net].named_parameters()))

    def gradients(self, net: str) -> dict[str, Tensor]:
        grads = {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.nets[net].named_parameters()
        }
        return self.peers_names(net, grads)

    def show(self, name: str, images: Tensor) -> None:
        show(self.case, name, images)


def check_forward(run: Run) -> None:
    """Evaluation: w, truncation and cutoff, kinds of noise, mixed styles, logits."""
    case, (G, D) = run.case, run.nets.values()
    G.eval(), D.eval()
    with torch.no_grad():
        ws = G.mapping(run.z, run.c)
        case.check("w", ws[:, 0])
        case.check("w_psi07", G.mapping(run.z, run.c, truncation=0.7)[:, 0])
        cut = G.mapping(run.z, run.c, truncation=0.5, cutoff=3)
        case.check("w_psi05_cut3", cut[:, [0, 2, 3]])
        image = G.synthesis(ws, noise="const")
        run.show("img_const", image)
        run.show("img_none", G.synthesis(ws, noise="none"))
        run.show("img_psi07", G(run.z, run.c, truncation=0.7, noise="const"))
        half, others = ws.shape[1] // 2, G.mapping(case.input("z2"), run.c)
        mixed = torch.cat([ws[:, :half], others[:, half:]], 1)
        run.show("img_mix_half", G.synthesis(mixed, noise="const"))
        case.check("logits_real", D(run.real, run.c))
        case.check("logits_fake", D(image, run.c))


def check_gradients(run: Run) -> None:
    """Every named loss, one value an image, and every parameter's gradient of its mean."""
    case, (G, D), few = run.case, run.nets.values(), len(run.z) // 2

    def fake(i: int, n: int | None = None) -> tuple[Tensor, Tensor]:
        c = run.c_step[i]
        ws = G.mapping(run.z_step[i][:n], c if c is None else c[:n])
        return G.synthesis(ws, noise="const"), ws

    run.reset()
    loss = F.softplus(-D(fake(0)[0], run.c_step[0]))
    case.check("loss_Gmain", loss)
    loss.mean().backward()
    case.check_rows("grad.Gmain.G", run.gradients("G"))

    run.reset()
    lengths = path_lengths(*fake(1, few), run.pl_noise)
    mean = 0.01 * lengths.mean()
    penalty = (lengths - mean).square()
    case.check("pl_penalty", penalty)
    case.check("pl_mean_after", mean)
    (2 * penalty).mean().backward()
    case.check_rows("grad.Gpl.G", run.gradients("G"))

    run.reset()
    with torch.no_grad():
        image = fake(2)[0]
    loss = F.softplus(D(image, run.c_step[2])) + F.softplus(-D(run.real, run.c))
    case.check("loss_D", loss)
    loss.mean().backward()
    case.check_rows("grad.Dmain.D", run.gradients("D"))

    run.reset()
    real = run.real.clone().requires_grad_()
    scores = D(real, run.c)
    (slope,) = torch.autograd.grad(scores.sum(), real, retain_graph=True)
    run.show("r1_grad_img", slope)
    penalty = sq_grad_norm(scores, real)
    case.check("r1_penalty", penalty)
    (run.args["gamma"] / 2 * penalty.mean()).backward()
    case.check_rows("grad.Dr1.D", run.gradients("D"))

    run.reset()
    z = run.z.clone().requires_grad_()
    image = G(z, run.c, noise="const")
    waves = torch.cos(0.01 * torch.arange(image[0].numel())).reshape(image[0].shape)
    (slope,) = torch.autograd.grad((image * waves).sum(), z)
    case.check("grad_z_of_probe", slope)


def recipe(run: Run) -> StyleGAN2:
    """Our recipe with the case's settings and networks, G's average starting at 0.9 G."""
    args, (G, D) = run.args, run.nets.values()
    channels, height, width = run.real.shape[1:]
    made = StyleGAN2(
        DataSpec(channels, height, width, 0 if run.c is None else run.c.shape[1]),
        StyleGAN2Options(
            z_dim=run.z.shape[1],
            augment="none",
            channel_base=4,  # its own networks are replaced: as small as they can be
            style_mixing=0.0,
            r1_gamma=args["gamma"],
            lr=args["lr"],
            ema_halflife_nimg=args["ema_kimg"] * 1000,
            ema_rampup=None,
        ),
    )
    made.G, made.D = G, D
    made.players["G"].nets, made.players["D"].nets = [G], [D]
    average = Ema(G, halflife_nimg=args["ema_kimg"] * 1000, rampup=None, average_buffers=False)
    made.G_ema = average
    with torch.no_grad():
        for p in average.parameters():
            p.mul_(0.9)
    few = len(run.z) // 2
    # Conditions in the order in which the phases ask for them.
    generated = [c if i != 1 or c is None else c[:few] for i, c in enumerate(run.c_step)]
    asked = iter([*generated[:3], run.c, run.c])
    made.condition = lambda batch: next(asked)
    return made


class OneBatch:
    """A stream of the case's real images."""

    def __init__(self, real: Tensor):
        self.real = real

    def next_batch(self) -> list[dict]:
        return [{"image": self.real}]


def check_step(run: Run) -> None:
    """One iteration of the recipe in the trainer: all four phases, both optimizers, the average."""
    case, (G, D) = run.case, run.nets.values()
    run.reset()
    before = {net: run.tensors(net) for net in "GD"}
    made = recipe(run)
    engine = Engine(World(0, 1, run.z.device))
    engine.setup(made)
    trainer = Trainer(
        made,
        engine,
        OneBatch(run.real),
        to_device=lambda batch, device: dict(batch),
        batch_size=len(run.real),
        micro_batch_size=len(run.real),
    )
    average = run.peers_names("G", dict(made.G_ema.net.named_parameters()))
    synthesis = G.synthesis.forward
    G.synthesis.forward = lambda ws: synthesis(ws, noise="const")
    with Scripted(list(run.z_step[:3]), run.pl_noise):
        trainer.iteration()
    G.synthesis.forward = synthesis

    means = trainer.tally.means()
    case.check_mean("step_loss_Gmain", means["G.generator/adv"])
    case.check_mean("step_pl_penalty", means["G.path_length/pl"] / 2)
    case.check_mean("step_loss_D", means["D.discriminator/fake"] + means["D.discriminator/real"])
    case.check_mean("step_r1_penalty", means["D.r1/r1"] * 2 / run.args["gamma"])
    case.check("step_w_avg", G.mapping.w_avg.mean)
    case.check("step_pl_mean", made.path_length_mean.mean)
    for net in "GD":
        after = run.tensors(net)
        case.check_rows(f"delta.step.{net}", {n: after[n] - before[net][n] for n in after})
    after = run.peers_names("G", dict(made.G_ema.net.named_parameters()))
    case.check_rows("delta.ema.G", {n: after[n] - average[n] for n in after})
    G.eval(), D.eval()
    with torch.no_grad():
        run.show("step_img", G(run.z, run.c, noise="const"))
        case.check("step_logits", D(run.real, run.c))


FULL_SIZE = {  # args: the word for it in a full-size case's sentence, and what it is unsaid
    "z_dim": ("z", 512),
    "w_dim": ("w", 512),
    "map": ("map", 8),
    "cbase": ("channel_base", 32768),
    "cmax": ("channel_max", 512),
    "clamp": ("clamp", 256),
    "mbstd": ("mbstd", 4),
}


def full_size(case: Case) -> tuple[Generator, Discriminator]:
    """Networks from a sentence such as "paper256: z 512, map 8, channel_base 16384, mbstd 8"."""
    said = dict(re.findall(r"(\w+) (\d+)", case.meta["build"]))
    image, size = shown(case, "img")
    args = {arg: int(said.get(word, usual)) for arg, (word, usual) in FULL_SIZE.items()}
    args |= {"res": size, "channels": case.expected(image).shape[1]}
    args |= {"c_dim": case.input("c").shape[1] if "in.c" in case.keys else 0}
    builds = constructors({"G": "G()", "D": "D()"}, args)
    return generator(builds["G"]), discriminator(builds["D"])


def shown(case: Case, name: str) -> tuple[str, int]:
    """The output that holds an image (`img_s4`: every fourth pixel), and pixels of its side."""
    found = next(n for n in case.outputs() if re.fullmatch(rf"{name}(_s\d+)?", n))
    step = int(found.removeprefix(name).removeprefix("_s") or 1)
    return found, case.expected(found).shape[-1] * step


def check_full(case: Case) -> None:
    """A full-size pair: weights made from their names, images and logits in evaluation mode."""
    G, D = full_size(case)
    _, resolution = shown(case, "img")
    for net, module in (("G", G), ("D", D)):
        count = sum(p.numel() for p in module.parameters())
        assert count == case.meta["num_params"][net], f"{net} has {count} parameters"
        state = {theirs(net, n, resolution): t for n, t in module.state_dict().items()}
        fill = case.meta["procfill"]
        state = {n: procfill.fill(fill, net, n, t.shape) for n, t in state.items()}
        load(net, module, state, resolution)
        module.eval()
    z, c = case.input("z"), case.input("c") if "in.c" in case.keys else None
    with torch.no_grad():
        ws = G.mapping(z, c)
        case.check("w", ws[:, 0])
        image = G.synthesis(ws, noise="const")
        show(case, "img", image)
        case.check("logits", D(image, c))
        show(case, "img_psi07", G(z, c, truncation=0.7, noise="const"))


def show(case: Case, name: str, images: Tensor) -> None:
    """Compares as many images, as finely, as the file keeps."""
    found, size = shown(case, name)
    step = size // case.expected(found).shape[-1]
    case.check(found, images[: len(case.expected(found)), :, ::step, ::step])


def check(case: Case) -> None:
    run = Run(case)
    check_forward(run)
    check_gradients(run)
    check_step(run)
