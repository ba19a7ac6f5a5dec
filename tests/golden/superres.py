"""Super-resolution of MMagic, BasicSR and Lornatang: a case's `args` make our recipe.

Whole optimization steps go through the trainer, as training does.
"""

import math
import re

import torch
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.nets.content import Features, vgg19
from largegan.nets.unet_discriminator import UNetDiscriminator
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Phase, Progress, Recipe
from largegan.recipes.esrgan import ESRGAN, ESRGANOptions
from largegan.recipes.srgan import SRGAN, SRGANOptions
from largegan.recipes.srresnet import SRResNet as PixelStage
from largegan.recipes.srresnet import SRResNetOptions, unit
from largegan.trainer import Trainer
from tests.golden import procfill
from tests.golden.goldcheck import Case
from tests.golden.superres_peers import (
    LORNATANGS,
    MMAGICS,
    START,
    construct,
    fill,
    from_args,
    names_of,
)
from tests.recipes.common import keep_gradients


class Run:
    """A case's networks in our recipe, and what the outputs are made of."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.lr, self.hr = (case.input(f"{k}_u8").float() / 255 for k in ("lr", "hr"))
        self.peer = case.meta["peer"].split("/")[0]
        self.relativistic = self.args.get("relativistic", "ESRGAN" in case.meta["classes"])
        self.recipe = self.build()

    def build(self) -> Recipe:
        a = self.args
        kind, options = (ESRGAN, ESRGANOptions) if self.relativistic else (SRGAN, SRGANOptions)
        weights = {name: float(a.get(f"{name}_weight", 0)) for name in ("pixel", "gan")}
        content = a.get("perceptual_weight", a.get("content_weight", 0.0))
        if a.get("perceptual"):
            raise NotImplementedError("BasicSR's perceptual loss")
        shape = self.hr.shape[1:]
        recipe = kind(
            DataSpec(*shape),
            options(
                scale=shape[1] // self.lr.shape[2],
                generator="srresnet", blocks=1, channels=1, d_channels=1, discriminator="unet",
                content="random:vgg19",
                pixel="mse" if self.peer == "Lornatang" else "l1",
                content_distance="mse" if self.peer == "Lornatang" else "l1",
                pixel_weight=weights["pixel"],
                content_weight=content,
                gan_weight=a.get("adversarial_weight", weights["gan"]),
                gan_loss=a.get("gan_type", "vanilla"),
                lr=a["lr"],
            ),
        )  # fmt: skip
        recipe.G, recipe.D = self.generator(), self.discriminator()
        recipe.G_ema = Ema(recipe.G)
        for player, net in (("G", recipe.G), ("D", recipe.D)):
            recipe.players[player].nets = [net]
            recipe.players[player].make_optimizer.keywords["betas"] = tuple(a["betas"])
        recipe.sources = lambda batch: self.lr * 2 - 1
        if content:
            recipe.content.network = self.content()
        self.reset(recipe)
        return recipe

    def generator(self) -> nn.Module:
        channels, keywords = self.hr.shape[1], {}
        if self.peer == "XPixelGroup":
            return construct(self.peer, self.args["generator"])
        keywords = LORNATANGS if self.peer == "Lornatang" else MMAGICS
        text = from_args(self.args, self.args["generator"], keywords)
        return construct(self.peer, text, image_channels=channels)

    def discriminator(self) -> nn.Module:
        if self.peer == "XPixelGroup":
            return construct(self.peer, self.args["discriminator"])
        more = {"size": self.hr.shape[-1], "image_channels": self.hr.shape[1]}
        if self.peer == "Lornatang":
            text = from_args(self.args, "DiscriminatorForVGG", {"channels": "D_channels"})
        else:
            text = from_args(self.args, "ModifiedVGG", {"mid_channels": "D_mid_channels"})
        return construct(self.peer, text, **more)

    def content(self) -> nn.Module:
        last = self.args.get("perceptual_layer")
        if last is None:
            last = int(self.args["content_node"].removeprefix("features."))
        network = vgg19(last)
        for name, tensor in network.state_dict().items():
            made = procfill.fill(self.case.meta["procfill"], "vgg", name, tensor.shape)
            tensor.copy_(made)
        return Features(network)

    def reset(self, recipe: Recipe | None = None) -> None:
        recipe = recipe or self.recipe
        for peer, net in (("G", recipe.G), ("D", recipe.D)):
            fill(self.case, peer, net)
            net.train().requires_grad_(True)
        recipe.zero_grad()

    def batch(self) -> dict[str, Tensor]:
        return {"image": self.hr * 2 - 1}

    def fake(self) -> Tensor:
        return self.recipe.G(self.lr)

    def gradients(self, net: str) -> dict[str, Tensor]:
        found = dict(getattr(self.recipe, net).named_parameters())
        return {peer: found[ours].grad for peer, ours in names_of(self.net(net)).items()
                if ours in found}  # fmt: skip

    def net(self, net: str) -> nn.Module:
        return getattr(self.recipe, net)

    def tensors(self, net: str, names: str | None = None) -> dict[str, Tensor]:
        state, ours = self.net(net).state_dict(), names_of(self.net(net))
        return {n: state[ours[n]].clone() for n in self.case.meta["names"][names or net]}

    def check_grads(self, loss: Tensor, output: str) -> None:
        """Gradients of a loss for the network that the output's name ends in, from zero."""
        self.recipe.zero_grad()
        loss.backward()
        self.case.check_rows(output, self.gradients(output.split(".")[-1]))

    def check_flat(self, output: str, net: str, names: str) -> None:
        """Buffers, one after the other."""
        found = self.tensors(net, names).values()
        self.case.check(output, torch.cat([b.flatten() for b in found]))

    def trainer(self, recipe: Recipe | None = None) -> Trainer:
        self.reset()
        recipe = recipe or self.recipe
        engine = Engine(World(0, 1, torch.device("cpu")))
        engine.setup(recipe)
        recipe.to(memory_format=torch.contiguous_format)  # sums in the peer's order
        size = len(self.hr)
        options = {"batch_size": size, "micro_batch_size": size}
        return Trainer(recipe, engine, self, to_device=lambda b, device: b, **options)

    def next_batch(self) -> list[dict[str, Tensor]]:
        return [self.batch()]


