"""Projected GAN's released code: from a case's `args`, in our own networks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.augment import diffaugment
from largegan.ema import Ema
from largegan.interop.projected_gan import rules as generator_names
from largegan.losses import hinge_d, hinge_g
from largegan.nets.fastgan import Generator
from largegan.nets.pretrained import Backbone, architecture
from largegan.nets.projected import Discriminators, Projector
from largegan.recipe import Progress, adam
from tests.golden import procfill
from tests.golden.goldcheck import Case
from tests.golden.precise import double, read, read_image

TABLE_ROWS = 1000  # of class embeddings, however many classes there are
MIXING = ("none", "channels", "scales")
SMALL = 224  # what images are resized to where a case says so
EMA_HALFLIFE = 50
# As the peer defaults them where a case leaves them out.
GENERATOR = {"ngf": 128, "cond": 0, "lite": False}
JUDGES = {"cout": 64, "expand": True, "proj_type": 2, "num_discs": 4, "separable": False,
          "cond": False, "patch": False}  # fmt: skip

# The backbone's children, in the peer's layers.
LAYERS = {
    "conv_stem": "layer0.0", "bn1": "layer0.1", "blocks.0": "layer0.3", "blocks.1": "layer0.4",
    "blocks.2": "layer1.0", "blocks.3": "layer2.0", "blocks.4": "layer2.1",
    "blocks.5": "layer3.0", "blocks.6": "layer3.1",
}  # fmt: skip


def judge_names(patch: bool) -> list[tuple[str, str]]:
    inner = r"main.0.main" if patch else "main"
    return [
        (r"^scales\.(\d+)\.", r"discriminator.mini_discs.\1."),
        (r"\.down\.(\d+)\.conv\.", rf".main.\1.{inner}.0."),
        (r"\.down\.(\d+)\.(depthwise|pointwise)\.", rf".main.\1.{inner}.0.\2."),
        (r"\.down\.(\d+)\.norm\.", rf".main.\1.{inner}.1."),
        (r"\.down\.(\d+)\.patch\.", r".main.\1.main.1."),
        (r"\.down\.(\d+)\.patch_norm\.", r".main.\1.main.2."),
        (r"\.query\.embed\.", ".embed."),
        (r"\.query\.project\.", ".embed_proj.0."),
    ]


class Peer:
    """One of our networks under the peer's names; every tensor is a view of ours."""

    def __init__(self, module: nn.Module, rename):
        self.module, self.state, self.parameters = module, {}, {}
        spectral = {n for n, m in module.named_modules() if hasattr(m, "normalized_weight")}
        for name, tensor in module.state_dict().items():
            layer, _, kind = name.rpartition(".")
            if kind in ("sigma", "fixed"):  # ours alone: a note, and noise for samples
                continue
            if layer in spectral:
                kind = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}.get(kind, kind)
            peer = rename(f"{layer}.{kind}")
            self.state[peer] = tensor
            if name in dict(module.named_parameters()):
                self.parameters[peer] = module.get_parameter(name)
        self.spare: dict[str, Tensor] = {}  # of layers that the peer makes and does not use

    @torch.no_grad()
    def fill(self, case: Case, net: str, shapes: dict[str, list[int]] | None = None) -> None:
        for name, mine in self.state.items():
            value = procfill.fill(case.meta["procfill"], net, name, mine.shape)
            if "weight_" in name and name[-1] in "uv":
                value = procfill.fill(case.meta["procfill"], net, name, mine.shape[1:])
            if value is not None:
                mine.copy_(value.reshape(mine.shape))
        for name in set(shapes or {}) - set(self.state):
            shape = torch.Size(shapes[name])
            self.spare[name] = procfill.fill(case.meta["procfill"], net, name, shape)

    def tensors(self, names: list[str]) -> dict[str, Tensor]:
        """Copies by the peer's names."""
        return {name: self.tensor(name).clone() for name in names}

    def tensor(self, name: str) -> Tensor:
        return self.spare[name] if name in self.spare else self.state[name]

    def gradients(self, names: list[str]) -> dict[str, Tensor]:
        found = {}
        for name in names:
            p = self.parameters.get(name)
            found[name] = torch.zeros(1) if p is None or p.grad is None else p.grad
        return found

    def joined(self, names: list[str], prefix: str = "") -> Tensor:
        return torch.cat([self.tensor(prefix + name).flatten() for name in names])


