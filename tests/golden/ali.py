"""ali-pytorch's networks and step: our recipe, built from a case's `args`."""

from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor, nn

from largegan.losses import minimax_d
from largegan.nets.ali import Decoder, Encoder, JointDiscriminator, NetOptions
from largegan.recipe import DataSpec
from largegan.recipes.ali import ALI, ALIOptions
from tests.golden import procfill
from tests.golden.goldcheck import Case

NETS = ("Gx", "Gz", "Dx", "Dz", "Dxz")
KINDS = {"conv": "conv", "convt": "conv", "batchnorm": "norm"}


class Run:
    """A case's five networks in our three."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.x, self.z = case.image("x_u8"), case.input("z").flatten(1)
        tables = self.args.get("tables", "create_svhn_*")
        if not tables.startswith("create_svhn"):
            raise NotImplementedError(f"the tables {tables}")
        channels, size = self.x.shape[1:3]
        options = {"z_dim": self.args["nz"], "lr": self.args["lr"], "dropout": 0.0}
        options["beta2"] = self.args["betas"][1]
        self.recipe = ALI(DataSpec(channels, size, size), ALIOptions(**options))
        slope = self.args.get("leaky_slope", 0.01)
        shape = NetOptions(z_dim=self.args["nz"], image_channels=channels, slope=slope)
        recipe = self.recipe
        recipe.G = Decoder(size, shape, squash=torch.sigmoid)  # as the peer, into [0, 1]
        recipe.E = Encoder(size, shape)
        recipe.D = JointDiscriminator(size, shape, dropout=0.0)
        recipe.players["D"].nets, recipe.players["G"].nets = [recipe.D], [recipe.G, recipe.E]
        for player in recipe.players.values():
            player.make_optimizer.keywords["betas"] = tuple(self.args["betas"])
        self.reset()

    def layers(self, net: str) -> list[nn.Module]:
        """Our layers in the order of the peer's."""
        G, E, D = self.recipe.G, self.recipe.E, self.recipe.D
        return {
            "Gx": [*G.convs, G.to_image],
            "Gz": [*E.convs, E.mix, E.to_z],
            "Dx": [*D.x],
            "Dz": [*D.z],
            "Dxz": [*D.both, D.score],
        }[net]

    def names(self, net: str) -> dict[str, Tensor]:
        """The peer's names (main.0_pyramid_3-32_conv.weight) -> our tensors, by their order."""
        found, layer = {}, -1
        for name in self.case.meta["state_shapes"][net]:
            _, module, tensor = name.split(".")
            kind = KINDS[module.split("_")[-1]]
            layer += kind == "conv" and tensor == "weight"
            ours = self.layers(net)[layer]
            inner = getattr(ours, kind) if hasattr(ours, kind) else ours
            found[name] = getattr(inner, tensor)
        return found

    @torch.no_grad()
    def reset(self) -> None:
        for net in NETS:
            stored = self.case.state(net)
            for name, ours in self.names(net).items():
                made = stored.get(name)
                if made is None:
                    made = procfill.fill(self.case.meta["procfill"], net, name, ours.shape)
                ours.copy_(torch.zeros(()) if made is None else made)
        self.recipe.train().zero_grad()

    def tensors(self, net: str, names: str | None = None, *, grad: bool = False):
        found = self.names(net)
        rows = self.case.meta["names"][names or net]
        return {n: found[n].grad if grad else found[n].detach().clone() for n in rows}

    @contextmanager
    def drawing(self, noise: Tensor):
        """Within it, the recipe draws the case's z, then the noise of the codes."""
        drawn = iter([self.z, noise])
        with mock.patch.object(torch, "randn", lambda *shape, **_: next(drawn)):
            yield

    def noise(self, name: str) -> Tensor:
        return self.case.input(name).flatten(1).expand(-1, self.args["nz"])

    def losses(self, noise: str = "noise") -> dict[str, Tensor]:
        """Of both players, from the same weights, each by forwards of its own."""
        found = {}
        for player in "DG":
            with self.drawing(self.noise(noise)):
                on_data, on_made = self.recipe.logits(self.x)
            sides = (on_data, on_made) if player == "D" else (on_made, on_data)
            found[player] = minimax_d(*sides)
        return found

    def check_bn(self, output: str, net: str) -> None:
        buffers = self.tensors(net, f"{net}_bn").values()
        self.case.check(output, torch.cat([b.flatten() for b in buffers]))


PLAYERS = {"D": ("Dx", "Dz", "Dxz"), "G": ("Gx", "Gz")}


def check(case: Case) -> None:
    run = Run(case)
    for mode in ("eval", "train"):
        run.recipe.train(mode == "train")
        check_forward(run, mode)
        run.reset()
    for suffix in ("", "_fullnoise"):
        check_losses(run, suffix)
        run.reset()
    check_step(run)


@torch.no_grad()
def check_forward(run: Run, mode: str) -> None:
    case, (G, E, D) = run.case, (run.recipe.G, run.recipe.E, run.recipe.D)
    mean, log_std = E(run.x)
    case.check(f"mu_{mode}", mean)
    case.check(f"sigma_{mode}", log_std.exp())
    made = G(run.z)
    case.check(f"x_hat_{mode}", made[: len(case.expected(f"x_hat_{mode}"))])
    case.check(f"Dx_feat_{mode}", D.x(run.x)[:, ::8])
    case.check(f"Dz_feat_{mode}", D.z(run.z[:, :, None, None])[:, ::8])
    code = mean + log_std.exp() * run.noise("noise")
    case.check(f"logits_data_{mode}", D(run.x, code))
    case.check(f"logits_sample_{mode}", D(made, run.z))


def check_losses(run: Run, suffix: str) -> None:
    case, recipe = run.case, run.recipe
    for player, nets in PLAYERS.items():
        run.reset()
        loss = run.losses(f"noise{'_full' if suffix else ''}")[player]
        case.check(f"loss_{player}{suffix}", loss)
        loss.backward()
        for net in nets:
            case.check_rows(f"grad.{player}{suffix}.{net}", run.tensors(net, grad=True))
    if suffix:
        return
    run.reset()
    with torch.no_grad(), run.drawing(run.noise("noise")):
        recipe.logits(run.x)
    for net in ("Gx", "Gz", "Dx"):
        run.check_bn(f"bn_{net}_after_loss_D", net)


def check_step(run: Run) -> None:
    """Both losses from the same weights, then both steps."""
    case, recipe = run.case, run.recipe
    before = {net: run.tensors(net) for net in NETS}
    losses = run.losses()
    for player, loss in losses.items():
        case.check(f"step_loss_{player}", loss)
    optimizers = {}
    for name, player in recipe.players.items():
        parameters = list(player.parameters())
        losses[name].backward(inputs=parameters)
        optimizers[name] = player.make_optimizer(parameters)
    for optimizer in optimizers.values():
        optimizer.step()
    for net, old in before.items():
        new = run.tensors(net)
        case.check_rows(f"delta.step.{net}", {n: new[n] - old[n] for n in old})
    for net in ("Gx", "Gz"):
        run.check_bn(f"step_bn_{net}", net)
