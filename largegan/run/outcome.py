"""What a step changes and what it gives, so that two runs of it can be compared."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from largegan.recipe import Recipe, Said, Terms

CLOSE = 0.02  # of a tensor's norm: sums on a GPU come in any order, and bfloat16 has 8 bits

Plain = dict[tuple[nn.Module, str], object]  # numbers and flags, by module and attribute


class State:
    """What a step changes: buffers, gradients, flags, and where random numbers come from."""

    def __init__(self, recipe: Recipe, params: list[nn.Parameter]):
        self.buffers = {b: b.clone() for b in recipe.buffers()}
        self.gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in params]
        self.device = params[0].device
        self.drawn = torch.get_rng_state(), device_rng(self.device)
        self.plain = plain_values(recipe)

    def restore(self) -> None:
        """Sets everything back to when this was made."""
        for buffer, value in self.buffers.items():
            buffer.copy_(value)
        for p, gradient, value in self.gradients:
            p.grad = gradient
            if gradient is not None:
                gradient.copy_(value)
        for (module, name), value in self.plain.items():
            setattr(module, name, value)
        torch.set_rng_state(self.drawn[0])
        if self.drawn[1] is not None:
            torch.get_device_module(self.device).set_rng_state(self.drawn[1], self.device)


class Outcome:
    """All that a step gave: terms, what its loss said, gradients and buffers."""

    def __init__(self, terms: Terms, said: Said, state: State):
        self.state = state
        self.values = {f"loss term {name!r}": value.clone() for name, value in terms.items()}
        self.values |= {f"value {name!r}": value.clone() for name, value in said.watched.items()}
        for by, scored in said.scored.items():
            both = torch.cat([scored.real.flatten(), scored.fake.flatten()])
            self.values[f"score of {by}"] = both.clone()
        gradients = [value.flatten() for _, _, value in state.gradients if value is not None]
        self.values["gradient"] = torch.cat(gradients)
        for number, value in enumerate(state.buffers.values()):
            if value.is_floating_point():
                self.values[f"buffer {number}"] = value
        self.missing = [value is None for _, _, value in state.gradients]

    def finite(self) -> bool:
        """Whether every number is."""
        return all(bool(value.isfinite().all()) for value in self.values.values())

    def difference(self, other: "Outcome") -> str | None:
        """The first value that differs by more than order and rounding do; None: none does."""
        if self.values.keys() != other.values.keys() or self.missing != other.missing:
            return "set of values"
        for name, value in self.values.items():
            size = float(torch.linalg.vector_norm(value.double()))
            apart = float(torch.linalg.vector_norm(value.double() - other.values[name].double()))
            if not apart <= CLOSE * size + 1e-6:
                return name
        return None


def plain_values(recipe: Recipe) -> Plain:
    """Numbers and flags on modules: what a loss may leave there besides tensors."""
    return {
        (module, name): value
        for module in recipe.modules()
        for name, value in vars(module).items()
        if value is None or isinstance(value, bool | int | float | str)
    }


def changed(before: Plain, after: Plain) -> Plain:
    """The values that are new, or other than before."""
    return {key: value for key, value in after.items() if value != before.get(key)}


def loose_tensors(recipe: Recipe) -> dict[str, int]:
    """Tensors on modules that are neither weights nor buffers, and buffers, by identity."""
    loose = {
        f"{title}.{name}": id(value)
        for title, module in recipe.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return loose | {name: id(value) for name, value in recipe.named_buffers()}


def processor_rng(device: torch.device) -> Tensor:
    """The state of the processor's random numbers, where the device has its own; else nothing."""
    return torch.zeros(0) if device.type == "cpu" else torch.get_rng_state()


def device_rng(device: torch.device) -> Tensor | None:
    """The state of a GPU's random numbers; None for a CPU."""
    if device.type == "cpu":
        return None
    return torch.get_device_module(device).get_rng_state(device)


@contextmanager
def synchronizations() -> Iterator[list[str]]:
    """Within it places are noted, file and line, where the processor waits for the GPU."""
    found: list[str] = []
    if not torch.cuda.is_available():
        yield found
        return
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    places = [w for w in caught if "synchronizing" in str(w.message)]
    found += [f"{Path(w.filename).name}, line {w.lineno}" for w in places]
