"""Weights made from their names: how the full-size golden cases fill networks they do not store.

The first rule (regular expression, kind, mean, std) that matches a peer's tensor name decides; r
are normal numbers from a generator that is seeded by the name.
"""

"""Weights made from their names, for full-size cases whose weights no file could hold."""

import math
import re
import zlib

import numpy as np
import torch
from torch import Tensor


def fill(procfill: dict, net: str, name: str, shape: torch.Size) -> Tensor | None:
    """The float32 tensor of a case's network ("G"); None where the constructor's value stays."""
    rule = next(rule for rule in procfill["rules"] if re.search(rule[0], name))
    _, kind, mean, std = rule
    if kind == "keep":
        return None
    seed = zlib.crc32(f"{procfill['seed'][net]}/{name}".encode()) & 0x7FFFFFFF
    random = np.random.RandomState(seed).standard_normal(tuple(shape))
    if kind == "fan":
        std = std / (np.prod(shape[1:]) if len(shape) > 1 else np.prod(shape)) ** 0.5
    if kind == "unit":
        tensor = torch.from_numpy(random.astype(np.float32))
        return tensor / tensor.norm()
    value = mean * np.exp(std * random) if kind == "lognormal" else mean + std * random
    return torch.from_numpy(np.asarray(value, np.float32))
def fill(state: dict[str, Tensor], seed: str, rules: list) -> dict[str, Tensor]:
    """New values for every tensor of `state`, by the first rule whose pattern is in its name.

    A rule is (pattern, kind, mean, std); with r normal numbers that depend on the seed and the
    name: "normal" mean + std r; "lognormal" mean exp(std r); "fan" mean + std r / sqrt(fan in);
    "unit" r / |r|; "keep" leaves the tensor as it is.
    """
    return {name: _value(name, old, seed, rules) for name, old in state.items()}


def _value(name: str, old: Tensor, seed: str, rules: list) -> Tensor:
    kind, mean, std = next(rule[1:] for rule in rules if re.search(rule[0], name))
    if kind == "keep":
        return old.clone()
    key = zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF
    normal = np.random.RandomState(key).standard_normal(tuple(old.shape))
    if kind == "unit":
        unit = _tensor(normal, old)
        return unit / unit.norm()
    if kind == "fan":
        std = std / math.sqrt(old[0].numel() if old.ndim > 1 else old.numel())
    return _tensor(mean * np.exp(std * normal) if kind == "lognormal" else mean + std * normal, old)


def _tensor(values, like: Tensor) -> Tensor:
    array = np.ascontiguousarray(np.asarray(values, dtype=np.float32).reshape(tuple(like.shape)))
    return torch.from_numpy(array)
