"""Starting from another run's weights: other images of the same shape, or other classes.

Everything that fits is taken over, averages included. Only what depends on the number of classes
may differ in shape: there the part that both have is taken over (so of a longer list of classes
the first ones begin as the old ones), and the rest begins as the recipe made it.

A recipe may also begin from another one (`Recipe.begins_from`: SRGAN from a generator that was
trained on pixels), of any image size: networks of the same name are taken over whole.
"""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from largegan import checkpoint
from largegan.ema.powers import without_powers
from largegan.errors import ConfigError
from largegan.recipe import DataSpec, Recipe
from largegan.recipes import build


def starting_weights(
    path: Path, recipe: Recipe, spec: DataSpec, *, name: str, options: dict
) -> tuple[dict[str, Tensor], list[str]]:
    """(model state to load into `recipe`, what to tell the user).

    Args:
        path: a run or one of its checkpoints.
        recipe: freshly made for `spec`, under `name` with `options`.

    Raises `ConfigError` when the checkpoint is of another recipe, architecture or image shape, and
    `DataError` when it is damaged.
    """
    path = checkpoint.resolve(path)
    content = checkpoint.load(path)
    checkpoint.check_state(path, content.state)
    model = without_powers(content.model)
    before, then = DataSpec(**content.state["spec"]), content.state["config"]["recipe"]["name"]
    if then in recipe.begins_from:
        return first_stage(path, model, recipe, then)
    check_kind(path, then, before, name, spec)
    twin = recipe  # a recipe of the same options for the old classes must fit the file exactly
    labels = {"num_classes": before.num_classes, "condition_dim": before.condition_dim}
    if replace(spec, **labels) != spec:
        twin = build(name, replace(spec, **labels), options)
    checkpoint.check_model(path, model, checkpoint.unaliased(twin.state_dict()))
    wanted = checkpoint.unaliased(recipe.state_dict())
    state = {key: taken_over(model.get(key), tensor) for key, tensor in wanted.items()}
    state |= {key: wanted[key] for key in recipe.run_state if key in wanted}
    changed = [k for k, t in wanted.items() if shape_of(model.get(k)) != t.shape]
    notes = [f"starting from the weights of {path}"]
    if changed:
        notes.append(f"  classes: {before.num_classes} -> {spec.num_classes}")
        notes += [f"  begins anew, in part or whole: {key}" for key in changed]
    return state, notes


def first_stage(
    path: Path, model: dict[str, Tensor], recipe: Recipe, then: str
) -> tuple[dict[str, Tensor], list[str]]:
    """All tensors of a run of another recipe, for the same names here; the rest begins anew."""
    wanted = checkpoint.unaliased(recipe.state_dict())
    taken = sorted({key.split(".")[0] for key in model})
    anew = sorted({key.split(".")[0] for key in wanted} - set(taken))
    for key in model.keys() | {key for key in wanted if key.split(".")[0] in taken}:
        shapes = shape_of(model.get(key)), shape_of(wanted.get(key))
        if shapes[0] != shapes[1]:
            there, here = ("none" if s is None else list(s) for s in shapes)
            raise ConfigError(
                f"run.init_from: {key} is {there} in {path} and {here} in this run; give it the "
                f"options of that run of {then}"
            )
    notes = [f"starting from {', '.join(taken)} of {then}, {path}"]
    if anew:
        notes.append(f"  begins anew: {', '.join(anew)}")
    return wanted | model, notes


def shape_of(tensor: Tensor | None):
    return None if tensor is None else tensor.shape


def check_kind(path: Path, then: str, before: DataSpec, name: str, spec: DataSpec) -> None:
    """Raises ConfigError for weights of another recipe, or for images of another shape."""
    if then != name:
        raise ConfigError(f"run.init_from: {path} is of recipe {then}, this run is of {name}")
    old = (before.channels, before.height, before.width)
    new = (spec.channels, spec.height, spec.width)
    if old != new:
        raise ConfigError(
            f"run.init_from: {path} was trained on images of {'x'.join(map(str, old))} (channels, "
            f"height, width), these data have {'x'.join(map(str, new))}; pack them in that shape"
        )


def taken_over(saved: Tensor | None, fresh: Tensor) -> Tensor:
    """`fresh` with all that `saved` has for it."""
    if saved is None or saved.ndim != fresh.ndim:
        return fresh
    if saved.shape == fresh.shape:
        return saved
    common = tuple(slice(min(a, b)) for a, b in zip(saved.shape, fresh.shape, strict=True))
    mixed = fresh.detach().clone()
    mixed[common] = saved[common].to(mixed)
    return mixed
