"""BigGAN-PyTorch's networks and its training step, in our own networks."""

import re
from functools import partial

import torch
from torch import Tensor, nn, optim

from largegan.interop.biggan_pytorch import theirs
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.orthogonal import orthogonal_penalty
from largegan.layers.spectral_norm import Spectral
from largegan.losses import hinge_g
from largegan.nets import biggan
from tests.golden import procfill
from tests.golden.goldcheck import Case

# The sizes of feature maps after each block, as the peer's tables have them: attention "16" in the
# 32-pixel discriminator follows every block, though only the first map has that size.
G_SIZES = {res: [8 << i for i in range(res.bit_length() - 3)] for res in (32, 64, 128, 256, 512)}
D_SIZES = {
    32: [16, 16, 16, 16],
    64: [32, 16, 8, 4, 4],
    128: [64, 32, 16, 8, 4, 4],
    256: [128, 64, 32, 16, 8, 4, 4],
}
DEFAULTS = {
    "G_ch": 64,
    "D_ch": 64,
    "dim_z": 128,
    "resolution": 128,
    "G_attn": "64",
    "D_attn": "64",
    "n_classes": 1000,
    "G_shared": True,
    "shared_dim": 0,
    "hier": False,
    "cross_replica": False,
    "mybn": False,
    "G_lr": 5e-5,
    "D_lr": 2e-4,
    "G_B1": 0.0,
    "D_B1": 0.0,
    "G_B2": 0.999,
    "D_B2": 0.999,
    "adam_eps": 1e-8,
    "BN_eps": 1e-5,
    "SN_eps": 1e-12,
    "num_G_SVs": 1,
    "num_D_SVs": 1,
    "num_G_SV_itrs": 1,
    "num_D_SV_itrs": 1,
    "D_wide": True,
    "output_dim": 1,
    "G_param": "SN",
    "D_param": "SN",
    "norm_style": "bn",
}
WITHOUT_EFFECT = {
    "G_init",
    "D_init",
    "G_nl",  # ReLU, in place or not, where nothing else reads its input
    "D_nl",
    "G_kernel_size",  # 3 whatever is said
    "D_kernel_size",
    "skip_init",
    "no_optim",
}
FULL_SIZE = {
    "G_ch": 96,
    "D_ch": 96,
    "dim_z": 120,
    "shared_dim": 128,
    "hier": True,
    "SN_eps": 1e-6,
}


def settings(given: dict) -> dict:
    """Over the peer's defaults; refuses what would change the numbers."""
    for key, value in given.items():
        if key not in DEFAULTS and key not in WITHOUT_EFFECT:
            raise NotImplementedError(f"{key} = {value!r} is not built here")
    cfg = DEFAULTS | {k: v for k, v in given.items() if k in DEFAULTS}
    if cfg["output_dim"] != 1 or (cfg["hier"] and not cfg["G_shared"]):
        raise NotImplementedError("several outputs, or parts of z without shared")
    if cfg["D_param"] != "SN" or cfg["norm_style"] not in NORMS:
        raise NotImplementedError("a D without spectral norm, or groups: the peer has neither")
    if cfg["cross_replica"]:
        raise NotImplementedError("alone, the peer's synchronized norm adds the gain: a mistake")
    return cfg


def after(attention: str, sizes: list[int]) -> list[int]:
    """The blocks that attention "32_64" follows."""
    return [i for i, size in enumerate(sizes) if str(size) in attention.split("_")]


def spectral(cfg: dict, which: str) -> Spectral | None:
    if cfg[f"{which}_param"] != "SN":
        return None
    return Spectral(
        values=cfg[f"num_{which}_SVs"],
        iterations=cfg[f"num_{which}_SV_itrs"],
        eps=cfg["SN_eps"],
        refine_in_eval=True,
    )


def instance_norm(features: int, *, eps: float, affine: bool) -> nn.Module:
    """With running averages, which evaluation uses."""
    return nn.InstanceNorm2d(features, eps, affine=affine, track_running_stats=True)


NORMS = {"bn": BatchNorm2d, "in": instance_norm, "nonorm": BatchNorm2d}


def build(cfg: dict) -> tuple[nn.Module, nn.Module]:
    size, style = cfg["resolution"], cfg["norm_style"]
    batch_norm = partial(BatchNorm2d, biased=True) if cfg["mybn"] else NORMS[style]
    G = biggan.Generator(
        size,
        biggan.GeneratorOptions(
            z_dim=cfg["dim_z"],
            channels=cfg["G_ch"],
            num_classes=cfg["n_classes"],
            shared_dim=(cfg["shared_dim"] or cfg["dim_z"]) if cfg["G_shared"] else None,
            hierarchical=cfg["hier"],
            attention=after(cfg["G_attn"], G_SIZES[size]),
            norm="none" if style == "nonorm" and not cfg["mybn"] else "batch",
            batch_norm=batch_norm,
            bn_eps=cfg["BN_eps"],
            spectral=spectral(cfg, "G"),
        ),
    )
    # The peer's last norm knows no other eps, and no other style.
    G.norm = BatchNorm2d(G.to_rgb.in_channels, eps=1e-5, biased=cfg["mybn"])
    D = biggan.Discriminator(
        size,
        biggan.DiscriminatorOptions(
            channels=cfg["D_ch"],
            num_classes=cfg["n_classes"],
            attention=after(cfg["D_attn"], D_SIZES[size]),
            spectral=spectral(cfg, "D"),
            wide=cfg["D_wide"],
        ),
    )
    return G, D