def check(case: Case) -> None:
    run = Run(case)
    {"open-mmlab": check_mmagic, "Lornatang": check_lornatang, "XPixelGroup": check_basicsr}[
        run.peer
    ](run)


@torch.no_grad()
def check_forward(run: Run) -> None:
    case, recipe = run.case, run.recipe
    recipe.G.eval(), recipe.D.eval()
    fake = run.fake()
    case.check("sr_eval" if "sr_eval" in case.outputs() else "sr", fake[0, :, ::2, ::2])
    if "logits_eval_real" in case.outputs():
        case.check("logits_eval_real", recipe.D(run.hr))
        case.check("logits_eval_fake", recipe.D(fake))
    if "perceptual_feat" in case.outputs():
        case.check("perceptual_feat", recipe.content.network(fake)[0, ::8])
    run.reset()


@torch.no_grad()
def check_train_forward(run: Run) -> None:
    case, recipe = run.case, run.recipe
    case.check("logits_train_real", recipe.D(run.hr))
    if "bn_D_after_real" in case.outputs():
        run.check_flat("bn_D_after_real", "D", "D_bn")
    if "sr_train" in case.outputs():
        case.check("sr_train", run.fake()[0, :, ::2, ::2])
        run.check_flat("bn_G_after_train", "G", "G_bn")
    run.reset()


def check_mmagic(run: Run) -> None:
    case, recipe = run.case, run.recipe
    check_forward(run)
    check_train_forward(run)
    batch = run.batch()
    terms = recipe.generator(batch, START)
    for peer, ours in (("pix", "pixel"), ("perceptual", "content"), ("gan", "gan")):
        case.check(f"G_loss_{peer}", terms[ours])
    run.check_grads(sum(terms.values()), "grad.G_total.G")
    run.reset()
    terms = recipe.discriminator(batch, START)
    case.check("D_loss_d_real", terms["real"])
    case.check("D_loss_d_fake", terms["fake"])
    run.check_grads(sum(terms.values()), "grad.D_total.D")
    check_mmagics_steps(run)


