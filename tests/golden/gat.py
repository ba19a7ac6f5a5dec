"""The generative adversarial transformer's released code: from a case's `args`, in our own code."""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from largegan.augment.levels import LevelView, noise_schedule
from largegan.ema import Ema
from largegan.layers.transformer import rms_norm
from largegan.losses import align
from largegan.nets.gat import (
    LEVELS,
    Discriminator,
    DiscriminatorOptions,
    Generator,
    TransformerOptions,
)
from largegan.recipe import DataSpec, Progress
from largegan.recipes.gat import GAT, GATOptions
from tests.golden import procfill
from tests.golden.goldcheck import Case
from tests.golden.precise import double, read

BETAS, BASE_WIDTH = (0.0, 0.99), 768
BATCH = 1000  # images per step that the average is told; any number, its half-life is set to match

NAMES = {  # ours -> the peer's
    "G": [
        (r"^places$", "pos_embed"),
        (r"^mapping\.embed\.", "y_embedder.embedding_table."),
        (r"^mapping\.layers\.", "latent_embedder."),
        (r"^mapping\.w_avg\.mean$", "w_avg"),
        (r"^to_image\.", "final_layers."),
        (r"\.modulation\.", ".adaLN_modulation.1."),
    ],
    "D": [
        (r"^places$", "pos_embed"),
        (r"^patches\.", "x_embedder.proj."),
        (r"^query\.embed\.", "y_embedder.embedding_table."),
        (r"^query\.layers\.", "y_embedder.latent_embedder."),
        (r"^norm\.", "final_layer.0."),
        (r"^head\.", "final_layer.1."),
        (r"^align\.", "proj."),
    ],
}
SEEN = r"^feat_rope\."  # tables of the shape alone, which our networks make themselves
# The generator's embedding of an image, which is multiplied by zero.
UNUSED = {"x_embedder.proj.weight", "x_embedder.proj.bias"}


def theirs(net: str, name: str) -> str:
    for pattern, peer in NAMES[net]:
        name = re.sub(pattern, peer, name)
    return name


def build(net: str, args: dict) -> nn.Module:
    """A network from the peer's arguments."""
    shared = {
        "patch": args["patch_size"],
        "image_channels": args["in_channels"],
        "num_classes": args["num_classes"],
        "width": args[f"{net}_hidden"],
        "depth": args[f"{net}_depth"],
        "heads": args[f"{net}_heads"],
        "mlp_ratio": args["mlp_ratio"],
        "qk_norm": args["qk_norm"],
    }
    size = args["input_size"], args["input_size"]
    if net == "G":
        return Generator(*size, TransformerOptions(**shared), z_dim=args["latent_size"])
    options = DiscriminatorOptions(
        cmap_dim=args["cmap_dim"],
        align_dim=args["align_dim"],
        align_hidden=args["projector_dim"],
        **shared,
    )
    return Discriminator(*size, options)


