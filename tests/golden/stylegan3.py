"""NVlabs' StyleGAN3: built from a case's `args`, in our own networks and recipe; its operators."""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan import ops
from largegan.augment.blur import fading, gaussian_blur
from largegan.ema import Ema
from largegan.interop.stylegan3 import theirs
from largegan.layers.lowpass import lowpass
from largegan.losses import sq_grad_norm
from largegan.metrics import equivariance as eq
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping
from largegan.nets.stylegan3 import W_AVG_BETA, Generator, Synthesis, SynthesisOptions
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Progress, adam
from largegan.recipes.stylegan3 import StyleGAN3, StyleGAN3Options
from largegan.trainer import Trainer
from tests.golden import procfill
from tests.golden import stylegan2 as sg2
from tests.golden.goldcheck import Case
from tests.golden.stylegan2 import OneBatch, Scripted

NIMG = 250  # images seen when the case's losses were computed (its notes say cur_nimg)
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


class Run(sg2.Run):
    """A case's networks in our recipe."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.resolution = self.args["res"]
        self.z, self.real = case.input("z"), case.image("real_u8")
        channels = self.real.shape[1]
        self.nets = {
            "G": generator(self.args, channels),
            "D": discriminator(self.args, channels),
        }
        conditional = "in.c" in case.keys
        self.c = case.input("c") if conditional else None
        self.z_step = case.input("z_step")
        self.c_step = case.input("c_step") if conditional else [None] * len(self.z_step)
        said = case.meta["losses"].get("blur", "")
        fade = re.search(r"blur_fade_kimg=([\d.]+)", said)
        self.fade_nimg = 1000 * float(fade[1]) if fade else 0.0
        self.sigma = fading(self.args["blur"], NIMG, self.fade_nimg)
        for module in self.nets["G"].modules():
            if hasattr(module, "halflife_nimg"):
                module.beta = self.args["mbeta"]
        self.reset()

    def reset(self) -> None:
        load_generator(self.nets["G"], self.case.state("G"))
        sg2.load("D", self.nets["D"], self.case.state("D"), self.resolution)
        for net in self.nets.values():
            net.train().requires_grad_(True).zero_grad()
        for module in self.nets["G"].modules():
            if hasattr(module, "pending"):
                module.pending.zero_()

    def peers_names(self, net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if net == "D":
            return super().peers_names(net, tensors)
        return {theirs(self.nets["G"], n): t.detach().clone() for n, t in tensors.items()}

    def judge(self, images: Tensor, c: Tensor | None) -> Tensor:
        return self.nets["D"](gaussian_blur(images, self.sigma), c)


def check_forward(run: Run) -> None:
    """Evaluation: w, truncation and cutoff, a moved input, the Fourier features, logits."""
    case, (G, D) = run.case, run.nets.values()
    G.eval(), D.eval()
    with torch.no_grad():
        ws = G.mapping(run.z, run.c)
        case.check("w", ws[:, 0])
        image = G.synthesis(ws)
        run.show("img", image)
        run.show("img_psi07", G(run.z, run.c, truncation=0.7))
        for name in case.outputs():
            cut = re.fullmatch(r"img_psi(\d)(\d)_cut(\d+)", name)
            if cut:
                amount = int(cut[1]) + int(cut[2]) / 10
                run.show(name, G(run.z, run.c, truncation=amount, cutoff=int(cut[3])))
        run.show("input_features", G.synthesis.input(ws[:, 0]))
        run.show("img_transform", G.synthesis(ws, transform=case.input("transform")))
        case.check("logits_real", D(run.real, run.c))
        case.check("logits_fake", D(image, run.c))


def check_gradients(run: Run) -> None:
    """Every named loss, one value an image, and every parameter's gradient of its mean."""
    case, G = run.case, run.nets["G"]

    def fake(i: int, *, track: bool) -> Tensor:
        return G.synthesis(G.mapping(run.z_step[i], run.c_step[i], track=track), track=track)

    run.reset()
    loss = F.softplus(-run.judge(fake(0, track=False), run.c_step[0]))
    case.check("loss_Gmain", loss)
    loss.mean().backward()
    case.check_rows("grad.Gmain.G", run.gradients("G"))

    run.reset()
    with torch.no_grad():
        image = fake(1, track=True)
    loss = F.softplus(run.judge(image, run.c_step[1])) + F.softplus(-run.judge(run.real, run.c))
    case.check("loss_D", loss)
    loss.mean().backward()
    case.check_rows("grad.Dmain.D", run.gradients("D"))

    run.reset()
    real = run.real.clone().requires_grad_()
    penalty = sq_grad_norm(run.judge(real, run.c), real)
    case.check("r1_penalty", penalty)
    (run.args["gamma"] / 2 * penalty.mean()).backward()
    case.check_rows("grad.Dr1.D", run.gradients("D"))

    run.reset()
    z = run.z.clone().requires_grad_()
    image = G.eval()(z, run.c)
    waves = torch.cos(0.01 * torch.arange(image[0].numel())).reshape(image[0].shape)
    (slope,) = torch.autograd.grad((image * waves).sum(), z)
    case.check("grad_z_of_probe", slope)