class Peer:
    """One of our networks under the peer's names; every tensor is a view of ours."""

    def __init__(self, net: nn.Module):
        self.net = net
        self.parameters = {theirs(name): p for name, p in net.named_parameters()}
        self.state = {name: p.data for name, p in self.parameters.items()}
        for name, buffer in net.named_buffers():
            layer, _, kind = theirs(name).rpartition(".")
            if kind in ("u", "sigma"):  # one tensor for each singular value
                rows = {
                    f"{layer}.{'sv' if kind == 'sigma' else 'u'}{i}": i for i in range(len(buffer))
                }
                self.state |= {row: buffer[i : i + 1] for row, i in rows.items()}
            elif kind != "v":  # the peer finds it anew from u
                self.state[theirs(name)] = buffer

    def tensor(self, name: str) -> Tensor:
        if name.endswith("accumulation_counter"):  # of standing statistics, which nobody ran
            return torch.zeros(1)
        name = name.replace(".running_", ".stored_")
        return self.state[re.sub(r"\.bn\.(stored_|num_)", r".\1", name)]

    def gradients(self, names: list[str]) -> dict[str, Tensor]:
        found = {name: self.parameters[name] for name in names}
        return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in found.items()}

    def tensors(self, names: list[str]) -> dict[str, Tensor]:
        """Copies by the peer's names."""
        return {name: self.tensor(name).clone() for name in names}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            mine = self.tensor(name)
            mine.copy_(value.reshape(mine.shape))

    def joined(self, names: list[str]) -> Tensor:
        return torch.cat([torch.empty(0), *(self.tensor(n).float().flatten() for n in names)])


class Run:
    """A case's networks in our code."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.names = case.meta["names"]
        self.cfg = settings(case.meta["build"]["G_and_D"])
        self.G, self.D = build(self.cfg)
        self.nets = {"G": Peer(self.G), "D": Peer(self.D)}
        self.real, self.real_y = case.image("real_u8"), case.input("real_y")
        self.z, self.y = case.input("z_step"), case.input("y_step")
        self.count = self.args["N"]

    def reset(self) -> None:
        """Back to the state before anything ran, training mode, no gradients."""
        for which, peer in self.nets.items():
            peer.load(self.case.state(which))
            peer.net.train().requires_grad_(True).zero_grad()

    def singular(self, which: str, kind: str) -> Tensor:
        names = [re.sub(r"\.u(\d+)$", rf".{kind}\1", n) for n in self.names[f"{which}_u"]]
        return self.nets[which].joined(names)

    def discriminator_losses(self, step: int, *, apart: bool) -> tuple[Tensor, Tensor]:
        """On real and on fake images, which go through D together or `apart`."""
        with torch.no_grad():
            fake = self.G(self.z[step], self.y[step])
        part = slice(step * self.count, (step + 1) * self.count)
        real, real_y = self.real[part], self.real_y[part]
        if apart:
            on_fake, on_real = self.D(fake, self.y[step]), self.D(real, real_y)
        else:
            logits = self.D(torch.cat([fake, real]), torch.cat([self.y[step], real_y]))
            on_fake, on_real = logits.split([len(fake), len(real)])
        return torch.relu(1 - on_real).mean(), torch.relu(1 + on_fake).mean()

    def generator_loss(self, step: int) -> Tensor:
        return hinge_g(self.D(self.G(self.z[step], self.y[step]), self.y[step]))

    def penalty(self) -> Tensor:
        shared = [] if self.G.shared is None else [self.G.shared.weight]
        return orthogonal_penalty(p for p in self.G.parameters() if not any(p is s for s in shared))


def check_forward(run: Run) -> None:
    """Images, logits and the buffers they leave, in evaluation and in training mode."""
    case, G, D = run.case, run.G, run.D
    z, y, real = case.input("z"), case.input("y"), run.real[: run.count]
    shown = len(case.expected("img_eval"))  # the file keeps the first images only
    with torch.no_grad():
        run.reset()
        G.eval(), D.eval()
        image = G(z, y)
        case.check("img_eval", image[:shown])
        case.check("logits_eval_real", D(real, run.real_y[: run.count]))
        case.check("logits_eval_fake", D(image, y))
        run.reset()
        case.check("img_train", G(z, y)[:shown])
        case.check("bn_after_train", run.nets["G"].joined(run.names["G_bn"]))
        case.check("logits_train_real", D(real, run.real_y[: run.count]))
    for which in "GD":
        case.check(f"u_{which}_after_train", run.singular(which, "u"))
        case.check(f"sv_{which}_after_train", run.singular(which, "sv"))


def check_losses(run: Run) -> None:
    """Losses and every parameter's gradient, each from the initial state."""
    case = run.case
    run.reset()
    on_real, on_fake = run.discriminator_losses(0, apart=False)
    case.check("loss_D_real", on_real)
    case.check("loss_D_fake", on_fake)
    (on_real + on_fake).backward()
    case.check_rows("grad.D_hinge.D", run.nets["D"].gradients(run.names["D"]))
    run.reset()
    loss = run.generator_loss(0)
    case.check("loss_G", loss)
    loss.backward()
    case.check_rows("grad.G_hinge.G", run.nets["G"].gradients(run.names["G"]))
    if "grad.ortho.G" in case.outputs():
        run.reset()
        run.penalty().backward()
        case.check_rows("grad.ortho.G", run.nets["G"].gradients(run.names["G"]))