class Peer:
    """One of our networks under the peer's names."""

    def __init__(self, net: str, module: nn.Module):
        self.module = module
        self.state = {theirs(net, name): t for name, t in module.state_dict().items()}
        self.parameters = {theirs(net, n): p for n, p in module.named_parameters()}
        self.unused: dict[str, Tensor] = {}

    @torch.no_grad()
    def fill(self, case: Case, net: str, shapes: dict[str, list[int]] | None) -> None:
        """Weights from their names; every tensor that the peer lists must find its place."""
        shapes = shapes or {name: list(t.shape) for name, t in self.state.items()}
        missing = set(self.state) - set(shapes)
        assert not missing, f"tensors of ours that the peer does not have: {missing}"
        for name, shape in shapes.items():
            if re.search(SEEN, name):
                continue
            value = procfill.fill(case.meta["procfill"], net, name, torch.Size(shape))
            if net == "G" and name in UNUSED:
                self.unused[name] = value
            elif value is None:
                assert list(self.state[name].shape) == shape, name
            else:
                self.state[name].copy_(value.reshape(self.state[name].shape))

    def gradients(self) -> dict[str, Tensor]:
        found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self}
        return found | {n: torch.zeros_like(t) for n, t in self.unused.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the parameters."""
        return {n: p.detach().clone() for n, p in self} | self.unused

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.parameters.items())


class Run:
    """A case's recipe, with random draws as the file has them."""

    def __init__(self, case: Case):
        self.case, self.args = case, case.meta["args"]
        a = self.args
        data = DataSpec(a["in_channels"], a["input_size"], a["input_size"], a["num_classes"])
        self.recipe = GAT(data, options(a))
        self.recipe.G, self.recipe.D = build("G", a), build("D", a)
        if a["align_dim"]:
            self.recipe.teacher = lambda _: (read(case, "feat_cls"), read(case, "feat_patch"))
        self.nets = {net: Peer(net, getattr(self.recipe, net)) for net in "GD"}
        self.batch = {"image": read(case, "x"), "label": read(case, "y")}
        self.reset()

    def reset(self) -> None:
        """Back to the state before anything ran, training mode, no gradients."""
        for net, peer in self.nets.items():
            peer.fill(self.case, net, self.case.meta["state_shapes"][net])
            peer.module.train().requires_grad_(True).zero_grad()

    def view(self, phase: str, who: str, reference: Tensor) -> LevelView:
        draws = {
            name: read(self.case, f"{phase}.{who}.{name}")
            for name in (
                "brightness", "saturation", "contrast", "color_mask_u", "flip_u",
                "translation_x", "translation_y", "cutout_x", "cutout_y",
            )
        }  # fmt: skip
        place = {k: v.reshape(-1, 1) for k, v in draws.items()}
        strength = {k: v.reshape(-1, 1, 1, 1) for k, v in draws.items()}
        noise = [read(self.case, f"{phase}.{who}.noise_{i}") for i in range(LEVELS)]
        return LevelView(
            reference=reference,
            **{k: strength[k] for k in ("brightness", "saturation", "contrast")},
            colored=strength["color_mask_u"] < 0.5,
            down=place["translation_x"],
            right=place["translation_y"],
            cut_row=place["cutout_x"],
            cut_column=place["cutout_y"],
            flipped=strength["flip_u"] < 0.4,
            noise=torch.stack(noise),
        )

    def directions(self, who: str) -> Tensor:
        """The finite differences' steps: one for a real image, one for each generated level."""
        if who == "real":
            return read(self.case, "D.real.gp")
        return torch.stack([read(self.case, f"D.gen.gp_{i}") for i in range(LEVELS)])

    @contextmanager
    def scripted(self, phase: str) -> Iterator[None]:
        """Within it the recipe draws what the file says: latents, views, directions."""
        views = iter(("gen", "real"))
        normal = [read(self.case, "z"), self.directions("real"), self.directions("gen")]
        with (
            mock.patch.object(torch, "randn", lambda *_, **__: normal.pop(0)),
            mock.patch.object(self.recipe, "view", lambda x: self.view(phase, next(views), x)),
        ):
            yield

    def losses(self, phase: str) -> dict[str, Tensor]:
        with self.scripted(phase):
            loss = {"D": self.recipe.discriminator, "G": self.recipe.generator}[phase]
            return loss(self.batch, Progress())

    def alignment(self) -> dict[str, Tensor]:
        """Per image: how far the class token and the patches are from another network's."""
        view = self.view("D", "real", self.batch["image"])
        found = self.recipe.D.features(self.recipe.D.encode(view(self.batch["image"])))
        return align(*found, read(self.case, "feat_cls"), read(self.case, "feat_patch"))


def options(args: dict) -> GATOptions:
    return GATOptions(
        z_dim=args["latent_size"],
        patch=args["patch_size"],
        g_width=args["G_hidden"],
        g_depth=args["G_depth"],
        g_heads=args["G_heads"],
        d_width=args["D_hidden"],
        d_depth=args["D_depth"],
        d_heads=args["D_heads"],
        cmap_dim=args["cmap_dim"],
        gamma=args["gamma"],
        gp_sigma=args["gp_std"],
    )


@torch.no_grad()
def check_forward(run: Run) -> None:
    case, G, D = run.case, run.recipe.G.eval(), run.recipe.D.eval()
    z, y, x = read(case, "z"), read(case, "y"), read(case, "x")
    levels = G(z, y)
    case.check("img_levels", levels[:, :1])
    case.check("img", levels[-1])
    case.check("img_psi05", G(z, y, truncation=0.5)[-1])
    case.check("img_guidance2", G.draw(guided(G, z, y, 2.0))[-1])
    case.check("w", G.mapping(z, y))
    before = G.mapping.w_avg.mean.clone()
    G.mapping(z, y, track=True)
    G.mapping.w_avg.absorb_pending()
    case.check("w_avg_move", G.mapping.w_avg.mean - before)
    stack = torch.stack([x * factor for factor in (1.0, 0.8, 0.6, 0.4)])
    case.check("logits_D_stack", D(stack, y))
    case.check("D_tokens", D.tokens(stack)[:1])
    if run.args["align_dim"]:
        on_class, on_patches = D.features(D.encode(stack))
        case.check("D_feat_cls", on_class)
        case.check("D_feat_patch", on_patches[:1])
    case.check("rope", G.rotary(read(case, "rope_q")))
    case.check("noise_schedule", torch.tensor(noise_schedule(LEVELS)))


def guided(G: Generator, z: Tensor, y: Tensor, strength: float) -> Tensor:
    """The peer's guidance, whose mean over classes normalizes along the wrong axis."""
    w, table = G.mapping(z, y), G.mapping.embed.weight
    classes = rms_norm(table.T, 1e-8).T  # over the classes, feature by feature
    sign = z / (z.square() + 1e-8).sqrt()
    inputs = torch.cat(
        [classes.expand(len(z), -1, -1), sign[:, None].expand(-1, len(table), -1)], dim=2
    )
    null = G.mapping.layers(inputs).mean(1)
    return null + strength * (w - null)


def check_losses(run: Run) -> None:
    """What D saw, each image's losses, and all gradients, from the initial state."""
    case, gamma, image = run.case, run.args["gamma"], run.batch["image"]
    run.reset()
    D, y = run.recipe.D, run.batch["label"]
    with torch.no_grad():
        fake = run.recipe.G(read(case, "z"), y)
        scores, slopes = {}, {}
        for who, images, reference in (("gen", fake, fake[-1]), ("real", image, image)):
            view = run.view("D", who, reference)
            moved = view(images + run.args["gp_std"] * run.directions(who))
            case.check(f"D_input_{who}", view(images)[:, :1])
            case.check(f"D_input_gp_{who}", moved[:, :1])
            scores[who] = D(view(images), y)
            slopes[who] = (D(moved, y) - scores[who]) / run.args["gp_std"]
        adversarial = F.softplus(scores["gen"] - scores["real"])
        r1, r2 = slopes["real"].square(), slopes["gen"].square()
        case.check("D_r1_loss", r1)
        case.check("D_r2_loss", r2)
        total = adversarial + gamma / 2 * (r1 + r2)
        if run.args["align_dim"]:
            aligned = run.alignment()
            case.check("D_z_kd_cls", aligned["align_class"])
            case.check("D_z_kd_patch", aligned["align_patches"])
            total = total + aligned["align_class"] + aligned["align_patches"]
        case.check("D_total", total)
        # Without alignment the peer adds the penalties to this very tensor.
        case.check("D_disc_loss", adversarial if run.args["align_dim"] else total)
    mean_loss(run.losses("D")).backward()
    case.check_rows("grad.D_total.D", run.nets["D"].gradients())
    run.reset()
    run.losses("D")  # leaves the latents
    loss = mean_loss(run.losses("G"))
    case.check_mean("G_gen_loss", loss.item())
    loss.backward()
    case.check_rows("grad.G_total.G", run.nets["G"].gradients())


def mean_loss(terms: dict[str, Tensor]) -> Tensor:
    return sum(term.mean() for term in terms.values())


def check_step(run: Run) -> None:
    """D's step, then G's with the same latents, clipped; the average; the mean w."""
    case, args, nets = run.case, run.args, run.nets
    run.reset()
    start = {net: peer.tensors() for net, peer in nets.items()}
    for net in "DG":
        module = nets[net].module
        optimizer = optim.AdamW(
            module.parameters(),
            args["lr"] * BASE_WIDTH / args[f"{net}_hidden"],
            BETAS,
            weight_decay=0.0,
        )
        run.recipe.requires_grad_(False)
        module.requires_grad_(True).zero_grad()
        loss = mean_loss(run.losses(net))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), args["clip"])
        case.check(f"step_{net}_loss", loss)
        case.check(f"step_{net}_gradnorm", norm)
        optimizer.step()
    run.recipe.G.mapping.w_avg.absorb_pending()
    now = {net: peer.tensors() for net, peer in nets.items()}
    for net in "GD":
        moved = {name: t - start[net][name] for name, t in now[net].items()}
        case.check_rows(f"delta.step.{net}", moved)
    case.check_rows("delta.ema.G", averaged(run, start["G"]))
    case.check("step_w_avg", run.recipe.G.mapping.w_avg.mean)
    with torch.no_grad():
        case.check("step_img", run.recipe.G.eval()(read(case, "z"), read(case, "y"))[-1][:1])