def recipe(run: Run) -> StyleGAN3:
    """Our recipe with the case's settings and networks."""
    args, (G, D) = run.args, run.nets.values()
    channels, height, width = run.real.shape[1:]
    options = StyleGAN3Options(
        configuration=args["cfg"],
        z_dim=args["z_dim"],
        channel_base=4,  # its own networks are replaced: as small as they can be
        d_channel_base=4,
        mbstd_group=args["mbstd"],
        r1_gamma=args["gamma"],
        blur_sigma=args["blur"],
        blur_fade_nimg=run.fade_nimg,
        augment="none",
    )
    made = StyleGAN3(DataSpec(channels, height, width, args["c_dim"]), options)
    made.G, made.D = G, D
    made.players["G"].nets, made.players["D"].nets = [G], [D]
    made.players["G"].make_optimizer = adam(args["glr"], 0.0, 0.99)
    made.players["D"].make_optimizer = adam(args["dlr"], 0.0, 0.99, lazy=made.options.r1_every)
    made.G_ema = Ema(G, halflife_nimg=0.0, rampup=None, average_buffers=False)
    for module in G.modules():
        if hasattr(module, "halflife_nimg"):  # so that its factor for this batch is the case's
            module.halflife_nimg = -len(run.real) / math.log2(args["mbeta"])
    # Conditions of fakes and reals are those of one batch here; the case gives them apart.
    judge, fake = made.judge, made.fake
    asked = iter([run.c_step[0], run.c_step[1]])
    current = {}

    def faked(batch, c, *, track):
        current["c"] = next(asked)
        return fake(batch, current["c"], track=track)

    def judged(images, c, at):
        real = images.shape == run.real.shape and torch.equal(images.detach(), run.real)
        return judge(images, run.c if real else current["c"], at)

    made.fake, made.judge, made.condition = faked, judged, lambda batch: None
    return made


def check_step(run: Run) -> None:
    """One iteration of the recipe in the trainer: three phases, both optimizers."""
    case, G = run.case, run.nets["G"]
    run.reset()
    before = {net: run.tensors(net) for net in "GD"}
    made = recipe(run)
    engine = Engine(World(0, 1, torch.device("cpu")))
    engine.setup(made)
    trainer = Trainer(
        made,
        engine,
        OneBatch(run.real),
        to_device=lambda batch, device: dict(batch),
        batch_size=len(run.real),
        micro_batch_size=len(run.real),
    )
    trainer.at = Progress(0, NIMG)
    with Scripted(list(run.z_step[:2])):
        trainer.iteration()
    means = trainer.tally.means()
    case.check_mean("step_loss_Gmain", means["G.generator/adv"])
    case.check_mean("step_loss_D", means["D.discriminator/fake"] + means["D.discriminator/real"])
    case.check_mean("step_r1_penalty", means["D.r1/r1"] * 2 / run.args["gamma"])
    case.check("step_w_avg", G.mapping.w_avg.mean)
    magnitudes = [layer.magnitude.mean for layer in G.synthesis.layers]
    case.check("step_magnitude_ema", torch.stack(magnitudes))
    for net in "GD":
        after = run.tensors(net)
        case.check_rows(f"delta.step.{net}", {n: after[n] - before[net][n] for n in after})
    G.eval()
    with torch.no_grad():
        run.show("step_img", G(run.z, run.c))


