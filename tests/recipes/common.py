"""Tiny versions of every recipe, and data for them, for the suite that each recipe gets.

A recipe is tested by being in the table. `TINY` only makes it small; a recipe without a row here
is tested with its defaults on 16-pixel images.
"""

import hashlib
from dataclasses import fields

import torch

from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, MakesSources, Recipe
from largegan.recipes import TABLE, build, options_class, recipe_class
from largegan.trainer import Trainer

IMAGES = DataSpec(channels=3, height=16, width=16, num_classes=3)
NUMBERS = DataSpec(channels=1, height=1, width=1)
TWO_DOMAINS = DataSpec(channels=3, height=16, width=16, channels_b=3)

TINY: dict[str, dict] = {
    "gaussian": {"width": 8},
    "gan": {"z_dim": 4, "width": 32},
    "dcgan": {"z_dim": 4, "channels": 4},
    "wgan": {"z_dim": 4, "channels": 4, "n_critic": 2},
    "wgan_gp": {"z_dim": 4, "g_channels": 4, "d_channels": 4, "n_critic": 2},
    "sngan": {"z_dim": 4, "g_channels": 4, "d_channels": 4, "d_steps": 2},
    "stylegan2": {
        "z_dim": 4,
        "w_dim": 4,
        "channel_base": 64,
        "channel_max": 4,
        "ada_p": 0.3,
        "ada_nimg_to_full": 200,
    },
    "stylegan3": {
        "z_dim": 4,
        "w_dim": 4,
        "channel_base": 16,
        "channel_max": 4,
        "layers": 3,
        "margin": 2,
        "filter_size": 4,
        "d_channel_base": 64,
        "d_channel_max": 4,
        "r1_every": 4,
        "ada_p": 0.3,
        "ada_nimg_to_full": 200,
    },
    "r3gan": {
        "z_dim": 4,
        "channel_base": 64,
        "channel_max": 4,
        "group_width": 4,
        "blocks": 1,
        "g_embed_dim": 3,
        "schedule_nimg": 4000,
        "ema_halflife_nimg": 500,
    },
    "cgan": {"z_dim": 4, "channels": 4},
    "sagan": {"z_dim": 4, "g_channels": 2, "d_channels": 4, "attention": 8},
    "biggan": {"z_dim": 6, "shared_dim": 3, "g_channels": 2, "d_channels": 2, "attention": 8},
    "biggan_deep": {"z_dim": 3, "shared_dim": 3, "g_channels": 2, "d_channels": 4, "attention": 8},
    "projected_gan": {
        "z_dim": 4,
        "channels": 4,
        "backbone": "random:test_efficientnet",
        "backbone_size": 32,
        "features": 4,
        "judges": 2,
        "patch": True,
        "d_channel_max": 16,
    },
    "gat": {
        "z_dim": 4,
        "patch": 4,
        "g_width": 16,
        "g_depth": 4,
        "g_heads": 2,
        "d_width": 16,
        "d_depth": 1,
        "d_heads": 2,
        "cmap_dim": 8,
        "ema_halflife_nimg": 1000,
    },
    "pix2pix": {"depth": 5, "g_channels": 2, "d_channels": 2, "d_layers": 1},
    "cyclegan": {"depth": 1, "g_channels": 2, "d_channels": 2, "d_layers": 1, "pool_size": 6},
    "lapgan": {"z_dim": 4, "g_width": 16, "d_width": 16, "channels": 4},
    "gmmn": {"z_dim": 4, "width": 4},
    "gmmn_codes": {
        "code_dim": 4,
        "code_width": 16,
        "z_dim": 4,
        "width": 4,
        "code_nimg": 3200,
        "start_nimg": 0,
    },
    "gaussian_mmd": {"width": 8},
    # A discriminator that sees real and fake apart through batch norm learns a mean late.
    "ali": {"z_dim": 4, "channels": 2, "d_norm": "none"},
    "bigan": {"z_dim": 4, "width": 32, "d_norm": "none"},
    "srresnet": {"scale": 2, "channels": 4, "blocks": 1},
    "srgan": {
        "scale": 2,
        "channels": 4,
        "blocks": 1,
        "d_channels": 2,
        "content": "random:test_resnet",
        "pixel_weight": 1.0,
    },
    "esrgan": {
        "scale": 4,
        "channels": 4,
        "blocks": 1,
        "d_channels": 2,
        "content": "random:test_resnet",
    },
    "cut": {
        "blocks": 1,
        "g_channels": 2,
        "d_channels": 2,
        "d_layers": 1,
        "nce_layers": [0, 8, 12],
        "patches": 8,
        "projection": 8,
        "flip_equivariance": True,
    },
}
# Options under which nothing depends on the other images of a batch: there, splitting a batch
# over micro-batches or ranks changes nothing but the order of sums.
NO_BATCH_STATISTICS: dict[str, dict] = {
    "gaussian": {},
    "gan": {},
    "dcgan": {"norm": "none"},
    "wgan": {"norm": "none"},
    "wgan_gp": {"g_norm": "none"},
    "sngan": {"g_norm": "none"},
    # Path lengths are compared with the mean of their micro-batch; without classes and with equal
    # latents they are all the same.
    "stylegan2": {"mbstd_group": 1, "conditional": False, "pl_weight": 0.1},
    # Without classes and with equal latents all fakes are alike, and so are the magnitudes that
    # layers see; a mean that never moves is that of no batch.
    "stylegan3": {"mbstd_group": 1, "conditional": False, "magnitude_halflife_nimg": 1e12},
    "r3gan": {},
    "cgan": {"norm": "none"},
    "sagan": {"norm": "none"},
    "biggan": {"norm": "none"},
    "biggan_deep": {"norm": "none"},
    "projected_gan": {"norm": "none"},
    # Differences of logits over a hundredth make a hundred roundings of one: a longer step.
    "gat": {"gp_sigma": 1.0},
    "pix2pix": {"norm": "none", "dropout": False},
    # Instance norm mixes no images, but gradients of the biases before it are rounding noise,
    # which Adam turns into steps of full length.
    "cyclegan": {"norm": "none"},
    "lapgan": {"dropout": 0.0},
    # Every example is compared with all others of its group, here its micro-batch.
    "gmmn": {"group": 2},
    "gmmn_codes": {"group": 2, "dropout": 0.0},
    "gaussian_mmd": {"group": 2},
    "ali": {"norm": "none", "dropout": 0.0},
    "srresnet": {"norm": "none"},
    "srgan": {"norm": "none"},
    "esrgan": {"norm": "none", "compare": "pairs"},
    # The projections start so small that normalizing them enlarges rounding 10,000 times.
    "cut": {"norm": "none", "projection": 0},
}
# Where a batch is cut into the same micro-batches, nothing but batch norm's running statistics
# depends on who computes which: so this much of a recipe can be compared between one process and
# several. Recipes that are not here: as above.
SAME_MICRO_BATCHES: dict[str, dict] = {
    "stylegan2": {"pl_every": 2, "pl_shrink": 1, "r1_every": 2},
    "pix2pix": {"norm": "none"},
    "cyclegan": {},
    "cut": {},
}
NAMES = list(TABLE)


