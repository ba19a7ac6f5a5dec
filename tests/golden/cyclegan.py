"""CycleGAN, pix2pix and CUT: a case's `args` make our recipe, which has to give the peer's numbers.

The whole optimization step goes through the trainer, as training does.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from largegan import recipes
from largegan.interop import cyclegan
from largegan.interop.cyclegan_names import names_of
from largegan.nets.patchgan import PatchGAN
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Progress, Recipe
from largegan.recipes.cut import CUT
from largegan.recipes.cyclegan import CycleGAN
from largegan.recipes.pix2pix import Pix2Pix
from largegan.trainer import Trainer
from tests.golden import procfill
from tests.golden.goldcheck import Case
from tests.recipes.common import keep_gradients

NAMES = {CUT: "cut", CycleGAN: "cyclegan", Pix2Pix: "pix2pix"}
NETS = {kind: cyclegan.NETS[name] for kind, name in NAMES.items()}
GAN_LOSSES = {"wgangp": "wgan", "nonsaturating": "vanilla"}
START = Progress()


def build(case: Case) -> Recipe:
    """The recipe of a case, with the case's weights."""
    args = case.meta["args"]
    images = case.image("A_u8"), case.image("B_u8")
    spec = DataSpec(images[0].shape[1], *images[0].shape[2:], channels_b=images[1].shape[1])
    kind = CUT if "F" in case.meta["names"] else CycleGAN
    kind = kind if "G_A" in case.meta["names"] or kind is CUT else Pix2Pix
    options = {
        "g_channels": args["ngf"],
        "d_channels": args["ndf"],
        "d_layers": _halvings(args),
        "norm": args["norm"],
        "antialias": not args.get("no_aa", kind is Pix2Pix),
        "dropout": args.get("use_dropout", False),
    }
    mode = args.get("gan_mode", "vanilla" if kind is Pix2Pix else "lsgan")
    options["gan_loss"] = GAN_LOSSES.get(mode, mode)
    generator = _generator(args["netG"])
    if kind is CUT:
        if generator["architecture"] != "resnet":
            raise NotImplementedError(f"netG = {args['netG']!r} for CUT is not built here")
        options |= {"blocks": generator["depth"]} | _contrast(args)
    else:
        options |= generator
    if kind is CycleGAN:
        options |= {
            "cycle_a": args.get("lambda_A", 10.0),
            "cycle_b": args.get("lambda_B", 10.0),
            "identity": args.get("lambda_identity", 0.5),
            "pool_size": 0,
        }
    if kind is Pix2Pix:
        options["l1"] = args.get("lambda_L1", 100.0)
    recipe = recipes.build(NAMES[kind], spec, options)
    reset(case, recipe)
    return recipe


def _generator(name: str) -> dict:
    """`resnet_9blocks`, `unet_256`: our recipes' options."""
    found = re.fullmatch(r"resnet_(\d+)blocks|unet_(\d+)", name)
    if not found:
        raise NotImplementedError(f"netG = {name!r} is not built here")
    if found[2]:
        return {"architecture": "unet", "depth": int(found[2]).bit_length() - 1}
    return {"architecture": "resnet", "depth": int(found[1])}


def _halvings(args: dict) -> int:
    """Of the discriminator: `basic` has 3 whatever else is said, `pixel` none."""
    kinds = {"basic": 3, "n_layers": args.get("n_layers_D", 3), "pixel": 0}
    name = args.get("netD", "n_layers" if "n_layers_D" in args else "basic")
    if name not in kinds:
        raise NotImplementedError(f"netD = {name!r} is not built here")
    return kinds[name]


def _contrast(args: dict) -> dict:
    layers = args.get("nce_layers", [0, 4, 8, 12, 16])
    layers = [int(n) for n in layers.split(",")] if isinstance(layers, str) else list(layers)
    return {
        "nce_layers": layers,
        "patches": args.get("npatch", 256),
        "projection": args.get("nc", 256) if args.get("netF", "mlp_sample") != "sample" else 0,
        "gan": args.get("lambda_GAN", 1.0),
        "nce": args.get("lambda_NCE", 1.0),
        "nce_identity": args.get("nce_idt", True),
        "nce_across_images": args.get("nce_includes_all_negatives_from_minibatch", False),
        "temperature": args.get("nce_T", 0.07),
    }