def check(case: Case) -> None:
    if "metric" in case.meta["args"]:
        return check_metric(case)
    run = Run(case)
    check_forward(run)
    check_gradients(run)
    check_step(run)


def check_full(case: Case) -> None:
    """A full-size generator: weights made from their names, w and an image."""
    said = case.meta["build"]
    numbers = {word: int(re.search(rf"{word} (\d+)", said)[1]) for word in ("cbase", "cmax", "map")}
    layers = int(re.search(r"(\d+) layers", said)[1])
    resolution = int(re.search(r"at (\d+)", said)[1])
    z_dim, w_dim = case.input("z").shape[1], case.expected("w").shape[1]
    args = numbers | {"layers": layers, "res": resolution, "z_dim": z_dim, "w_dim": w_dim}
    args |= {"cfg": re.search(r"stylegan3-(\w)", said)[1], "c_dim": 0}
    G = generator(args, case.expected("img_s2").shape[1])
    count = sum(p.numel() for p in G.parameters())
    assert count == case.meta["num_params"]["G"], f"G has {count} parameters"
    load_generator(G, filled(case, G))
    G.eval()
    with torch.no_grad():
        ws = G.mapping(case.input("z"))
        case.check("w", ws[:, 0])
        case.check("img_s2", G.synthesis(ws)[..., ::2, ::2])


def filled(case: Case, G: Generator) -> dict[str, Tensor]:
    """The peer's state, made from its names."""
    state = {theirs(G, name): tensor for name, tensor in G.state_dict().items()}
    fill = case.meta["procfill"]
    made = {name: procfill.fill(fill, "G", name, t.shape) for name, t in state.items()}
    return {name: state[name] if tensor is None else tensor for name, tensor in made.items()}


def check_ops(case: Case) -> None:
    """`ops_nvlabs_sg3`: filters around an activation, modulated convolutions, filter design."""
    x, b, w, s = (case.input(name) for name in "xbws")
    fu, fd = (tuple(case.input(name).tolist()) for name in ("fu", "fd"))
    rows = tuple(tuple(row) for row in case.input("fd2").tolist())
    found = ops.filtered_lrelu(x, fu, fd, b, up=4, down=2, padding=[11, 10, 9, 12], clamp=1.5)
    case.check("up4_down2", found)
    act = {"gain": 1.3, "slope": 0.1}
    found = ops.filtered_lrelu(x, fu, rows, b, up=2, down=2, padding=8, **act)
    case.check("up2_down2_rect", found)
    found = ops.filtered_lrelu(x, fu, None, up=2, padding=[6, 5, 6, 5], flip=True)
    case.check("up2_down1_flip", found)

    leaves = x.clone().requires_grad_(), b.clone().requires_grad_()
    probe = case.input("probe")
    y = ops.filtered_lrelu(leaves[0], fu, fd, leaves[1], up=2, down=2, padding=11)
    y = y[:, :, : x.shape[2], : x.shape[3]]
    gradients = torch.autograd.grad((y * probe[..., : y.shape[2], : y.shape[3]]).sum(), leaves)
    case.check("grad_x", gradients[0])
    case.check("grad_b", gradients[1])

    found = ops.modulated_conv2d(x, w, s, padding=2, gain=0.8)
    case.check("modconv3_demod", found)
    case.check("modconv3_nodemod", ops.modulated_conv2d(x, w, s, demodulate=False))
    said = re.findall(
        r"\(([\d.]+),([\d.]+),([\d.]+),([\d.]+),([TF])\)", case.meta["notes"]["lowpass"]
    )
    for i, (taps, cutoff, width, rate, radial) in enumerate(said):
        band = {"cutoff": float(cutoff), "width": float(width), "rate": float(rate)}
        taps = lowpass(int(taps), radial=radial == "T", **band)
        case.check(f"lowpass_{i}", torch.tensor(taps, dtype=torch.float64))


