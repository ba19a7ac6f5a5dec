"""LAPGAN: torch/image's pyramid, and one level of Denton et al. built from a case's `args`."""

import torch
from torch import Tensor

from largegan.layers.resize import pyramid_scale
from largegan.losses import minimax_d, non_saturating_g
from largegan.recipe import DataSpec, Progress
from largegan.recipes.lapgan import LAPGAN, LAPGANOptions
from tests.golden import procfill
from tests.golden.goldcheck import Case


class Run:
    """The upper of two levels, with the case's weights."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.fine, self.noise = case.image("fine_u8"), case.input("noise")
        classes = self.args.get("num_classes") or 0
        self.recipe = LAPGAN(
            DataSpec(self.fine.shape[1], *self.fine.shape[2:], num_classes=classes),
            LAPGANOptions(
                base=self.args["coarse"],
                channels=self.args["hidden"],
                dropout=0.0,
                g_width=1,
                d_width=1,
                optimizer="sgd",
                lr=self.args["lr"],
                momentum=self.args["momentum"],
            ),
        )
        self.level = self.recipe.levels[1]
        labels = case.input("y").long() if classes else [None, None]
        self.labels = [None if y is None else y.flatten() for y in labels]
        self.start: dict[str, dict[str, Tensor]] = {}
        for net in "GD":
            self.fill(net)

    def fill(self, net: str) -> None:
        module, shapes = getattr(self.level, net), self.case.meta["state_shapes"][net]
        names = {ours.replace("classes.linear", "classes"): ours for ours in module.state_dict()}
        assert set(names) == set(shapes)
        stored = self.case.state(net)
        made = {
            name: stored[name]
            if name in stored
            else procfill.fill(self.case.meta["procfill"], net, name, torch.Size(shape))
            for name, shape in shapes.items()
        }
        module.load_state_dict({names[name]: tensor for name, tensor in made.items()})
        self.start[net] = made

    def tensors(self, net: str, *, grad: bool = False) -> dict[str, Tensor]:
        found = getattr(self.level, net).named_parameters()
        return {
            name.replace("classes.linear", "classes"): p.grad if grad else p.detach()
            for name, p in found
        }

    def optimizer(self, net: str) -> torch.optim.Optimizer:
        player = self.recipe.players[f"{net}1"]
        optimizer = player.make_optimizer(player.parameters())
        optimizer.param_groups[0].update(player.schedule(Progress()))
        return optimizer


def check(case: Case) -> None:
    run = Run(case)
    check_pyramid(run)
    check_networks(run)
    check_steps(run)
    check_sample(run)


def check_pyramid(run: Run) -> None:
    case, args = run.case, run.args
    coarse = pyramid_scale(run.fine, (args["coarse"],) * 2)
    case.check("down", coarse[: len(case.expected("down"))])
    detail, up = run.level.split(run.fine)
    case.check("up", up[: len(case.expected("up"))])
    case.check("diff", detail[: len(case.expected("diff"))])
    odd = case.image("odd_u8")
    h, w = odd.shape[-2:]
    case.check("scale_odd_down", pyramid_scale(odd, (h * 3 // 7 + 1, w * 2 // 5 + 1))[0])
    case.check("scale_odd_up", pyramid_scale(odd, (h * 2 - 3, w * 3 // 2 + 1))[0, :1])


@torch.no_grad()
def check_networks(run: Run) -> None:
    case, level = run.case, run.level
    detail, coarse = level.split(run.fine)
    fake = level.G(run.noise[0], coarse, run.labels[0])
    case.check("residual", fake[: len(case.expected("residual"))])
    case.check("logits_real", level.D(detail, coarse, run.labels[0]))
    case.check("logits_fake", level.D(fake, coarse, run.labels[0]))


@torch.no_grad()
def check_sample(run: Run) -> None:
    """By the weights after both steps."""
    case = run.case
    image = pyramid_scale(run.fine, (run.args["coarse"],) * 2)
    wanted, noise = case.expected("sample"), run.noise[2].flatten(1)
    found = [run.recipe.G.grow(1, noise, image, y)[: len(wanted)] for y in run.labels]
    # The case does not say which of its labels these are.
    case.check("sample", min(found, key=lambda image: float((image - wanted).abs().max())))


def check_steps(run: Run) -> None:
    """D on one batch of half real and half generated, then G on all; twice."""
    case, losses = run.case, {"D": discriminator_loss, "G": generator_loss}
    optimizers = {net: run.optimizer(net) for net in losses}
    outputs = {"D": "grad.D.D", "G": "grad.G_after_D_step.G"}
    for step in range(2):
        for net, optimizer in optimizers.items():
            loss = losses[net](run)
            case.check(f"step{step}_loss_{net}", loss)
            optimizer.zero_grad()
            loss.backward(inputs=list(getattr(run.level, net).parameters()))
            if step == 0:
                case.check_rows(outputs[net], run.tensors(net, grad=True))
            optimizer.step()
        for net, start in run.start.items():
            new = run.tensors(net)
            case.check_rows(f"delta.step{step}.{net}", {n: new[n] - start[n] for n in start})


def discriminator_loss(run: Run) -> Tensor:
    """Half of the two means, which is the mean over both halves of the peer's batch."""
    level, n, labels = run.level, run.args["N_half"], run.labels[0]
    detail, coarse = level.split(run.fine)
    first, last = (None, None) if labels is None else (labels[:n], labels[n:])
    fake = level.G(run.noise[0][n:], coarse[n:], last)
    on_real = level.D(detail[:n], coarse[:n], first)
    return minimax_d(on_real, level.D(fake, coarse[n:], last)) / 2


def generator_loss(run: Run) -> Tensor:
    level = run.level
    _, coarse = level.split(run.fine)
    fake = level.G(run.noise[1], coarse, run.labels[1])
    return non_saturating_g(level.D(fake, coarse, run.labels[1]))