def reset(case: Case, recipe: Recipe) -> None:
    """The networks as they were before anything ran, training, without gradients."""
    for peer, ours in NETS[type(recipe)].items():
        net, state = getattr(recipe, ours), case.state(peer)
        net.load_state_dict({name: state[old] for old, name in names_of(net, state).items()})
        net.train().requires_grad_(True).zero_grad()


class Run:
    """A case's recipe and batch, and our tensors by the peer's names."""

    def __init__(self, case: Case):
        self.case, self.recipe = case, build(case)
        self.nets = NETS[type(self.recipe)]
        self.a, self.b = case.image("A_u8"), case.image("B_u8")

    def batch(self) -> dict[str, Tensor]:
        return {"image_a": self.a, "image_b": self.b}

    def net(self, peer: str) -> nn.Module:
        return getattr(self.recipe, self.nets[peer])

    def tensors(self, peer: str, names: str | None = None) -> dict[str, Tensor]:
        ours = names_of(self.net(peer), self.case.state(peer))
        state = self.net(peer).state_dict()
        return {n: state[ours[n]].clone() for n in self.case.meta["names"][names or peer]}

    def gradients(self, peer: str) -> dict[str, Tensor]:
        ours = names_of(self.net(peer), self.case.state(peer))
        grads = {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.net(peer).named_parameters()
        }
        return {n: grads[ours[n]] for n in self.case.meta["names"][peer]}

    def backward(self, loss: Tensor, *nets: str) -> None:
        """Gradients of a loss for some networks, from zero."""
        self.recipe.zero_grad()
        loss.backward()
        for peer in nets:
            key = next(k for k in self.case.outputs() if re.fullmatch(rf"grad\..*\.{peer}", k))
            self.case.check_rows(key, self.gradients(peer))

    def check_picture(self, name: str, image: Tensor) -> None:
        """Cases of 256 pixels keep every second one."""
        if f"{name}_s2" in self.case.outputs():
            self.case.check(f"{name}_s2", image[:1, :, ::2, ::2])
        else:
            self.case.check(name, image[: len(self.case.expected(name))])

    def check_statistics(self, name: str, peer: str) -> None:
        """The running statistics of a network, one after the other."""
        buffers = self.tensors(peer, f"{peer}_bn").values()
        self.case.check(name, torch.cat([b.flatten() for b in buffers]))

    def trainer(self) -> Trainer:
        reset(self.case, self.recipe)
        engine = Engine(World(0, 1, torch.device("cpu")))
        engine.setup(self.recipe)
        # Sums in the peer's order: in channels-last memory (tests/nets compares the two) rounding
        # moved one hidden unit of cut_r32 over the kink of its ReLU, and with it a tenth of the
        # gradient of one layer.
        self.recipe.to(memory_format=torch.contiguous_format)
        size = len(self.a)
        return Trainer(
            self.recipe,
            engine,
            _Same(self.batch),
            to_device=lambda batch, device: batch,
            batch_size=size,
            micro_batch_size=size,
        )

    def check_moves(self, before: dict[str, dict[str, Tensor]]) -> None:
        for peer, old in before.items():
            new = self.tensors(peer)
            moved = {name: new[name] - old[name] for name in old}
            self.case.check_rows(f"delta.step.{peer}", moved)


@contextmanager
def running_statistics(*nets: nn.Module) -> Iterator[None]:
    """Within it, networks evaluate, and batch norm by its running averages, as in the peer."""
    modules = [module for net in nets for module in net.modules()]
    own = [getattr(module, "own_statistics", False) for module in modules]
    for module in modules:
        module.training, module.own_statistics = False, False
    yield
    for module, before in zip(modules, own, strict=True):
        module.training, module.own_statistics = True, before


