"""What importers of other codes' checkpoints share: what they find, and what becomes of it.

An importer says which recipe with which options a source is of, and what the peer calls each of our
tensors. From that a recipe is built and filled here; a tensor that is missing, of another shape or
left over is an error, so that nothing is imported by halves.
"""

import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from largegan import recipes
from largegan.errors import ConfigError, DataError
from largegan.files.pickle_records import Record
from largegan.files.ranges import fits
from largegan.files.stored import StoredArray, StoredTensor
from largegan.recipe import DataSpec, Recipe

State = dict[str, StoredTensor]  # the peer's names
LARGEST_NUMBER = 1 << 24
COUNTS = ("layers", "blocks", "depth", "critical")  # options of which a network has a part each


@dataclass(frozen=True, eq=False)
class PeerNet:
    """One network of a peer, and how its tensors become ours.

    Args:
        state: its tensors under the peer's names.
        names: our module -> the peer's name of each of its tensors, by our names; a tensor that is
            not among them is found by `derive`, or stays as our constructor made it.
        derived: the names of ours that `derive` is for, as a regular expression.
        derive: (our name, our tensor, the peer's state) -> what to take.
        ignored: the peer's tensors that have no place with us, as a regular expression.
    """

    state: State
    names: Callable[[nn.Module], Mapping[str, str]]
    derived: str = r"(?!)"
    derive: Callable[[str, Tensor, State], Tensor] | None = None
    ignored: str = r"(?!)"


@dataclass(frozen=True, eq=False)
class Found:
    """What a source holds, under our names; nothing has been built or read of it yet."""

    title: str  # what it is, for people
    recipe: str  # its row in the table
    options: dict[str, Any]  # of the recipe
    spec: DataSpec
    nets: dict[str, PeerNet]  # by our recipe's attribute: "G", "D", "G_ema.net"
    nimg: int = 0
    step: int = 0
    batch_size: int | None = None
    buffers: dict[str, Any] = field(default_factory=dict)  # numbers, under our names
    optimizers: dict[str, tuple[str, Any]] = field(default_factory=dict)  # player: net, torch's
    notes: tuple[str, ...] = ()  # what was not known, or is left behind

    def described(self) -> list[str]:
        """What `--list` says."""
        shape = f"{self.spec.channels}x{self.spec.height}x{self.spec.width}"
        if self.spec.channels_b:
            shape += f" and {self.spec.channels_b} channels"
        classes = f", {self.spec.num_classes} classes" if self.spec.num_classes else ""
        lines = [self.title, f"  recipe {self.recipe}, images {shape}{classes}"]
        for name, net in self.nets.items():
            count = sum(tensor.numel for tensor in net.state.values())
            lines.append(f"  {name}: {len(net.state)} tensors, {count:,} numbers")
        if self.optimizers:
            lines.append(f"  optimizers of {', '.join(self.optimizers)}")
        lines += [f"  {self.nimg:,} images seen"] if self.nimg else []
        lines += [f"  {key} = {value}" for key, value in sorted(self.options.items())]
        return lines + [f"  note: {note}" for note in self.notes]


def build(found: Found) -> tuple[Recipe, list[str]]:
    """The recipe with the source's weights, and notes about what it begins anew.

    Raises `DataError` where the weights are not those of such networks.
    """
    check_numbers(found)
    with torch.device("meta"):  # nothing is allocated for shapes that the file does not have
        place(construct(found), found, check_shapes)
    recipe = construct(found)
    place(recipe, found, fill)
    halves = filter(None, (half_there(found, *pair) for pair in averages(recipe)))
    notes = [begin_alike(recipe, *half) for half in halves]
    alike = {name.split(".")[0] for pair in averages(recipe) for name in pair}
    known = alike | {name.split(".")[0] for name in found.nets}
    fresh = [
        name
        for name, child in recipe.named_children()
        if name not in known and any(True for _ in child.parameters())
    ]
    notes += [f"{name} begins anew: the source has none" for name in fresh]
    set_buffers(recipe, found.buffers)
    return recipe, notes


def place(recipe: Recipe, found: Found, how: Callable[..., None]) -> None:
    """Does `how` with each network and what the source has of it. Raises `DataError`."""
    for name, net in found.nets.items():
        what = f"{found.title}, {name}"
        try:
            how(recipe.get_submodule(name), net, what=what)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as fault:
            raise DataError(
                f"{what}: its tensors are not named like those of such a network "
                f"({type(fault).__name__}: {str(fault)[:80]})"
            ) from fault


def half_there(found: Found, average: str, module: str) -> list[str]:
    """[the one that a source has, the one that it lacks] of a network and its average, or []."""
    there = [name for name in (average, module) if name in found.nets]
    return [*there, module if there == [average] else average] if len(there) == 1 else []


def begin_alike(recipe: Recipe, there: str, missing: str) -> str:
    """Gives a network the weights of its average, or the other way round; returns a note."""
    recipe.get_submodule(missing).load_state_dict(recipe.get_submodule(there).state_dict())
    names = (name.removesuffix(".net") for name in (missing, there))
    return "{} begins as {}: the source has none".format(*names)


def construct(found: Found) -> Recipe:
    """A recipe of these options. Raises `DataError` where they cannot be."""
    try:
        return recipes.build(found.recipe, found.spec, found.options)
    except ConfigError as fault:
        raise DataError(f"{found.title}: {fault}") from None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, RuntimeError) as fault:
        raise DataError(
            f"{found.title}: recipe {found.recipe} cannot be built as it says ({fault})"
        ) from None