def check_step(run: Run) -> None:
    """The discriminator's steps, one generator step, one step of a moving average."""
    case, cfg, nets = run.case, run.cfg, run.nets
    run.reset()
    start = {"G": nets["G"].tensors(run.names["G"]), "D": nets["D"].tensors(run.names["D"])}
    everything = nets["G"].tensors(run.names["G_ema_state"])
    adam = {
        which: optim.Adam(
            net.net.parameters(),
            cfg[f"{which}_lr"],
            (cfg[f"{which}_B1"], cfg[f"{which}_B2"]),
            eps=cfg["adam_eps"],
        )
        for which, net in nets.items()
    }
    steps = run.args["dsteps"]
    for step in range(steps):
        run.D.zero_grad()
        on_real, on_fake = run.discriminator_losses(step, apart=run.args.get("split", False))
        (on_real + on_fake).backward()
        adam["D"].step()
    case.check("step_D_loss_real", on_real)
    case.check("step_D_loss_fake", on_fake)
    run.G.zero_grad()
    loss = run.generator_loss(steps)
    case.check("step_G_loss", loss)
    (loss + run.args["ortho"] * run.penalty()).backward()
    adam["G"].step()
    for which, net in nets.items():
        after = net.tensors(run.names[which])
        moved = {name: after[name] - start[which][name] for name in after}
        case.check_rows(f"delta.step.{which}", moved)
        case.check(f"step_u_{which}", run.singular(which, "u"))
    case.check("step_bn", nets["G"].joined(run.names["G_bn"]))
    # The average starts as decay * G, so that it moves by (1 - decay) * (G now - decay * ...).
    decay, now = run.args["ema"], nets["G"].tensors(run.names["G_ema_state"])
    moved = {n: averaged(everything[n], now[n], decay) for n in now}
    case.check_rows("delta.ema.G_ema_state", moved)
    check_image(run)


def averaged(before: Tensor, now: Tensor, decay: float) -> Tensor:
    """How far a moving average of `decay * before` moves; whole numbers stay whole."""
    average = before.clone().copy_(decay * before)
    return average.clone().copy_(average * decay + now * (1 - decay)) - average


def check_image(run: Run) -> None:
    """The trained generator's first image."""
    (name,) = [name for name in run.case.outputs() if name.startswith("step_img")]
    with torch.no_grad():
        image = run.G.eval()(run.case.input("z"), run.case.input("y"))[:1]
    run.case.check(name, thinned(image, name))


def thinned(image: Tensor, name: str) -> Tensor:
    """`..._s2` keeps every second pixel."""
    found = re.search(r"_s(\d)$", name)
    return image[..., :: int(found[1]), :: int(found[1])] if found else image


def check(case: Case) -> None:
    run = Run(case)
    check_forward(run)
    check_losses(run)
    check_step(run)


def check_full_size(case: Case) -> None:
    """BigGAN-128 as released, 158 million parameters, weights made from their names."""
    with torch.device("meta"):  # an orthogonal start of this size takes minutes
        nets = dict(zip("GD", build(settings(FULL_SIZE)), strict=True))
    for which, net in nets.items():
        for name, tensor in Peer(net.to_empty(device="cpu").eval()).state.items():
            value = procfill.fill(case.meta["procfill"], which, name, tensor.shape)
            if value is not None:
                tensor.copy_(value.reshape(tensor.shape))
    with torch.no_grad():
        image = nets["G"](case.input("z"), case.input("y"))
        case.check("img_s2", thinned(image, "img_s2"))
        case.check("logits", nets["D"](image, case.input("y")))