class _Same:
    """A stream that brings one batch for ever."""

    def __init__(self, make):
        self.make = make

    def next_batch(self) -> list[dict[str, Tensor]]:
        return [self.make()]


def check(case: Case) -> None:
    run = Run(case)
    {CycleGAN: check_cyclegan, Pix2Pix: check_pix2pix, CUT: check_cut}[type(run.recipe)](run)


CYCLEGAN_TERMS = {
    # the peer's: ours; its idt_A is what its G_A makes of B
    "G_A": "gan_ab",
    "G_B": "gan_ba",
    "cycle_A": "cycle_a",
    "cycle_B": "cycle_b",
    "idt_A": "identity_b",
    "idt_B": "identity_a",
}


def check_cyclegan(run: Run) -> None:
    case, recipe = run.case, run.recipe
    with torch.no_grad(), running_statistics(*(run.net(peer) for peer in run.nets)):
        fake_b, fake_a = recipe.G_ab(run.a), recipe.G_ba(run.b)
        run.check_picture("fake_B", fake_b)
        case.check("pred_A", recipe.D_b(run.b))
        case.check("pred_B_of_fake", recipe.D_a(fake_a))
    if "fake_B_train" in case.outputs():  # batch norm sees the batch then, and remembers it
        with torch.no_grad():
            case.check("fake_B_train", recipe.G_ab(run.a))
        run.check_statistics("bn_after_train", "G_A")
    if case.meta["args"].get("forward_only"):
        return
    reset(case, recipe)
    batch = run.batch()
    terms = recipe.generators(batch, START)
    for peer, ours in CYCLEGAN_TERMS.items():
        if f"loss_{peer}" in case.outputs():
            case.check(f"loss_{peer}", terms[ours])
    run.backward(sum(terms.values()), "G_A", "G_B")
    terms = recipe.discriminators(batch, START)
    case.check("loss_D_A", terms["gan_b"])
    case.check("loss_D_B", terms["gan_a"])
    run.backward(sum(terms.values()), "D_A", "D_B")
    trainer = run.trainer()
    before = {peer: run.tensors(peer) for peer in run.nets}
    trainer.iteration()
    told = trainer.tally.means()
    for peer, ours in CYCLEGAN_TERMS.items():
        if f"step_loss_{peer}" in case.outputs():
            case.check(f"step_loss_{peer}", torch.tensor(told[f"G.generators/{ours}"]))
    case.check("step_loss_D_A", torch.tensor(told["D.discriminators/gan_b"]))
    case.check("step_loss_D_B", torch.tensor(told["D.discriminators/gan_a"]))
    run.check_moves(before)


def check_pix2pix(run: Run) -> None:
    case, recipe = run.case, run.recipe
    G, D = recipe.G, recipe.D
    with torch.no_grad():
        with running_statistics(G, D):
            run.check_picture("fake_B_eval", G(run.a))
            few = len(case.expected("pred_eval"))
            case.check("pred_eval", D(torch.cat([run.a, run.b], 1))[:few])
        fake = G(run.a)
        run.check_picture("fake_B_train", fake)
    reset(case, recipe)
    on_fake = D(torch.cat([run.a, fake], 1))
    on_real = D(torch.cat([run.a, run.b], 1))
    case.check("loss_D_fake", recipe.gan.fake(on_fake))
    case.check("loss_D_real", recipe.gan.real(on_real))
    trainer = run.trainer()
    before = {peer: run.tensors(peer) for peer in run.nets}
    micro = trainer.next_micro_batches()
    keep_gradients(trainer.engine)
    trainer.run_phase(recipe.phases[0], micro, (0, 0))
    case.check_rows("grad.D.D", run.gradients("D"))
    trainer.run_phase(recipe.phases[1], micro, (1, 0))
    case.check_rows("grad.G_after_D_update.G", run.gradients("G"))
    told = trainer.tally.means()
    case.check("loss_G_GAN", torch.tensor(told["G.generator/gan"]))
    case.check("loss_G_L1", torch.tensor(told["G.generator/l1"]))
    run.check_moves(before)
    for peer in "GD":
        if f"step_bn_{peer}" in case.outputs():
            run.check_statistics(f"step_bn_{peer}", peer)