def averaged(run: Run, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """How far an average moves that stood at half of the initial weights."""
    # 0.5 ** (BATCH / halflife) is the peer's constant.
    halflife = BATCH / torch.tensor(1 / run.args["ema"]).log2().item()
    ema = Ema(run.recipe.G, halflife_nimg=halflife, rampup=None, average_buffers=False)
    mine = {theirs("G", name): p for name, p in ema.net.named_parameters()}
    with torch.no_grad():
        for name, p in mine.items():
            p.copy_(start[name] / 2)
    ema.update(run.recipe.G, Progress(1, BATCH), BATCH)
    spare = {n: (1 - run.args["ema"]) * t / 2 for n, t in run.nets["G"].unused.items()}
    return {name: p.detach() - start[name] / 2 for name, p in mine.items()} | spare


def check(case: Case) -> None:
    run = Run(case)
    check_forward(run)
    with double():
        run = Run(case)
        check_losses(run)
        check_step(run)


FULL = {  # what the text of a full-size case's `build` leaves to the defaults
    "in_channels": 4,
    "latent_size": 64,
    "mlp_ratio": 4.0,
    "cmap_dim": 2048,
    "projector_dim": 2048,
    "qk_norm": True,
}
RENAMED = {"hidden_size": "hidden", "depth": "depth", "num_heads": "heads"}


def full_args(text: str) -> dict:
    """`GAT / GATD(input_size=32, ...); latent 64, ...` -> arguments."""
    call = re.search(r"\((.*)\)", text)[1]
    given = {
        k.arg: ast.literal_eval(k.value) for k in ast.parse(f"f({call})").body[0].value.keywords
    }
    args = FULL | {"align_dim": given.pop("z_dims")[0]}
    for name, value in given.items():
        if name in RENAMED:
            args |= {f"{net}_{RENAMED[name]}": value for net in "GD"}
        else:
            args[name] = value
    return args


@torch.no_grad()
def check_full(case: Case) -> None:
    """Both networks at a published size, weights made from their names."""
    args = full_args(case.meta["build"])
    nets = {net: build(net, args).eval() for net in "GD"}
    for net, module in nets.items():
        Peer(net, module).fill(case, net, None)
    z, y, x = read(case, "z"), read(case, "y"), read(case, "x")
    case.check("img", nets["G"](z, y)[-1])
    case.check("img_psi05", nets["G"](z, y, truncation=0.5)[-1])
    encoded = nets["D"].encode(x)
    case.check("logits", nets["D"].judge(encoded, y))
    case.check("feat_cls", nets["D"].features(encoded)[0])
