"""What to change when a verdict has begun: settings that this run has, in the order of the sources.

Courses on GANs recommend, for a discriminator that wins: false labels for some real images, dropout
in it, more filters in the generator, fewer in it; for a generator that wins the opposite; for
collapsed modes more latent numbers and both ways of impairing. Learning rates of two time scales
are from Heusel et al. (2017), augmentation that adapts from Karras et al. (2020), the penalty on
gradients from Mescheder et al. (2018).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from largegan.health.records import Remedy, Setting

Settings = Mapping[str, Any]  # of the whole run, by dotted names


class Change(NamedTuple):
    """A row: what `new` makes of the settings, or None where it does not apply; and why."""

    new: Callable[[Settings], dict[str, Setting] | None]
    why: str


def at_least(name: str, value: float, **others: Setting) -> Callable[[Settings], dict | None]:
    """A number that is smaller now; `others` are set with it, where the recipe has them."""

    def new(now: Settings) -> dict | None:
        if name not in now or (now[name] or 0) >= value:
            return None
        besides = {f"recipe.{key}": setting for key, setting in others.items()}
        return {name: value} | {key: v for key, v in besides.items() if now.get(key) != v}

    return new


def times(
    factor: float, *names: str, common: str | None = None, least: float = 0
) -> Callable[[Settings], dict | None]:
    """The first of `names` that the run has, times a factor; null stands for `common`."""

    def new(now: Settings) -> dict | None:
        name = next((name for name in names if name in now), None)
        if name is None:
            return None
        value = now[name] if now[name] is not None else now.get(common or "")
        if not value or isinstance(value, str | list | dict | bool):
            return None
        changed = value * factor
        if isinstance(value, int):
            changed = max(1, round(changed))
        return None if changed == value or changed < least else {name: rounded(changed)}

    return new


def rounded(value: float) -> float:
    """Three digits, as people write learning rates."""
    return value if isinstance(value, int) else float(f"{value:.3g}")


def one_of(*changes: Callable[[Settings], dict | None]) -> Callable[[Settings], dict | None]:
    """The first that applies: recipes call the same thing differently."""
    return lambda now: next((found for change in changes if (found := change(now))), None)


def augmentation(now: Settings) -> dict | None:
    """That of what D sees, where the recipe has it and it is off: the kind that adapts, if any."""
    if "recipe.augment" not in now or now["recipe.augment"] not in ("none", None, False):
        return None
    if now["recipe.augment"] is False:
        return {"recipe.augment": True}
    return {"recipe.augment": "ada" if "recipe.ada_target" in now else "diffaugment"}


def mirrored(now: Settings) -> dict | None:
    return None if now.get("data.mirror", True) else {"data.mirror": True}


def measured_stop(now: Settings) -> dict | None:
    """Stop by a score, where there is one."""
    if now.get("train.stop.metric") or not now.get("evaluate.every_nimg"):
        return None
    return {"train.stop.metric": now.get("evaluate.best", "fid")}


G_FILTERS = ("recipe.g_channels", "recipe.g_width", "recipe.channel_base")
D_FILTERS = ("recipe.d_channels", "recipe.d_width", "recipe.d_channel_base")
STEPS = ("recipe.d_steps", "recipe.n_critic")
PENALTIES = ("recipe.r1_gamma", "recipe.gamma", "recipe.gp", "recipe.r1")


def filters(names: tuple[str, ...], factor: float) -> Callable[[Settings], dict | None]:
    """More or fewer in one network; where it has none of its own, those of both."""
    commons = {"recipe.g_width": "recipe.width", "recipe.d_width": "recipe.width"}
    rows = (times(factor, name, common=commons.get(name, "recipe.channels")) for name in names)
    return one_of(*rows)


FLIP_REAL = Change(
    at_least("recipe.label_flip", 0.1, label_flip_sides="real"),
    "the discriminator is told the wrong label of some real images",
)
FLIP_BOTH = Change(
    at_least("recipe.label_flip", 0.05, label_flip_sides="both"),
    "the discriminator is told the wrong label of some images of both kinds",
)
SMOOTH = Change(
    at_least("recipe.label_smoothing", 0.1), "the discriminator is never quite sure of real images"
)
DROP_D = Change(at_least("recipe.d_dropout", 0.25), "the discriminator sees only part of the image")
DROP_G = Change(at_least("recipe.g_dropout", 0.25), "the generator is kept from one fixed answer")
NOISE = Change(
    at_least("recipe.instance_noise", 0.1), "real and generated images overlap until it fades"
)
MORE_G = Change(filters(G_FILTERS, 2), "a stronger generator")
FEWER_G = Change(filters(G_FILTERS, 0.5), "a weaker generator")
MORE_D = Change(filters(D_FILTERS, 2), "a stronger discriminator")
FEWER_D = Change(filters(D_FILTERS, 0.5), "a weaker discriminator")
MORE_Z = Change(
    lambda now: times(4, "recipe.z_dim")(now) if now.get("recipe.z_dim", 64) < 64 else None,
    "more numbers that can tell one sample from another",
)
SLOW_D = Change(times(0.25, "recipe.d_lr", common="recipe.lr"), "the discriminator learns slower")
FAST_D = Change(times(4, "recipe.d_lr", common="recipe.lr"), "the discriminator learns faster")
SLOW_G = Change(times(0.25, "recipe.g_lr", common="recipe.lr"), "the generator learns slower")
FAST_G = Change(times(4, "recipe.g_lr", common="recipe.lr"), "the generator learns faster")
FEWER_STEPS = Change(times(0.5, *STEPS), "fewer steps of the discriminator for each of the other")
MORE_STEPS = Change(times(2, *STEPS), "more steps of the discriminator for each of the other")
AUGMENT = Change(augmentation, "the discriminator cannot learn the training images by heart")
MIRROR = Change(mirrored, "twice as many images, where left and right do not matter")
PENALTY = Change(times(2, *PENALTIES), "a flatter discriminator")
CLIP = Change(at_least("train.max_grad_norm", 1.0), "one large gradient no longer moves everything")
STOP = Change(measured_stop, "the run ends when its score no longer improves")
SMALLER_STEPS = Change(
    lambda now: both(times(0.1, "recipe.g_lr", common="recipe.lr")(now),
                     times(0.1, "recipe.d_lr", common="recipe.lr")(now))
    or times(0.1, "recipe.lr")(now),
    "smaller steps",
)  # fmt: skip
NO_FLIPS = Change(
    lambda now: {"recipe.label_flip": 0.0} if now.get("recipe.label_flip") else None,
    "labels that the discriminator can learn from",
)
NO_NOISE = Change(
    lambda now: {"recipe.instance_noise": 0.0} if now.get("recipe.instance_noise") else None,
    "images that the discriminator can tell apart",
)
NO_DROP_D = Change(
    lambda now: {"recipe.d_dropout": 0.0} if now.get("recipe.d_dropout") else None,
    "a discriminator that sees whole images",
)


def both(first: dict | None, second: dict | None) -> dict | None:
    return first | second if first and second else None


REMEDIES: dict[str, tuple[Change, ...]] = {
    "discriminator_dominates": (
        FLIP_REAL, DROP_D, MORE_G, FEWER_D, FEWER_STEPS, SLOW_D, FAST_G, SMOOTH, NOISE, AUGMENT,
        PENALTY,
    ),
    "generator_dominates": (
        NO_FLIPS, NO_NOISE, NO_DROP_D, MORE_D, DROP_G, FEWER_G, MORE_STEPS, FAST_D, SLOW_G
    ),
    "mode_collapse": (MORE_Z, MORE_G, FLIP_BOTH, DROP_G, SLOW_G, PENALTY, AUGMENT),
    "discriminator_overfits": (AUGMENT, MIRROR, DROP_D, FEWER_D, PENALTY, NOISE, FLIP_REAL, STOP),
    "memorises": (AUGMENT, MIRROR, DROP_G, FEWER_G, DROP_D, STOP),
    "diverges": (SMALLER_STEPS, CLIP, PENALTY),
    "random_feedback": (NO_FLIPS, NO_NOISE, NO_DROP_D, MORE_D, FAST_D, MORE_STEPS, SLOW_G),
    "no_progress": (FAST_G, FAST_D, STOP),
}  # fmt: skip


def remedies(verdict: str, settings: Settings) -> Iterator[Remedy]:
    """What applies to a run of these settings, the most recommended first."""
    for change in REMEDIES[verdict]:
        if found := change.new(settings):
            yield Remedy(found, change.why)