def check_cut(run: Run) -> None:
    case, recipe = run.case, run.recipe
    count = len(recipe.nce_layers)
    places = [
        [case.input(f"ids_{call}_{i}").long() for i in range(count)]
        for call in range(2 if recipe.nce_identity else 1)
    ]

    def given() -> None:
        """The next losses compare the file's places instead of random ones."""
        calls = iter(places)
        recipe.F.positions = lambda maps, patches: next(calls)

    with torch.no_grad():
        maps = recipe.G.features(run.a, recipe.nce_layers)
        for name in case.outputs():
            if name.startswith("enc_feat_"):
                case.check(name, maps[int(name.rpartition("_")[2])][:1, :4])
        for i, vectors in enumerate(recipe.F(maps, places[0])):
            case.check(f"patch_feat_{i}", vectors)
        inputs = torch.cat([run.a, run.b]) if recipe.nce_identity else run.a
        run.check_picture("fake_B", recipe.G(inputs)[: len(run.a)])
    reset(case, recipe)
    batch = run.batch()
    loss = sum(recipe.discriminator(batch, START).values())
    case.check("loss_D", loss)
    run.backward(loss, "D")
    reset(case, recipe)
    given()
    terms = recipe.generator(batch, START)
    case.check("loss_G_GAN", terms["gan"])
    share = 2 if recipe.nce_identity else 1  # the file has the losses before they are averaged
    case.check("loss_NCE", terms["nce"] * share)
    if recipe.nce_identity:
        case.check("loss_NCE_Y", terms["identity"] * share)
    learning = ["G", "F"] if list(recipe.F.parameters()) else ["G"]
    run.backward(sum(terms.values()), *learning)
    trainer = run.trainer()
    before = {peer: run.tensors(peer) for peer in ["D", *learning]}
    given()
    trainer.iteration()
    told = trainer.tally.means()
    case.check("step_loss_D", torch.tensor(told["D.discriminator/gan"]))
    step = sum(told[f"G.generator/{name}"] for name in terms)
    case.check("step_loss_G", torch.tensor(step))
    run.check_moves(before)


def check_full(case: Case) -> None:
    """Published size: weights made from the peer's names, one picture and its logits."""
    G, D = ResnetGenerator().eval(), PatchGAN().eval()
    for peer, net in (("G", G), ("D", D)):
        peers = _named_like_the_peer(net)
        ours = names_of(net, peers)
        filled = {
            ours[name]: procfill.fill(case.meta["procfill"], peer, name, tensor.shape)
            for name, tensor in peers.items()
        }
        net.load_state_dict(filled)
        assert sum(p.numel() for p in net.parameters()) == case.meta["num_params"][peer]
    with torch.no_grad():
        fake = G(case.input("image_i8").float() / 127)
        case.check("fake_s4", fake[..., ::4, ::4])
        case.check("pred", D(case.input("image_i8").float() / 127))


def _named_like_the_peer(net: nn.Module) -> dict[str, Tensor]:
    """Our tensors under the peer's names, with instance norm, which has none of its own."""
    if isinstance(net, PatchGAN):
        numbers = [0, *range(2, 3 * len(net.convs), 3)]
        convs = [*net.convs, net.score]
        pairs = [(f"model.{n}.", conv) for n, conv in zip(numbers, convs, strict=True)]
        return {p + k: v for p, conv in pairs for k, v in conv.state_dict().items()}
    names = {"layers.": "model.", "conv1": "conv_block.1", "conv2": "conv_block.5"}
    found = {}
    for name, tensor in net.state_dict().items():
        for ours, peer in names.items():
            name = name.replace(ours, peer)
        found[name] = tensor
    return found