def renamer(names: list[tuple[str, str]]):
    def rename(name: str) -> str:
        for pattern, new in names:
            name = re.sub(pattern, new, name)
        if name.endswith((".logits.weight_orig", ".logits.weight_u", ".logits.weight_v")):
            return name.replace(".logits.", ".LAST.")
        return name

    return rename


def generator(args: dict, size: int) -> Peer:
    o = GENERATOR | args["G"]
    conditional = bool(o["cond"])
    net = Generator(
        size,
        z_dim=args["z_dim"],
        channels=o["ngf"],
        num_classes=TABLE_ROWS if conditional else 0,
        lite=bool(o["lite"]),
    )
    return Peer(net, renamer(generator_names(conditional, bool(o["lite"]))))


class Judges:
    """The backbone, the mixing and the discriminators of a case."""

    def __init__(self, args: dict):
        o = JUDGES | args["D"]["backbone_kwargs"]
        if args["D"]["diffaug"]:
            raise NotImplementedError("the peer's own random augmentation")
        self.enlarge = args["D"]["interp224"]
        self.backbone = Backbone("random:efficientnet_lite0")
        self.backbone.use(architecture(self.backbone.name, self.backbone.setting))
        self.projector = Projector(
            self.backbone.channels,
            features=o["cout"],
            expand=o["expand"],
            mixing=MIXING[o["proj_type"]],
        )
        self.D = Discriminators(
            self.projector,
            count=o["num_discs"],
            num_classes=TABLE_ROWS if o["cond"] else 0,
            separable=o["separable"],
            patch=o["patch"],
        )
        self.parts = {
            "backbone": Peer(self.backbone.network, backbone_name),
            "projector": Peer(self.projector, mixing_name),
        }
        self.peer = Peer(self.D, self.last_layers(o))

    def last_layers(self, o: dict):
        """The last layer is called by its place among those before it, or `cls`."""
        rename = renamer(judge_names(o["patch"]))

        def named(name: str) -> str:
            scale = int(name.split(".")[1])
            last = "cls" if o["cond"] else f"main.{len(self.D.scales[scale].down)}"
            return rename(name).replace(".LAST.", f".{last}.")

        return named

    def fill(self, case: Case) -> None:
        shapes = case.meta["state_shapes"]["D"]
        for peer in (*self.parts.values(), self.peer):
            peer.fill(case, "D")
        ours = {n for p in (*self.parts.values(), self.peer) for n in p.state}
        left = {n for n in shapes if not n.endswith("num_batches_tracked")} - ours
        assert not left, f"tensors of the peer that we have no place for: {left}"

    def maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The backbone's, and the mixed ones."""
        if self.enlarge:
            images = F.interpolate(images, (SMALL, SMALL), mode="bilinear", align_corners=False)
        found = self.backbone(images)
        return found, self.projector(found)

    def __call__(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.D(self.maps(images)[1], labels)


def backbone_name(name: str) -> str:
    for child, layer in LAYERS.items():
        if name.startswith(child + "."):
            return f"feature_network.pretrained.{layer}{name.removeprefix(child)}"
    return name  # what follows the last map, which the peer does not have


def mixing_name(name: str) -> str:
    kind, i, rest = name.split(".")
    layer = {"across_channels": f"layer{i}_ccm", "across_scales": f"layer{i}_csm.out_conv"}[kind]
    return f"feature_network.scratch.{layer}.{rest}"


class Run:
    def __init__(self, case: Case):
        self.case, self.args, self.names = case, case.meta["args"], case.meta["names"]
        self.judges = Judges(self.args)
        self.G = generator(self.args, self.args["res"]) if self.args["G"] is not None else None
        self.real = self.enlarged("real_u8")
        self.given = None if self.G else self.enlarged("fake_u8")
        self.z = read(case, "z_step") if self.G else None
        conditional = self.args["c_dim"] > 0
        self.y = case.input("y") if conditional else None
        self.y_step = case.input("y_step") if conditional else [None, None]
        self.calls = 0
        self.reset()

    def enlarged(self, name: str) -> Tensor:
        """An image input with every pixel repeated until it has the case's size."""
        image = read_image(self.case, name)
        factor = self.args["res"] // image.shape[-1]
        return image.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    def reset(self) -> None:
        """Back to the state before anything ran, training mode, no gradients, first noise."""
        self.judges.fill(self.case)
        self.judges.D.train().requires_grad_(True).zero_grad()
        if self.G:
            self.G.fill(self.case, "G", self.case.meta["state_shapes"]["G"])
            self.G.module.train().requires_grad_(True).zero_grad()
        self.calls = 0

    @contextmanager
    def scripted(self) -> Iterator[None]:
        """Within it noise is the peer's formula of its place and of how often it was asked for."""

        def noise(*shape: int, **_) -> Tensor:
            place = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
            values = torch.cos(0.37 * place + 0.11 * self.calls)
            self.calls += 1
            return values.to(torch.get_default_dtype()).view(shape)

        with mock.patch.object(torch, "randn", noise):
            yield

    def fake(self, step: int) -> Tensor:
        """New images, or those that the case gives."""
        if self.G is None:
            return self.given
        with self.scripted():
            return self.G.module(self.z[step], self.classes(step), fresh_noise=True)

    def classes(self, step: int) -> Tensor | None:
        return self.y_step[step] if self.G.module.embed is not None else None

    def discriminator_logits(self, step: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            fake = self.fake(step)
        on_fake = self.judges(fake, self.y_step[step])
        return self.judges(self.real, self.y), on_fake


def shown(x: Tensor) -> Tensor:
    return x[..., ::4, ::4]


@torch.no_grad()
def check_forward(run: Run) -> None:
    case, judges = run.case, run.judges
    found, mixed = judges.maps(run.real)
    for i, x in enumerate(found):
        step = 4 if i < 2 else 2
        case.check(f"backbone_{i}", x[:1, ::4, ::step, ::step])
    for i, x in enumerate(mixed):
        step = 8 if x.shape[-1] > 48 else 4
        case.check(f"proj_{i}", x[:1, ::4, ::step, ::step])
    run.reset()
    fake = run.given
    if run.G:
        fake = run.fake(0)
        case.check("img_train", shown(fake))
        case.check("u_G_after_train", run.G.joined(run.names["G_u"]))
        case.check("bn_G_after_train", run.G.joined(run.names["G_bn"]))
        run.G.module.eval()
        run.calls = 0
        case.check("img_eval_after_train", shown(run.fake(0))[:1])
    check_logits(run, fake)


def check_logits(run: Run, fake: Tensor) -> None:
    case, judges, names = run.case, run.judges, run.names
    case.check("logits_train_real", judges(run.real, run.y))
    case.check("u_D_after_train", judges.peer.joined(names["D_u"]))
    case.check("bn_D_after_train", judges.peer.joined(names["D_bn"], "discriminator."))
    case.check("logits_train_fake", judges(fake, run.y_step[0]))
    judges.D.eval()
    case.check("logits_eval_real", judges(run.real, run.y))


def check_losses(run: Run) -> None:
    """Each phase's loss and gradients, from the initial state."""
    case, judges = run.case, run.judges
    run.reset()
    on_real, on_fake = run.discriminator_logits(1)
    case.check("logits_D_fake", on_fake)
    case.check("logits_D_real", on_real)
    loss = hinge_d(on_real, on_fake)
    case.check("loss_D", loss)
    loss.backward()
    case.check_rows("grad.Dmain.D", judges.peer.gradients(run.names["D"]))
    run.reset()
    with torch.no_grad():
        fake = run.fake(0)
    fake = fake.clone().requires_grad_()
    loss = hinge_g(judges(fake, run.y_step[0]))
    case.check("loss_G_on_fake", loss)
    (gradient,) = torch.autograd.grad(loss, fake)
    case.check("grad_image", shown(gradient)[:1])


def check_step(run: Run) -> None:
    """G's step, then D's, and one step of an average that stood at half of G."""
    case, args, names, judges = run.case, run.args, run.names, run.judges
    run.reset()
    if run.G:
        start = run.G.tensors(names["G"])
        optimizer = adam(args["g_lr"], 0.0, 0.99)(run.G.module.parameters())
        judges.D.requires_grad_(False)
        loss = hinge_g(judges(run.fake(0), run.y_step[0]))
        case.check("step_loss_G", loss)
        loss.backward()
        case.check_rows("grad.Gboth.G", run.G.gradients(names["G"]))
        optimizer.step()
        judges.D.requires_grad_(True)
    before = judges.peer.tensors(names["D"])
    optimizer = adam(args["d_lr"], 0.0, 0.99, lazy=16)(judges.D.parameters())
    loss = hinge_d(*run.discriminator_logits(1))
    case.check("step_loss_D", loss)
    loss.backward()
    optimizer.step()
    case.check_rows("delta.step.D", moved(judges.peer, names["D"], before))
    case.check("step_u_D", judges.peer.joined(names["D_u"]))
    if run.G:
        case.check_rows("delta.step.G", moved(run.G, names["G"], start))
        case.check_rows("delta.ema.G", averaged(run, start))
        case.check("step_u_G", run.G.joined(names["G_u"]))
        case.check("step_bn_G", run.G.joined(names["G_bn"]))


def moved(peer: Peer, names: list[str], before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t - before[name] for name, t in peer.tensors(names).items()}


@torch.no_grad()
def averaged(run: Run, start: dict[str, Tensor]) -> dict[str, Tensor]:
    ema = Ema(run.G.module, halflife_nimg=EMA_HALFLIFE, rampup=None, average_buffers=False)
    mine = dict(zip(run.G.parameters, ema.net.parameters(), strict=True))
    for name, p in mine.items():
        p.copy_(start[name] / 2)
    count = run.args["N"]
    ema.update(run.G.module, Progress(1, count), count)
    kept = 0.5 ** (count / EMA_HALFLIFE)
    spare = {n: (1 - kept) * t / 2 for n, t in run.G.spare.items() if t is not None}
    return {name: p - start[name] / 2 for name, p in mine.items()} | spare


def check(case: Case) -> None:
    if case.meta["args"].get("op") == "diffaug":
        return check_augmentation(case)
    run = Run(case)
    if run.G:
        check_spare(run)
    check_forward(run)
    with double():
        run = Run(case)
        check_losses(run)
        check_step(run)
    return None


def check_spare(run: Run) -> None:
    """At 128 pixels, and only there, the peer makes two blocks that it does not use."""
    prefixes = {name.split(".")[1] for name in run.G.spare}
    assert prefixes == ({"feat_256", "se_256"} if run.args["res"] == 128 else set())


@torch.no_grad()
def check_full(case: Case) -> None:
    """FastGAN at 256 pixels, 106 million parameters, weights made from their names."""
    found = re.search(r"z_dim=(\d+).*img_resolution=(\d+).*'ngf': (\d+)", case.meta["build"])
    z_dim, size, channels = map(int, found.groups())
    peer = generator({"z_dim": z_dim, "G": {"ngf": channels}}, size)
    peer.fill(case, "G")
    net = peer.module.eval()
    for layer in net.modules():
        if hasattr(layer, "normalized_weight"):
            layer.train()
    noise = Run.scripted(calls := mock.Mock(calls=0))
    with noise:
        image = net(case.input("z"), fresh_noise=True)
    assert calls.calls
    case.check("img_s4", shown(image))


def check_augmentation(case: Case) -> None:
    """DiffAugment with the draws of the file."""
    x = case.image("x_u8").requires_grad_()

    def strength(name: str) -> Tensor:
        return case.input(name).reshape(-1, 1, 1, 1)

    def place(name: str) -> Tensor:
        return case.input(name).reshape(-1, 1)

    def color(x: Tensor) -> Tensor:
        x = diffaugment.brightness(x, strength("brightness"))
        x = diffaugment.saturation(x, strength("saturation"))
        return diffaugment.contrast(x, strength("contrast"))

    def translation(x: Tensor) -> Tensor:
        return diffaugment.translated(x, place("translation_x"), place("translation_y"))

    def cut(x: Tensor, which: str, ratio: float) -> Tensor:
        return diffaugment.cut(x, place(f"cut_x_{which}"), place(f"cut_y_{which}"), ratio)

    for name in ("brightness", "saturation", "contrast"):
        case.check(name, getattr(diffaugment, name)(x, strength(name))[:1])
    case.check("color", color(x)[:1])
    case.check("translation", translation(x)[:1])
    case.check("cutout_02", cut(x, "pg", 0.2)[:2])
    case.check("cutout_05", cut(x, "orig", 0.5)[:2])
    everything = cut(translation(color(x)), "pg", 0.2)
    case.check("all", everything[-1:])
    waves = torch.cos(0.05 * torch.arange(x.numel(), dtype=torch.float64)).to(x).view_as(x)
    (gradient,) = torch.autograd.grad((everything * waves).sum(), x)
    case.check("grad_all", gradient[-1:])