def spec_of(name: str) -> DataSpec:
    return spec_reading(recipe_class(name).reads)


def spec_reading(reads: tuple[str, ...]) -> DataSpec:
    if "image_b" in reads:
        return TWO_DOMAINS
    return NUMBERS if "x" in reads else IMAGES


def make_recipe(name: str, *, seed: int = 0, exact: bool = False, same: bool = False) -> Recipe:
    """A tiny recipe; `exact` picks the options that have no batch statistics, `same` those that
    do not depend on who computes a micro-batch.
    """
    torch.manual_seed(seed)
    options, plain = dict(TINY.get(name, {})), without_batch_statistics(name)
    if same:
        options |= SAME_MICRO_BATCHES.get(name, plain)
    elif exact:
        options |= plain
    return build(name, spec_of(name), options)


def without_batch_statistics(name: str) -> dict:
    """Of the table, or for a recipe that is not in it: every norm that can be left out is."""
    norms = {f.name: "none" for f in fields(options_class(name)) if f.name.endswith("norm")}
    return NO_BATCH_STATISTICS.get(name, norms)


class ToyStream:
    """Micro-batches as a pure function of their position: what the real stream promises."""

    def __init__(
        self,
        spec: DataSpec,
        *,
        batch_size: int,
        micro_batch_size: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.spec, self.batch_size, self.micro = spec, batch_size, micro_batch_size
        self.rank, self.world, self.position = rank, world, 0
        self.drawn: list[int] = []

    @property
    def skipped(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass

    def next_batch(self) -> list[dict]:
        first, self.position = self.position, self.position + self.batch_size
        starts = range(first, self.position, self.micro)[self.rank :: self.world]
        return [self.collate(range(s, s + self.micro)) for s in starts]

    def collate(self, positions: range) -> dict:
        self.drawn += positions
        samples = [example(self.spec, p) for p in positions]
        return {k: torch.stack([s[k] for s in samples]) for k in samples[0]}

    def state_dict(self) -> dict:
        return {"position": self.position}

    def load_state_dict(self, state: dict) -> None:
        self.position = state["position"]


def example(spec: DataSpec, position: int) -> dict:
    """One training example: a colored gradient, or a number near 4."""
    seed = int.from_bytes(hashlib.blake2b(str(position).encode(), digest_size=4).digest(), "big")
    random = torch.Generator().manual_seed(seed)
    if spec == NUMBERS:
        return {"x": 4 + 1.25 * torch.randn(1, generator=random)}
    if spec.channels_b:
        size, a, b = (spec.height, spec.width), spec.channels, spec.channels_b
        first = _gradient(random, 1, 0.6, (a, *size))
        return {"image_a": first, "image_b": _gradient(random, 2, -0.4, (b, *size))}
    label = torch.randint(max(1, spec.num_classes), (), generator=random)
    ramp = torch.linspace(-0.5, 0.5, spec.width).expand(spec.channels, spec.height, -1)
    color = 0.6 + 0.2 * torch.randn(spec.channels, 1, 1, generator=random)
    return {"image": (ramp * (label + 1) / 3 + color).clamp(-1, 1), "label": label}


def _gradient(random: torch.Generator, slope: int, level: float, shape) -> torch.Tensor:
    channels, height, width = shape
    ramp = torch.linspace(-0.3, 0.3, width).expand(channels, height, -1) * slope / 2
    return (ramp + level + 0.1 * torch.randn(channels, 1, 1, generator=random)).clamp(-1, 1)


def draw(recipe: Recipe, n: int, random: torch.Generator) -> torch.Tensor:
    """`n` images that a recipe makes: samples, or translations of toy images."""
    device = random.device
    if not recipe.directions:
        return recipe.sample(n, random, labels=torch.arange(n, device=device) % 3)
    return recipe.translate(toy_sources(recipe, n).to(device))


def toy_sources(recipe: Recipe, n: int) -> torch.Tensor:
    """What a recipe that translates is given: images of domain a, or what it makes of images."""
    spec = spec_reading(recipe.reads)
    examples = [example(spec, p) for p in range(n)]
    if isinstance(recipe, MakesSources):
        return recipe.sources({"image": torch.stack([e["image"] for e in examples])})
    return torch.stack([e["image_a"] for e in examples])


def make_trainer(
    recipe: Recipe,
    name: str,
    *,
    world: World | None = None,
    batch_size: int = 8,
    micro_batch_size: int | None = None,
    max_bad_steps: int = 3,
    max_grad_norm: float | None = None,
    shares: dict | None = None,
    spec: DataSpec | None = None,
) -> Trainer:
    """A trainer on this process's share of the toy data; `shares` as `Engine` takes them.

    `spec` is of the data, where it is not the usual one.
    """
    world = world or World(0, 1, torch.device("cpu"))
    engine = Engine(world, shares)
    engine.setup(recipe)
    micro = micro_batch_size or batch_size // world.size
    stream = ToyStream(
        spec or spec_reading(recipe.reads),
        batch_size=batch_size,
        micro_batch_size=micro,
        rank=world.rank,
        world=world.size,
    )
    return Trainer(
        recipe,
        engine,
        stream,
        to_device=lambda batch, device: {k: v.to(device) for k, v in batch.items()},
        batch_size=batch_size,
        micro_batch_size=micro,
        max_bad_steps=max_bad_steps,
        max_grad_norm=max_grad_norm,
    )


def keep_gradients(engine: Engine) -> None:
    """For tests that look at them after a step, where engines forget them."""
    for optimizer in engine.optimizers.values():
        optimizer.zero_grad = lambda set_to_none=True: None


def iterate(trainer: Trainer, iterations: int) -> Trainer:
    for _ in range(iterations):
        trainer.iteration()
    return trainer


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    """A copy of everything the recipe registers."""
    return {k: v.detach().clone() for k, v in recipe.state_dict().items()}