def check_numbers(found: Found) -> None:
    """Bounds what a file says of sizes and counts, before anything of that size exists.

    Raises `DataError`, also for what a recipe's settings cannot be: a run could not be read again.
    """
    tensors = sum(len(net.state) for net in found.nets.values())
    sides = {"height": found.spec.height, "width": found.spec.width}
    for name, value in (found.options | sides | {"channels": found.spec.channels}).items():
        most = tensors if name.endswith(COUNTS) else LARGEST_NUMBER
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, int | float) and not abs(n) <= most for n in numbers):
            raise DataError(f"{found.title}: {name} is {str(value)[:40]}, which cannot be")
    hints = typing.get_type_hints(recipes.options_class(found.recipe))
    for name, value in found.options.items():
        if name not in hints or not fits(value, hints[name]):
            raise DataError(
                f"{found.title}: it says {name} {str(value)[:40]}, which recipe {found.recipe} "
                "does not build"
            )


def check_shapes(module: nn.Module, net: PeerNet, *, what: str) -> None:
    """Compares the shapes of what both store alike. Raises `DataError`."""
    state = module.state_dict()
    for name, peer in net.names(module).items():
        if name in state and peer in net.state:
            compare_shapes(state[name].shape, net.state[peer].shape, f"{what}: {peer}")


def averages(recipe: Recipe) -> list[tuple[str, str]]:
    """(name of an averaged network within a recipe, name of what it averages)."""
    return [
        (f"{name}.net", name.removesuffix("_ema"))
        for name, _ in recipe.named_children()
        if name.endswith("_ema")
    ]


@torch.no_grad()
def fill(module: nn.Module, net: PeerNet, *, what: str) -> None:
    """Copies the peer's tensors into a network of ours. Raises `DataError`."""
    names = net.names(module)
    state, used = module.state_dict(), set()
    for name, tensor in state.items():
        if name in names:
            peer = names[name]
            if peer not in net.state:
                raise DataError(f"{what}: {peer} is missing; the checkpoint is of another network")
            used.add(peer)
            copy(tensor, net.state[peer].load(), f"{what}: {peer}")
        elif re.search(net.derived, name):
            copy(tensor, net.derive(name, tensor, net.state), f"{what}: what makes {name}")
    left = [n for n in net.state if n not in used and not re.search(net.ignored, n)]
    if left:
        raise DataError(
            f"{what}: {left[0]} (and {len(left) - 1} more) has no place in recipe's network; the "
            "checkpoint is of a network with other parts"
        )


def copy(mine: Tensor, theirs: Tensor, what: str) -> None:
    """Takes a tensor of the peer's."""
    compare_shapes(mine.shape, theirs.shape, what)
    mine.copy_(theirs.reshape(mine.shape))


def compare_shapes(mine: Iterable[int], theirs: Iterable[int], what: str) -> None:
    """Sizes of one do not count: some peers keep them, and some do not."""
    if [n for n in mine if n != 1] != [n for n in theirs if n != 1]:
        raise DataError(
            f"{what} has the shape {list(theirs)}, this network needs {list(mine)}; the checkpoint "
            "has options that were not recognized"
        )


@torch.no_grad()
def set_buffers(recipe: Recipe, buffers: Mapping[str, Any]) -> None:
    """Single numbers, such as ADA's p, where the recipe has them."""
    mine = dict(recipe.named_buffers())
    for name, value in buffers.items():
        if name in mine:
            mine[name].fill_(float(value))


# Reading what pickles hold.


def module_state(record: Record) -> State:
    """Parameters and buffers of a pickled network, in the order of its state dictionary."""
    state: State = {}
    pending = [("", record)]
    while pending:
        prefix, module = pending.pop()
        inside = attributes(module)
        for kind in ("_parameters", "_buffers"):
            for name, value in (inside.get(kind) or {}).items():
                if isinstance(value, StoredTensor | StoredArray):
                    state[f"{prefix}{name}"] = value
        children = (inside.get("_modules") or {}).items()
        inner = [(f"{prefix}{name}.", child) for name, child in children]
        pending += reversed([pair for pair in inner if isinstance(pair[1], Record)])
    return state


def attributes(record: Any) -> dict:
    """A pickled object's own."""
    if not isinstance(record, Record):
        raise DataError("has something else where a network should be")
    state = record.state
    if isinstance(state, tuple) and len(state) == 2:  # attributes, and slots
        state = state[0]
    return state if isinstance(state, dict) else {}


def tensors(content: Any, what: str) -> State:
    """A state dictionary's; those of several GPUs have a prefix that is taken away."""
    if not isinstance(content, dict):
        raise DataError(f"{what} is no state dictionary")
    found = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, StoredTensor | StoredArray)
    }
    if not found or len(found) < len(content):
        raise DataError(f"{what} is no state dictionary: it holds more than named tensors")
    prefix = "module." if all(name.startswith("module.") for name in found) else ""
    return {name.removeprefix(prefix): value for name, value in found.items()}


def shape(state: State, name: str, what: str) -> tuple[int, ...]:
    """Of a tensor that has to be there."""
    if name not in state:
        raise DataError(f"{what}: {name} is missing; it is not what it looked like")
    return tuple(state[name].shape)


def numbered(names: Iterable[str], pattern: str) -> list[int]:
    """The different numbers that a group of `pattern` finds in names, ascending."""
    return sorted({int(found[1]) for name in names if (found := re.search(pattern, name))})


def renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """`name` after every rule (regular expression, replacement), in order."""
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name