def check_mmagics_steps(run: Run) -> None:
    case, trainer = run.case, run.trainer()
    if run.relativistic:  # the peer runs its discriminator on the fakes a second time
        run_again(run.recipe)
    start = {net: run.tensors(net) for net in "GD"}
    for step, name in enumerate(("delta.step", "delta.step2")):
        trainer.tally.sums.clear(), trainer.tally.counts.clear()
        trainer.iteration()
        told = trainer.tally.means()
        for peer, ours in (("pix", "pixel"), ("perceptual", "content"), ("gan", "gan")):
            case.check(f"step{step}_loss_{peer}", torch.tensor(told[f"G.generator/{ours}"]))
        for side in ("real", "fake"):
            loss = torch.tensor(told[f"D.discriminator/{side}"])
            case.check(f"step{step}_loss_d_{side}", loss)
        for net, old in start.items():
            new = run.tensors(net)
            case.check_rows(f"{name}.{net}", {n: new[n] - old[n] for n in old})
        if step == 0:
            run.check_flat("step_bn_D", "D", "D_bn")


def run_again(recipe: Recipe) -> None:
    """A third pass of the discriminator in its own phase, which its running averages see."""
    once = recipe.discriminator

    def discriminator(batch, at):
        terms = once(batch, at)
        with torch.no_grad():
            recipe.D(batch["fake"])
        return terms

    recipe.phases[1] = Phase("D", discriminator, fresh=False)


def check_basicsr(run: Run) -> None:
    case, recipe = run.case, run.recipe
    check_forward(run)
    pick = (0, slice(None), slice(None, None, 4), slice(None, None, 4))
    maps = isinstance(recipe.D, UNetDiscriminator)

    def logits(x: Tensor) -> Tensor:
        found = recipe.D(x)
        return found[pick] if maps else found

    with torch.no_grad():
        case.check("logits_train_real", logits(run.hr))
        if "u_D_after_train" in case.outputs():
            run.check_flat("u_D_after_train", "D", "D_u")
        recipe.D.eval()
        case.check("logits_eval_real_after_train", logits(run.hr))
    trainer = run.trainer()
    if run.relativistic:
        as_published(recipe)
    start = {net: run.tensors(net) for net in "GD"}
    average = halved(recipe.G, run.args["ema_decay"], len(run.hr))
    seen = []
    recipe.D.register_forward_hook(lambda module, inputs, output: seen.append(output.mean()))
    micro = trainer.next_micro_batches()
    keep_gradients(trainer.engine)
    for index, net in enumerate("GD"):
        trainer.run_phase(recipe.phases[index], micro, (index, 0))
        output = next(o for o in case.outputs() if re.fullmatch(rf"grad\..*\.{net}", o))
        case.check_rows(output, run.gradients(net))
        new = run.tensors(net)
        case.check_rows(f"delta.step.{net}", {n: new[n] - start[net][n] for n in new})
    told = trainer.tally.means()
    case.check("step_l_g_gan", torch.tensor(told["G.generator/gan"]))
    case.check("step_l_g_pix", torch.tensor(told["G.generator/pixel"]))
    for side, logits in zip(("fake", "real"), reversed(seen[-2:]), strict=True):
        case.check(f"step_l_d_{side}", torch.tensor(told[f"D.discriminator/{side}"]))
        case.check(f"step_out_d_{side}", logits)
    for kind in ("u", "bn"):
        if f"step_{kind}_D" in case.outputs():
            run.check_flat(f"step_{kind}_D", "D", f"D_{kind}")
    names, before = names_of(recipe.G), average.net.state_dict()
    before = {n: before[names[n]].clone() for n in start["G"]}
    average.update(recipe.G, Progress(1, len(run.hr)), len(run.hr))
    after = average.net.state_dict()
    case.check_rows("delta.ema.G", {n: after[names[n]] - before[n] for n in before})


def as_published(recipe: Recipe) -> None:
    """Spectral norms move in every pass, so here the second pass of the fakes counts."""

    def discriminator(batch, at):
        first = recipe.D(batch["fake"]).mean().detach()
        on_real = recipe.D(unit(batch["image"]))
        real = recipe.gan.real(on_real - first) / 2
        again = recipe.D(batch["fake"])
        return {"real": real, "fake": recipe.gan.fake(again - on_real.mean().detach()) / 2}

    recipe.phases[1] = Phase("D", discriminator, fresh=False)


