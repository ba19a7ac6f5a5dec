"""NVlabs' StyleGAN3: built from a case's `args`, in our own networks and recipe; its operators."""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.augment.blur import fading, gaussian_blur
from largegan.ema import Ema
from largegan.interop.stylegan3 import theirs
from largegan.losses import sq_grad_norm
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Progress, adam
from largegan.recipes.stylegan3 import StyleGAN3, StyleGAN3Options
from largegan.trainer import Trainer
from tests.golden import stylegan2 as sg2
from tests.golden.goldcheck import Case
from tests.golden.stylegan2 import OneBatch, Scripted
from tests.golden.stylegan3_build import (
    discriminator,
    filled,
    generator,
    load_generator,
)
from tests.golden.stylegan3_ops import check_metric

NIMG = 250  # images seen when the case's losses were computed (its notes say cur_nimg)


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
