"""R3GAN: built from a case's `args`, in our own networks and recipe; its schedules."""

import re

import torch
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.interop.r3gan import IGNORED, theirs
from largegan.losses import sq_grad_norm
from largegan.nets.r3gan import Discriminator, Generator, TrunkOptions
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Progress, adam, cosine_decay
from largegan.recipes.r3gan import R3GAN, R3GANOptions
from largegan.trainer import Trainer
from tests.golden import procfill
from tests.golden.goldcheck import Case
from tests.golden.stylegan2 import Scripted


def load(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Takes every tensor of the peer's but its filters, which are constants here."""
    names = {name: theirs(module, name) for name in module.state_dict()}
    left = {n for n in state if not re.search(IGNORED, n)} - set(names.values())
    assert not left, f"tensors of the peer that we have no place for: {left}"
    module.load_state_dict({ours: state[peer] for ours, peer in names.items()})


def pair(args: dict, channels: int) -> dict[str, nn.Module]:
    """Both networks of a case, from its `args` alone."""
    shared = {"widths": args["width"], "groups": args["card"], "blocks": args["blocks"]}
    shared |= {"expansion": args["exp"], "kernel": args.get("kernel", 3), "c_dim": args["c_dim"]}
    shared["image_channels"] = channels
    size = (args["res"], args["res"])
    embeds = {net: args.get(f"cemb_{net.lower()}") or args["z_dim"] for net in "GD"}
    trunk = TrunkOptions(**shared)
    return {
        "G": Generator(*size, trunk, z_dim=args["z_dim"], embed_dim=embeds["G"]),
        "D": Discriminator(*size, trunk, embed_dim=embeds["D"]),
    }


class Run:
    """A case's networks and inputs; `batch(i)` is what step i sees."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.z, self.z_step = case.input("z"), case.input("z_step")
        self.real = case.image("real_u8")
        conditional = "in.c" in case.keys
        self.c = case.input("c") if conditional else None
        self.c_step = case.input("c_step") if conditional else [None] * len(self.z_step)
        self.nets = pair(self.args, self.real.shape[2])
        self.reset()

    def reset(self) -> None:
        for key, net in self.nets.items():
            load(net, self.case.state(key))
            net.train().requires_grad_(True).zero_grad()

    def peers_names(self, net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        module = self.nets[net]
        return {theirs(module, n): t.detach().clone() for n, t in tensors.items()}

    def tensors(self, net: str) -> dict[str, Tensor]:
        return self.peers_names(net, dict(self.nets[net].named_parameters()))

    def gradients(self, net: str) -> dict[str, Tensor]:
        named = self.nets[net].named_parameters()
        return self.peers_names(net, {name: p.grad for name, p in named})

    def show(self, name: str, images: Tensor) -> None:
        self.case.check(name, images[: len(self.case.expected(name))])

    def batch(self, i: int) -> dict[str, Tensor]:
        found = {"image": self.real[i]}
        return found if self.c is None else found | {"label": self.c_step[i].argmax(1)}


def check_losses(run: Run) -> None:
    """Images and logits; both losses, an image each, and every parameter's gradient."""
    case, (G, D), softplus = run.case, run.nets.values(), torch.nn.functional.softplus
    with torch.no_grad():
        images = G(run.z, run.c)
        run.show("img", images)
        case.check("logits_fake", D(images, run.c))

    c, real = run.c_step[0], run.real[0].clone().requires_grad_()
    with torch.no_grad():
        fake = G(run.z_step[0], c)
    fake.requires_grad_()
    scores = D(real, c), D(fake, c)
    case.check("logits_real", scores[0])
    case.check("D_rel", scores[0] - scores[1])
    case.check("D_adv", softplus(scores[1] - scores[0]))
    penalties = sq_grad_norm(scores[0], real), sq_grad_norm(scores[1], fake)
    case.check("r1_penalty", penalties[0])
    case.check("r2_penalty", penalties[1])
    adversarial = softplus(scores[1] - scores[0])
    (adversarial + run.args["gamma"] / 2 * sum(penalties)).mean().backward()
    case.check_rows("grad.D.D", run.gradients("D"))

    run.reset()
    c = run.c_step[1]
    difference = D(G(run.z_step[1], c), c) - D(run.real[1], c)
    case.check("G_rel", difference)
    case.check("G_adv", softplus(-difference))
    softplus(-difference).mean().backward()
    case.check_rows("grad.G.G", run.gradients("G"))


class TwoBatches:
    """A stream of the case's real images: one batch a step."""

    def __init__(self, run: Run):
        self.batches = iter([[run.batch(0)], [run.batch(1)]])

    def next_batch(self) -> list[dict]:
        return next(self.batches)


def recipe(run: Run) -> R3GAN:
    """Our recipe with the case's settings, kept constant, and networks; the average at 0.9 G."""
    args, (G, D) = run.args, run.nets.values()
    channels, height, width = run.real.shape[2:]
    made = R3GAN(
        DataSpec(channels, height, width, args["c_dim"]),
        R3GANOptions(z_dim=args["z_dim"], channel_base=32, blocks=1, augment_p=0.0),
    )
    made.curves |= {name: (args[name],) * 2 for name in ("lr", "beta2", "gamma")}
    made.curves["ema_halflife_nimg"] = (args["ema_kimg"] * 1000,) * 2
    made.G, made.D = G, D
    for name, net in run.nets.items():
        made.players[name].nets = [net]
        made.players[name].make_optimizer = adam(args["lr"], 0.0, args["beta2"])
    made.G_ema = Ema(G, halflife_nimg=0.0, rampup=None)
    with torch.no_grad():
        for p in made.G_ema.parameters():
            p.mul_(0.9)
    return made


def check_step(run: Run) -> None:
    """One iteration of the recipe in the trainer: both phases, both optimizers, the average."""
    case, G = run.case, run.nets["G"]
    run.reset()
    before = {net: run.tensors(net) for net in "GD"}
    made = recipe(run)
    engine = Engine(World(0, 1, torch.device("cpu")))
    engine.setup(made)
    trainer = Trainer(
        made,
        engine,
        TwoBatches(run),
        to_device=lambda batch, device: dict(batch),
        batch_size=args_batch(run),
        micro_batch_size=args_batch(run),
    )
    average = run.peers_names("G", dict(made.G_ema.net.named_parameters()))
    with Scripted(list(run.z_step)):
        trainer.iteration()
    means = trainer.tally.means()
    case.check_mean("step_G_adv", means["G.generator/adv"])
    for net in "GD":
        after = run.tensors(net)
        case.check_rows(f"delta.step.{net}", {n: after[n] - before[net][n] for n in after})
    after = run.peers_names("G", dict(made.G_ema.net.named_parameters()))
    case.check_rows("delta.ema.G", {n: after[n] - average[n] for n in after})
    with torch.no_grad():
        run.show("step_img", G(run.z, run.c))


def args_batch(run: Run) -> int:
    return run.real.shape[1]


def check(case: Case) -> None:
    run = Run(case)
    check_losses(run)
    check_step(run)


def check_full(case: Case) -> None:
    """A full-size pair, from the sentence that says how it was built; weights from their names."""
    said = case.meta["build"]
    lists = {name: eval_list(said, name) for name in ("widths", "cardinality")}
    numbers = {w: int(re.search(rf"{w} (\d+)", said)[1]) for w in ("expansion", "z", "c_dim")}
    blocks = int(re.search(r"(\d+) blocks a stage", said)[1])
    shape, c_dim = case.expected("img").shape, numbers["c_dim"]
    shared = {"widths": lists["widths"], "groups": lists["cardinality"], "c_dim": c_dim}
    shared |= {"blocks": [blocks] * len(lists["widths"]), "expansion": numbers["expansion"]}
    shared["image_channels"] = shape[1]
    made = R3GANOptions()  # says how wide embeddings of classes are
    trunk = TrunkOptions(**shared)
    nets = {
        "G": Generator(*shape[2:], trunk, z_dim=numbers["z"], embed_dim=made.g_embed_dim),
        "D": Discriminator(*shape[2:], trunk, embed_dim=lists["widths"][0]),
    }
    for net, module in nets.items():
        count = sum(p.numel() for p in module.parameters())
        assert count == case.meta["num_params"][net], f"{net} has {count} parameters"
        fill = case.meta["procfill"]
        named = {theirs(module, n): t for n, t in module.state_dict().items()}
        load(module, {n: procfill.fill(fill, net, n, t.shape) for n, t in named.items()})
    c = None
    if c_dim:
        c = torch.nn.functional.one_hot(case.input("y").long(), c_dim).float()
    with torch.no_grad():
        image = nets["G"](case.input("z"), c)
        case.check("img", image)
        case.check("logits_fake", nets["D"](image, c))
        case.check("logits_real", nets["D"](case.image("image_u8"), c))


def eval_list(said: str, name: str) -> list[int]:
    """`name [1, 2, 3]` in a sentence."""
    found = re.search(rf"{name} \[([\d, ]+)\]", said)[1]
    return [int(word) for word in found.split(",")]


def check_schedules(case: Case) -> None:
    """Every number of every preset at the images of `at`; the average's weight at each."""
    for preset, said in case.meta["args"].items():
        at = case.expected(f"{preset}_at").tolist()
        case.check(f"{preset}_at", torch.tensor(at, dtype=torch.float64))
        for name, (base, final) in said["base_final"].items():
            extra = extras(said.get("extra", {}), name)
            found = [
                cosine_decay(base, final, t, total_nimg=said["total_nimg"], **extra) for t in at
            ]
            case.check(f"{preset}_{name}", torch.tensor(found, dtype=torch.float64))
            if name == "ema_nimg":
                betas = [Ema(nn.Identity(), halflife_nimg=h, rampup=None) for h in found]
                betas = [ema.beta(Progress(), said["batch"]) for ema in betas]
                case.check(f"{preset}_ema_beta", torch.tensor(betas, dtype=torch.float64))


def extras(extra: dict, name: str) -> dict[str, float]:
    """Warm-up and hold of one number, from settings for all or for each."""
    own = extra.get(name, extra)
    ours = {"warmup_value": "warmup_value", "warmup_nimg": "warmup_nimg"}
    ours |= {"hold_base_value_nimg": "hold_nimg", "hold_nimg": "hold_nimg"}
    return {ours[key]: value for key, value in own.items() if not isinstance(value, dict)}
