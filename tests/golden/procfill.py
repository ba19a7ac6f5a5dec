"""Weights made from their names: how the full-size golden cases fill networks they do not store.

The first rule (regular expression, kind, mean, std) that matches a peer's tensor name decides; r
are normal numbers from a generator that is seeded by the name.
"""

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
