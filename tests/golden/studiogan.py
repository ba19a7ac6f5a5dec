"""StudioGAN's networks, from DCGAN to BigGAN-deep: built from a case's `args`, in our own."""

from functools import partial
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from largegan import losses
from largegan.interop.studiogan import family, places_of, rename
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.spectral_norm import AS_PUBLISHED
from largegan.nets import biggan, biggan_deep, deep_conv, resnet_sn
from tests.golden.goldcheck import Case

LOSSES = {
    "vanilla": (losses.minimax_d, losses.non_saturating_g),
    "logistic": (losses.minimax_d, losses.non_saturating_g),
    "least_square": (losses.least_squares_d, losses.least_squares_g),
    "hinge": (losses.hinge_d, losses.hinge_g),
    "wasserstein": (losses.wasserstein_d, losses.wasserstein_g),
}
ACTIVATIONS = {
    "ReLU": F.relu,
    "Leaky_ReLU": partial(F.leaky_relu, negative_slope=0.1),
    "ELU": F.elu,
    "GELU": F.gelu,
}
# The peer's defaults of what we read; any other setting must be absent, off, or without effect
# on the numbers of a case (initialization, run length, where the data come from).
DEFAULTS = {
    "DATA": {"img_size": 32, "num_classes": 10, "img_channels": 3},
    "MODEL": {
        "z_dim": 128,
        "g_conv_dim": 64,
        "d_conv_dim": 64,
        "g_cond_mtd": "W/O",
        "d_cond_mtd": "W/O",
        "apply_g_sn": False,
        "apply_d_sn": False,
        "g_act_fn": "ReLU",
        "d_act_fn": "ReLU",
        "g_shared_dim": "N/A",
        "g_depth": "N/A",
        "d_depth": "N/A",
        "apply_attn": False,
        "attn_g_loc": (),
        "attn_d_loc": (),
    },
    "LOSS": {
        "adv_loss": "vanilla",
        "apply_gp": False,
        "gp_lambda": 0.0,
        "apply_r1_reg": False,
        "r1_lambda": 0.0,
    },
    "OPTIMIZATION": {
        "type_": "Adam",
        "g_lr": 2e-4,
        "d_lr": 2e-4,
        "g_weight_decay": 0.0,
        "d_weight_decay": 0.0,
        "beta1": 0.5,
        "beta2": 0.999,
        "momentum": "N/A",
        "nesterov": "N/A",
        "alpha": "N/A",
    },
}
WITHOUT_EFFECT = {
    "name",
    "backbone",
    "z_prior",
    "g_init",
    "d_init",
    "apply_g_ema",
    "g_ema_decay",
    "g_ema_start",
    "r1_place",
    "batch_size",
    "acml_steps",
    "d_first",
    "g_updates_per_step",
    "d_updates_per_step",
    "total_steps",
}
OFF = (False, None, "N/A", "W/O")


def settings(args: dict) -> dict:
    """The case's settings over the peer's defaults, flat; refuses what would change the numbers."""
    flat = {}
    for section, defaults in DEFAULTS.items():
        given = args["cfg"].get(section, {})
        for key, value in given.items():
            if key not in defaults and key not in WITHOUT_EFFECT and value not in OFF:
                raise NotImplementedError(f"{section}.{key} = {value!r} is not built here")
        flat |= defaults | {k: v for k, v in given.items() if k in defaults}
    if flat["g_cond_mtd"] not in ("W/O", "cBN") or flat["d_cond_mtd"] not in ("W/O", "PD"):
        raise NotImplementedError(
            f"conditioning {flat['g_cond_mtd']} / {flat['d_cond_mtd']}: generators know W/O and "
            "cBN, discriminators W/O and PD"
        )
    return flat


def attention(cfg: dict, which: str) -> tuple[int, ...]:
    """The blocks or stages, counted from 0, that attention follows in a network ("g" or "d")."""
    places = cfg[f"attn_{which}_loc"] if cfg["apply_attn"] else ()
    return tuple(place - 1 for place in places if place not in OFF)