def halved(net: nn.Module, decay: float, batch: int) -> Ema:
    """An average that keeps `decay` per step, and starts at half the weights of `net`."""
    average = Ema(net, halflife_nimg=batch * math.log(0.5) / math.log(decay), rampup=None)
    with torch.no_grad():
        for parameter in average.net.parameters():
            parameter.mul_(0.5)
    return average


def check_lornatang(run: Run) -> None:
    case, recipe = run.case, run.recipe
    check_forward(run)
    check_train_forward(run)
    for name in ("pixel", "content", "adversarial"):
        run.reset()
        loss = isolated(run, name)
        case.check(f"loss_{name}", loss)
        run.check_grads(loss, f"grad.G_{name}.G")
    run.reset()
    with torch.no_grad():
        fake = run.fake()
    terms = recipe.discriminator(run.batch() | {"fake": fake}, START)
    for side in ("real", "fake"):
        case.check(f"loss_D_{side}", terms[side])
    run.check_grads(sum(terms.values()), "grad.D.D")
    check_pretraining(run)
    check_lornatangs_step(run, "step")
    recipe.content.weight = 0.0  # as its content loss is written, no gradient flows through it
    check_lornatangs_step(run, "step_asis")


def isolated(run: Run, name: str) -> Tensor:
    """One loss of the generator with weight 1."""
    recipe, fake = run.recipe, run.fake()
    if name == "pixel":
        return recipe.pixel(fake, run.hr)
    if name == "content":
        return recipe.content(fake, run.hr) / recipe.content.weight
    return recipe.gan.generator(recipe.D(fake))


def check_pretraining(run: Run) -> None:
    """A step on pixels alone, by the recipe of the first stage."""
    shape = run.hr.shape[1:]
    options = SRResNetOptions(scale=shape[1] // run.lr.shape[2], channels=1, lr=run.args["lr"])
    stage = PixelStage(DataSpec(*shape), options)
    stage.G, stage.sources = run.recipe.G, run.recipe.sources
    stage.G_ema = Ema(stage.G)
    stage.players["G"].nets = [stage.G]
    stage.players["G"].make_optimizer.keywords["betas"] = tuple(run.args["betas"])
    trainer = run.trainer(stage)
    before = run.tensors("G")
    trainer.iteration()
    new = run.tensors("G")
    run.case.check_rows("delta.pretrain.G", {n: new[n] - before[n] for n in before})


def check_lornatangs_step(run: Run, name: str) -> None:
    case, trainer = run.case, run.trainer()
    start = {net: run.tensors(net) for net in "GD"}
    trainer.iteration()
    if name == "step":
        told = trainer.tally.means()
        terms = {"pixel": "pixel", "content": "content", "adversarial": "gan"}
        for peer, ours in terms.items():
            case.check(f"step_loss_{peer}", torch.tensor(told[f"G.generator/{ours}"]))
        total = sum(told[f"G.generator/{ours}"] for ours in terms.values())
        case.check("step_loss_G", torch.tensor(total))
        for side in ("real", "fake"):
            loss = torch.tensor(told[f"D.discriminator/{side}"])
            case.check(f"step_loss_D_{side}", loss)
        for net in "GD":
            run.check_flat(f"step_bn_{net}", net, f"{net}_bn")
    for net, old in start.items():
        new = run.tensors(net)
        case.check_rows(f"delta.{name}.{net}", {n: new[n] - old[n] for n in old})


def check_full(case: Case) -> None:
    """Published sizes by the words of `build`, weights from names: one picture and its logits."""
    peer = case.meta["peer"].split("/")[0]
    nets = {n: construct(peer, text.split(":")[0]).eval() for n, text in case.meta["build"].items()
            if n in "GD"}  # fmt: skip
    for name, net in nets.items():
        fill(case, name, net)
        assert sum(p.numel() for p in net.parameters()) == case.meta["num_params"][name]
        assert len(names_of(net)) == case.meta["num_state_tensors"][name]
    inputs = {"G": "lr_u8", "D": "hr_u8"}
    for output in case.outputs():
        kind, _, step = output.partition("_s")
        net = "G" if kind == "sr" else "D"
        with torch.no_grad():
            found = nets[net](case.input(inputs[net]).float() / 255)
        case.check(output, found[..., :: int(step), :: int(step)] if step else found)