def check_blur_ema(case: Case) -> None:
    """Blur as it fades, and the average with its ramp-up, from `args`."""
    args, images = case.meta["args"], case.image("x_u8")
    fade_nimg = 1000 * args["blur_fade_kimg"]
    sigmas = [fading(args["blur_init_sigma"], nimg, fade_nimg) for nimg in args["cur_nimg"]]
    case.check("sigma", torch.tensor(sigmas, dtype=torch.float64))
    for i, sigma in enumerate(sigmas):
        case.check(f"blur_{i}", gaussian_blur(images, sigma))

    weights, buffers, batch = case.input("p"), case.input("b"), args["batch"]
    live = torch.nn.Module()
    live.p = torch.nn.Parameter(0.5 * weights[0].clone())
    live.register_buffer("b", torch.zeros_like(buffers[0]))
    average = Ema(
        live,
        halflife_nimg=1000 * args["ema_kimg"],
        rampup=args["ema_rampup"],
        average_buffers=False,
    )
    betas, seen = [], []
    for i in range(args["steps"]):
        before = Progress(i, i * batch)
        with torch.no_grad():
            live.p.copy_(weights[i + 1])
            live.b.copy_(buffers[i + 1])
        betas.append(average.beta(before, batch))
        average.update(live, before, batch)
        seen.append(average.net.p.clone())
    case.check("ema_beta", torch.tensor(betas, dtype=torch.float64))
    case.check("ema", torch.stack(seen))
    case.check("ema_buffers", average.net.b)


def check_equivariance(case: Case) -> None:
    """The operators, from `args`: shifts, filters, rotations, affine maps, and their masks."""
    args, x, smooth = case.meta["args"], case.input("x"), case.image("smooth_u8")
    a = args["a"]
    for i, (tx, ty) in enumerate(args["shifts"]):
        keep(case, f"int_{i}", eq.shift_integer(x, tx, ty))
        keep(case, f"frac_{i}", eq.shift_fractional(x, tx, ty, a=a))
    for i, angle in enumerate(args["angles"]):
        matrix = eq.rotation_matrix(angle)
        case.check(f"rotation_matrix_{i}", matrix)
        limits = {"a": a, "reach": 2 * a}
        found = eq.bandlimit_filter(matrix, up=4, **limits)
        case.check(f"filter_up4_{i}", found[::2, ::2])
        found = eq.bandlimit_filter(eq.rotation_matrix(-angle), up=1, **limits)
        case.check(f"filter_up1_{i}", found)
        keep(case, f"rot_{i}", eq.rotate(smooth, angle, a=a))
        keep(case, f"pseudo_{i}", eq.pseudo_rotate(smooth, angle, a=a))
    matrix = torch.tensor(args["affine"], dtype=torch.float64)
    limits = {"reach": 2 * a + 1, "cutoff_in": 0.8, "cutoff_out": 0.9}
    keep(case, "affine", eq.move(smooth, matrix, up=2, a=a, **limits))


def keep(case: Case, name: str, found: tuple[Tensor, Tensor]) -> None:
    """An image, or as many of its channels as the file has, and its mask."""
    case.check(name, found[0][:, : case.expected(name).shape[1]])
    case.check(f"{name}_mask", found[1])


def check_metric(case: Case) -> None:
    """EQ-T, EQ-T_frac and EQ-R of a generator whose weights are made from names."""
    args = case.meta["args"]
    G = generator(args, case.expected("img").shape[1]).eval()
    load_generator(G, filled(case, G))
    z, identity = case.input("z"), torch.eye(3)
    labels = case.input("c") if "in.c" in case.keys else [None] * args["batches"]
    ratios = {name: eq.Ratio() for name in args["which"]}
    for i in range(args["batches"]):
        with torch.no_grad():

            def draw(transform: Tensor, i: int = i) -> Tensor:
                return G(z[i], labels[i], transform=transform)

            still = draw(identity)
            if i == 0:
                rows = case.expected("img").shape[0]
                case.check("img", still[:rows, :, ::2, ::2])
            for name, ratio in ratios.items():
                drawn = 2 * case.input(f"u_{name}")[i].double() - 1
                if name == "rot":
                    angle = float(drawn) * args["rotate_max"] * math.pi
                    eq.compare_rotated(ratio, draw, still, angle)
                else:
                    shift = (drawn * args["translate_max"]).tolist()
                    SHIFTS[name](ratio, draw, still, *shift)
    for name, ratio in ratios.items():
        case.check(OUTPUTS[name], torch.tensor(ratio.decibel(), dtype=torch.float64))


SHIFTS = {"int": eq.compare_integer, "frac": eq.compare_fractional}
OUTPUTS = {"int": "eqt", "frac": "eqt_frac", "rot": "eqr"}