def build(args: dict) -> tuple[nn.Module, nn.Module]:
    """The case's generator and discriminator."""
    cfg = settings(args)
    kind, size = family(args["module"]), cfg["img_size"]
    penalty = cfg["apply_gp"] or cfg["apply_r1_reg"]
    g = {
        "z_dim": cfg["z_dim"],
        "image_channels": cfg["img_channels"],
        "num_classes": cfg["num_classes"] if cfg["g_cond_mtd"] == "cBN" else 0,
        "attention": attention(cfg, "g"),
        "activation": ACTIVATIONS[cfg["g_act_fn"]],
    }
    d = {
        "image_channels": cfg["img_channels"],
        "num_classes": cfg["num_classes"] if cfg["d_cond_mtd"] == "PD" else 0,
        "attention": attention(cfg, "d"),
        "second_order": penalty,
        "activation": ACTIVATIONS[cfg["d_act_fn"]],
    }
    d_norm = "spectral" if cfg["apply_d_sn"] else "batch"
    g_spectral = AS_PUBLISHED if cfg["apply_g_sn"] else None
    if kind == "deep_conv":  # three blocks whatever the image size
        g["spectral_norm"], d["norm"] = cfg["apply_g_sn"], d_norm
        divisor = int(args["module"].removeprefix("deep_conv") or 1)
        widths = [width // divisor for width in (512, 256, 128, 64)]
        return deep_conv.Generator(widths, **g), deep_conv.Discriminator(widths[::-1], **d)
    # The peer activates in place, and with spectral norm nothing stands between a block's input
    # and its first activation: the shortcut sees the activated input. GELU is not in place. The
    # deep blocks have no norm at all.
    bare = cfg["apply_d_sn"] or "deep" in kind
    d["activated_shortcut"] = bare and cfg["d_act_fn"] != "GELU"
    g["spectral"] = g_spectral
    if kind == "resnet":
        g["channels"], d["channels"] = cfg["g_conv_dim"], cfg["d_conv_dim"]
        return both(resnet_sn, size, g, d | {"norm": d_norm})
    g |= {"batch_norm": nn.BatchNorm2d, "bn_eps": 1e-4, "shared_dim": cfg["g_shared_dim"]}
    g["widths"] = [cfg["g_conv_dim"] * m for m in resnet_sn.G_WIDTHS[size]]
    if kind == "big_resnet":
        d["widths"] = [cfg["d_conv_dim"] * m for m in resnet_sn.D_WIDTHS[size]]
        return both(biggan, size, g, d | {"norm": d_norm})
    shortcut = "conv" if kind.endswith("studiogan") else "identity"
    multiples = (1, 4, 4, 4) if (shortcut, size) == ("conv", 32) else biggan_deep.D_WIDTHS[size]
    d["widths"] = [cfg["d_conv_dim"] * m for m in multiples]
    d["spectral"] = AS_PUBLISHED if cfg["apply_d_sn"] else None
    g |= {"depth": cfg["g_depth"], "shortcut": shortcut}
    d |= {"depth": cfg["d_depth"], "shortcut": shortcut}
    return both(biggan_deep, size, g, d)


def both(net: ModuleType, size: int, g: dict, d: dict) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of `largegan.nets`."""
    return (
        net.Generator(size, net.GeneratorOptions(**g)),
        net.Discriminator(size, net.DiscriminatorOptions(**d)),
    )


def optimizer(cfg: dict, net: nn.Module, which: str) -> optim.Optimizer:
    lr, decay = cfg[f"{which}_lr"], cfg[f"{which}_weight_decay"]
    if cfg["type_"] == "Adam":
        betas = (cfg["beta1"], cfg["beta2"])
        return optim.Adam(net.parameters(), lr, betas, eps=1e-6, weight_decay=decay)
    momentum = cfg["momentum"]
    if cfg["type_"] == "RMSprop":
        return optim.RMSprop(
            net.parameters(), lr, alpha=cfg["alpha"], momentum=momentum, weight_decay=decay
        )
    return optim.SGD(
        net.parameters(), lr, momentum=momentum, nesterov=cfg["nesterov"], weight_decay=decay
    )


class Run:
    """A case's networks in our code, with the views of them that the outputs are made of."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        self.cfg = settings(self.args)
        self.nets = dict(zip("GD", build(self.args), strict=True))
        self.d_loss, self.g_loss = LOSSES[self.cfg["adv_loss"]]
        self.real, self.real_y = case.image("real_u8"), case.input("real_y")
        self.z, self.y = case.input("z_step"), case.input("y_step")
        self.reset()

    def reset(self) -> None:
        """Back to the state before anything ran, training mode, no gradients."""
        for key, net in self.nets.items():
            state = net.state_dict()  # the peer does not keep singular values
            for name, value in self.case.state(key).items():
                state[self.ours(key, name)] = value.reshape(state[self.ours(key, name)].shape)
            net.load_state_dict(state)
            net.train().requires_grad_(True).zero_grad()

    def ours(self, net: str, name: str) -> str:
        depth = self.cfg[f"{net.lower()}_depth"]
        places = places_of(self.nets[net], 1 if depth == "N/A" else depth)
        return rename(name, kind=self.args["module"], places=places, which=net)

    def tensors(self, net: str, names: str) -> dict[str, Tensor]:
        """Parameters and buffers by the peer's names, as they are now (copies)."""
        state = self.nets[net].state_dict()
        return {n: state[self.ours(net, n)].clone() for n in self.case.meta["names"][names]}

    def buffers(self, net: str) -> Tensor:
        values = self.tensors(net, f"{net}_buf").values()
        return torch.cat([v.flatten() for v in values]) if values else torch.zeros(0)

    def gradients(self, net: str) -> dict[str, Tensor]:
        grads = {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.nets[net].named_parameters()
        }
        return {name: grads[self.ours(net, name)] for name in self.case.meta["names"][net]}

    def discriminator_loss(self) -> dict[str, Tensor]:
        """`adv`, `reg` (the bare penalty, if there is one) and `total`, with G frozen."""
        D, real = self.nets["D"], self.real.clone().requires_grad_(self.cfg["apply_r1_reg"])
        with torch.no_grad(), frozen_statistics(self.nets["G"]):
            fake = self.nets["G"](self.z[0], self.y[0])
        on_real, on_fake = D(real, self.real_y), D(fake, self.y[0])
        terms = {"adv": self.d_loss(on_real, on_fake)}
        terms["total"] = terms["adv"]
        if self.cfg["apply_gp"]:
            alpha = self.case.input("gp_alpha")
            terms["reg"] = losses.gradient_penalty(lambda x: D(x, self.real_y), real, fake, alpha)
            terms["total"] = terms["total"] + self.cfg["gp_lambda"] * terms["reg"]
        if self.cfg["apply_r1_reg"]:
            terms["reg"] = losses.r1(on_real, real)
            terms["total"] = terms["total"] + self.cfg["r1_lambda"] * terms["reg"]
        return terms

    def generator_loss(self) -> Tensor:
        return self.g_loss(self.nets["D"](self.nets["G"](self.z[1], self.y[1]), self.y[1]))


def check_forward(run: Run) -> None:
    """Images, logits and the buffers they leave, in evaluation and in training mode."""
    case, (G, D) = run.case, run.nets.values()
    z, y = case.input("z"), case.input("y")
    shown = len(case.expected("img_eval"))  # the file keeps the first images only
    with torch.no_grad():
        run.reset()
        G.eval(), D.eval()
        image = G(z, y)
        case.check("img_eval", image[:shown])
        case.check("logits_eval_real", D(run.real, run.real_y))
        case.check("logits_eval_fake", D(image, y))
        run.reset()
        case.check("img_train", G(z, y)[:shown])
        case.check("logits_train_real", D(run.real, run.real_y))
    case.check("G_buf_after_train", run.buffers("G"))
    case.check("D_buf_after_train", run.buffers("D"))


def check_losses(run: Run) -> None:
    """Losses and every parameter's gradient, each from the initial state."""
    case = run.case
    run.reset()
    terms = run.discriminator_loss()
    for term, value in terms.items():
        case.check(f"loss_D_{term}", value)
    terms["total"].backward()
    case.check_rows("grad.D.D", run.gradients("D"))
    run.reset()
    loss = run.generator_loss()
    case.check("loss_G", loss)
    run.nets["D"].zero_grad()
    loss.backward()
    case.check_rows("grad.G.G", run.gradients("G"))


def check_step(run: Run) -> None:
    """One discriminator step, one generator step, one step of a 0.9 moving average."""
    case, (G, D) = run.case, run.nets.values()
    run.reset()
    before = {"G": run.tensors("G", "G"), "D": run.tensors("D", "D")}
    average = {name: 0.9 * value for name, value in run.tensors("G", "G_ema").items()}
    steppers = {"G": optimizer(run.cfg, G, "g"), "D": optimizer(run.cfg, D, "d")}

    loss = run.discriminator_loss()["total"]
    case.check("step_loss_D", loss)
    loss.backward()
    steppers["D"].step()

    G.zero_grad()
    D.requires_grad_(False)
    loss = run.generator_loss()
    case.check("step_loss_G", loss)
    loss.backward()
    steppers["G"].step()

    for key in "DG":
        after = run.tensors(key, key)
        moved = {name: after[name] - before[key][name] for name in after}
        case.check_rows(f"delta.step.{key}", moved)
        case.check(f"step_{key}_buf", run.buffers(key))
    after = run.tensors("G", "G_ema")
    moved = {name: torch.lerp(after[name], average[name], 0.9) - average[name] for name in after}
    case.check_rows("delta.ema.G_ema", moved)


def check(case: Case) -> None:
    run = Run(case)
    check_forward(run)
    check_losses(run)
    check_step(run)
