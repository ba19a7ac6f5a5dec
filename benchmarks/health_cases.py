"""What `health.py` trains: healthy runs of small recipes, ill ones, and their remedies."""

COMMON = {
    "data.workers": 0,
    "train.total_nimg": 1_000_000,
    "train.batch_size": 32,
    "train.log_every_nimg": 1_000,
    "train.sample_every_nimg": 1_000_000,
    "train.save_every_nimg": 1_000_000,
    "train.cpu_threads": 1,
    "health.look_every_nimg": 2_000,
    "health.look_count": 128,
}
# Thin networks, so that two minutes are enough for something to happen.
RECIPES: dict[str, dict] = {
    "gan": {"recipe.width": 128, "recipe.ema_halflife_nimg": 500},
    "dcgan": {"recipe.channels": 8, "recipe.ema_halflife_nimg": 500},
    "cgan": {"recipe.channels": 8, "recipe.ema_halflife_nimg": 500},
    "wgan": {"recipe.channels": 8, "recipe.ema_halflife_nimg": 500, "recipe.n_critic": 2},
    "wgan_gp": {
        "train.batch_size": 16,
        "train.log_every_nimg": 500,
        "health.look_every_nimg": 1000,
        "recipe.g_channels": 4,
        "recipe.d_channels": 4,
        "recipe.n_critic": 5,
        "recipe.ema_halflife_nimg": 500,
    },
    "sngan": {
        "train.batch_size": 16,
        "train.log_every_nimg": 500,
        "health.look_every_nimg": 1000,
        "recipe.g_channels": 4,
        "recipe.d_channels": 4,
        "recipe.d_steps": 5,
        "recipe.ema_halflife_nimg": 500,
    },
    "biggan": {
        "train.log_every_nimg": 250,
        "health.look_every_nimg": 500,
        "train.batch_size": 16,
        "recipe.z_dim": 32,
        "recipe.shared_dim": 16,
        "recipe.g_channels": 4,
        "recipe.d_channels": 4,
        "recipe.attention": 16,
        "recipe.ortho": 0.0,
        "recipe.d_steps": 1,
        "recipe.g_lr": 1e-3,
        "recipe.d_lr": 2e-3,
        "recipe.beta1": 0.5,
        "recipe.ema_halflife_nimg": 500,
    },
    "lapgan": {
        "recipe.g_width": 64,
        "recipe.d_width": 64,
        "recipe.channels": 8,
        "recipe.ema_halflife_nimg": 500,
    },
    "r3gan": {
        "train.log_every_nimg": 250,
        "health.look_every_nimg": 500,
        "train.batch_size": 16,
        "recipe.z_dim": 32,
        "recipe.channel_base": 512,
        "recipe.channel_max": 16,
        "recipe.blocks": 1,
        "recipe.lr": 1.5e-3,
        "recipe.gamma": 0.1,
        "recipe.schedule_nimg": 20_000,
        "recipe.ema_halflife_nimg": 500,
    },
    "stylegan2": {
        "train.log_every_nimg": 250,
        "health.look_every_nimg": 500,
        "train.batch_size": 16,
        "recipe.z_dim": 32,
        "recipe.w_dim": 32,
        "recipe.channel_base": 512,
        "recipe.channel_max": 16,
        "recipe.ema_halflife_nimg": 500,
    },
    "gaussian": {
        "data.path": "synthetic:gaussian",
        "train.log_every_nimg": 10_000,
        "health.look_every_nimg": 20_000,
    },
}
SEEDS = (0, 1, 2, 3)  # 3 was trained when thresholds had been set
LEARNS_BY_HEART = {"recipe.d_width": 512, "recipe.lr": 1e-3}
OFTEN = {"train.log_every_nimg": 250, "health.look_every_nimg": 500}  # for slow iterations
ONE_STEP = OFTEN | {"recipe.d_steps": 1, "train.batch_size": 32}
# verdict: {name: (recipe, settings that make it ill)}; held_out leaves few of 1,633 to train on.
ILL: dict[str, dict[str, tuple[str, dict]]] = {
    "discriminator_dominates": {
        "fast-d": ("dcgan", {"recipe.d_lr": 2e-3, "recipe.g_lr": 1e-5}),
        "k-20": ("dcgan", OFTEN | {"recipe.d_steps": 20}),
        "weak-g": ("gan", {"recipe.g_width": 1, "recipe.d_width": 512}),
        "hinge": ("sngan", OFTEN | {"recipe.d_lr": 2e-3, "recipe.g_lr": 1e-6, "recipe.d_steps": 5}),
    },
    "generator_dominates": {
        "slow-d": ("dcgan", {"recipe.d_lr": 1e-7, "recipe.g_lr": 1e-3}),
        "thin-d": ("dcgan", {"recipe.d_channels": 1, "recipe.d_lr": 1e-6}),
        "weak-d": ("gan", {"recipe.d_width": 1, "recipe.d_lr": 1e-6, "recipe.g_lr": 1e-3}),
        "hinge": ("sngan", ONE_STEP | {"recipe.d_lr": 1e-7, "recipe.g_lr": 1e-3}),
    },
    "mode_collapse": {
        "z-1": ("dcgan", {"recipe.z_dim": 1}),
        "fast-g": ("dcgan", {"recipe.g_lr": 2e-2, "recipe.beta1": 0.9}),
        "many-g": ("gan", {"recipe.g_lr": 1e-2, "recipe.d_lr": 1e-4}),
        "slow-d": ("sngan", ONE_STEP | {"recipe.d_lr": 1e-6, "recipe.g_lr": 5e-3}),
    },
    "discriminator_overfits": {
        "30-images": ("gan", {"data.held_out": 1603, **LEARNS_BY_HEART}),
        "60-images": ("gan", {"data.held_out": 1573, **LEARNS_BY_HEART}),
        "100-images": ("gan", {"data.held_out": 1533, **LEARNS_BY_HEART}),
    },
    "memorises": {
        "4-images": ("gan", {"data.held_out": 1629, "recipe.lr": 2e-3}),
        "8-images": ("gan", {"data.held_out": 1625, "recipe.lr": 1e-3}),
        "8-images-wide": ("gan", {"data.held_out": 1625, "recipe.lr": 1e-3, "recipe.width": 256}),
    },
    "diverges": {
        "lr-300": ("gan", {"recipe.lr": 6e-2}),
        "lr-100": ("gan", {"recipe.lr": 2e-2}),
        "critic": ("wgan", {"recipe.lr": 5e-2, "recipe.clip": 100.0}),
        "deep-lr": ("dcgan", {"recipe.lr": 0.1, "recipe.norm": "none"}),
    },
    "random_feedback": {
        "flips": ("gan", {"recipe.label_flip": 0.5, "recipe.label_flip_sides": "both"}),
        "noise": ("gan", {"recipe.instance_noise": 100.0}),
        "dropout": ("gan", {"recipe.d_dropout": 0.98}),
    },
    "no_progress": {
        "slow-g": ("dcgan", OFTEN | {"recipe.g_lr": 1e-8}),
        "slow": ("gan", {"recipe.lr": 1e-9}),
        "slow-critic": ("wgan", OFTEN | {"recipe.lr": 1e-9}),
    },
}
# What is done about some of them, settings that their verdicts propose: {row: (illness, settings)}.
MENDS: dict[str, tuple[str, dict]] = {
    "k-20": ("discriminator_dominates-k-20", {"recipe.label_flip": 0.1}),
    "thin-d": ("generator_dominates-thin-d", {"recipe.d_channels": 2, "recipe.d_lr": 4e-6}),
    "z-1": ("mode_collapse-z-1", {"recipe.z_dim": 4}),
    "60-images": ("discriminator_overfits-60-images", {"recipe.d_dropout": 0.25}),
    "30-images-augment": (
        "discriminator_overfits-30-images",
        {"recipe.augment": "diffaugment"},
    ),
    "100-images-augment": (
        "discriminator_overfits-100-images",
        {"recipe.augment": "diffaugment"},
    ),
    "8-images": ("memorises-8-images", {"data.mirror": "true"}),
    "8-images-augment": ("memorises-8-images-wide", {"recipe.augment": "diffaugment"}),
    "lr-300": ("diverges-lr-300", {"recipe.g_lr": 6e-3, "recipe.d_lr": 6e-3}),
    "lr-100": ("diverges-lr-100", {"recipe.g_lr": 2e-3, "recipe.d_lr": 2e-3}),
    "flips": ("random_feedback-flips", {"recipe.label_flip": 0.0}),
    "noise": ("random_feedback-noise", {"recipe.instance_noise": 0.0}),
}


def cases() -> dict[str, tuple[list[str], str | None]]:
    """Name: (words for `parse`, the verdict it should get or None)."""
    found = {}
    for verdict, rows in ILL.items():
        for name, (recipe, settings) in rows.items():
            for seed in SEEDS:
                of_seed = words(recipe, settings | {"train.seed": seed})
                found[f"{verdict}-{name}{'' if seed == 0 else f'-seed{seed}'}"] = of_seed, verdict
    for row, (name, remedy) in MENDS.items():
        found[f"mended-{row}"] = [*found[name][0], *flags(remedy)], None
    for recipe in RECIPES:
        for seed in SEEDS:
            found[f"healthy-{recipe}-{seed}"] = (
                words(recipe, {"train.seed": seed, "data.held_out": 200}),
                None,
            )
    return found


def words(recipe: str, settings: dict) -> list[str]:
    return flags(COMMON | RECIPES[recipe] | settings | {"recipe.name": recipe})


def flags(settings: dict) -> list[str]:
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]
