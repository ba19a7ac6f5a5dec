"""What a seed means: random numbers for looking, and a class."""

import bisect

import torch

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 times 0.618...


def seeded(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers for looking: never those of training."""
    return torch.Generator(device).manual_seed(seed)


def class_in_proportion(seed: int, class_ends: list[int]) -> int:
    """Which class a seed has, when classes come as often as in the data.

    Seeds walk through the data, sorted by class, in equal steps of the golden ratio, so that any
    stretch of them has every class in its proportion. `class_ends` are where each class ends.
    """
    place = (seed * GOLDEN % (1 << 64)) * class_ends[-1] >> 64
    return bisect.bisect_right(class_ends, place)
