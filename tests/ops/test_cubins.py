"""The table of kernels that networks use, compiled by NVRTC for GPUs that are not here.

No registers spilled, no local memory, and 16 bytes read and written at once where channels lie
together. `python -m tests.ops.test_cubins` prints the registers of all.
"""

import re
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from largegan.errors import EnvironmentFault
from largegan.ops.bias_act import plan as bias_act_plan
from largegan.ops.bias_act.leaky import Leaky
from largegan.ops.filtered_lrelu import plan as filtered_lrelu_plan
from largegan.ops.filtered_lrelu.constants import Sandwich
from largegan.ops.fir import plan as fir_plan
from largegan.ops.fir.filter import IDENTITY, Filter, resampling
from largegan.ops.fir.plan import After, Before, Extras
from largegan.ops.modulate import plan as modulate_plan
from largegan.ops.runtime import cubins, nvrtc
from largegan.ops.runtime.layout import view
from largegan.ops.runtime.plan import Plan

ARCHITECTURES = (80, 90, 100)
TYPES = {"bf16": torch.bfloat16, "f32": torch.float32, "f16": torch.float16}
MOST_REGISTERS = 128  # so that two blocks of 256 threads fit
MOST_OF_FILTERED = 255  # two blocks of 128 threads; of StyleGAN3's filters three
BINOMIAL = (0.125, 0.375, 0.375, 0.125)
UP = Filter(BINOMIAL, BINOMIAL, (4, 4), (2, 2, 1, 1), (2, 1, 2, 1), False, 4.0)
DOWN = UP._replace(factors=(1, 1, 2, 2), pads=(1, 1, 1, 1))
BLUR = UP._replace(factors=(1, 1, 1, 1), pads=(1, 2, 1, 2))
STYLED = After.SCALE | After.NOISE | After.BIAS | After.ACT
ACTIVATED = Before.BIAS | Before.ACT | Before.KEEP
FROM_RESULT = Before.RESULT | Before.SCALE
FIR = {  # name: filter, before, after
    "up": (UP, 0, 0),
    "down": (DOWN, 0, 0),
    "blur": (BLUR, 0, 0),
    "generator": (IDENTITY, 0, STYLED),
    "generator, blur": (BLUR, 0, STYLED),
    "generator, blur, clamp": (BLUR, 0, STYLED | After.CLAMP),
    "generator backward": (IDENTITY, FROM_RESULT | Before.SUMS, 0),
    "generator backward, blur": (BLUR, FROM_RESULT | Before.SUMS, 0),
    "generator backward, twice": (BLUR, FROM_RESULT, 0),
    "up and act": (UP, 0, After.BIAS | After.ACT | After.KEEP),
    "up and act backward": (DOWN, Before.BITS | Before.SUMS, 0),
    "discriminator, blur": (BLUR, ACTIVATED, 0),
    "discriminator, blur, clamp": (BLUR, ACTIVATED | Before.CLAMP, 0),
    "discriminator backward": (BLUR, 0, After.BITS | After.SUMS),
    "discriminator backward, twice": (BLUR, 0, After.BITS),
    "discriminator, again": (BLUR, Before.BITS, 0),
    "act and down": (DOWN, ACTIVATED, 0),
    "act and down backward": (UP, 0, After.BITS | After.SUMS),
}
FILTERED = {  # name: taps and factor of the first filter, and of the second; act, bits, backward
    "filtered": (12, 2, 12, 2, True, True, False),
    "filtered, no bits": (12, 2, 12, 2, True, False, False),
    "filtered backward": (12, 2, 12, 2, False, True, True),
    "filtered, again": (12, 2, 12, 2, False, True, False),
    "filtered, up by 4": (24, 4, 12, 2, True, True, False),
    "filtered, up by 4, no bits": (24, 4, 12, 2, True, False, False),
    "filtered, up by 4, backward": (24, 4, 12, 2, False, True, True),
    "filtered, long": (16, 2, 16, 2, True, True, False),
    "filtered, long, backward": (16, 2, 16, 2, False, True, True),
    "filtered, same size": (8, 1, 8, 1, True, True, False),
    "filtered, longest": (32, 4, 32, 4, True, True, False),
    "filtered, longest, backward": (32, 4, 32, 4, False, True, True),
}
POINTWISE = ("bias_act", "bias_act backward", "modulate", "modulate backward")
EVERY = [
    (name, dtype, a)
    for name in [*FIR, *FILTERED, *POINTWISE]
    for dtype in TYPES
    for a in ARCHITECTURES
]
FEW = [
    ("up", "bf16", 90),
    ("generator, blur", "bf16", 80),
    ("discriminator backward", "f32", 100),
    ("modulate backward", "f16", 90),
    ("filtered", "bf16", 90),
]


class Code(NamedTuple):
    """What the compiler says of a kernel."""

    registers: int
    spilled: int  # bytes
    local: int  # places in PTX that name local memory
    loads: int  # of 16 bytes, from global memory or, where planes are read, from shared
    stores: int
    generic: int  # that find out at run time which memory they go to


def sample(dtype: torch.dtype, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.empty(2, 64, *size, dtype=dtype).to(memory_format=torch.channels_last)


def plan(name: str, dtype: torch.dtype) -> Plan:
    x, act = sample(dtype), Leaky(0.2, 2**0.5, -1.0)
    if name in FIR:
        f, before, after = FIR[name]
        y = sample(dtype, f.output_size(16, 16))
        return fir_plan.plan(x, y, f, before, after, Extras())[0]
    if name in FILTERED:
        return filtered_plan(dtype, *FILTERED[name])
    seen, other = view(x), x if "backward" in name else None
    if name.startswith("bias_act"):
        return bias_act_plan.plan(x, x, other, None, 64, seen, act)
    return modulate_plan.plan(x, x, other, torch.empty(2, 64), seen, None)


def filtered_plan(dtype, k1, up, k2, down, act: bool, bits: bool, backward: bool) -> Plan:
    first = resampling((0.1,) * k1, up=up, padding=(k1 + k2) // 2 - 1)
    s = Sandwich(first, resampling((0.1,) * k2, down=down), Leaky(0.2, 2**0.5, 256.0))
    middle, result = s.sizes((36, 36))
    s, images = (s.adjoint((36, 36)), (result, (36, 36))) if backward else (s, ((36, 36), result))
    x, y = (torch.empty(2, 64, *size, dtype=dtype) for size in images)
    kept = torch.empty(2, 64, -(-middle[0] // 4), middle[1], dtype=torch.uint8) if bits else None
    return filtered_lrelu_plan.plan(x, y, s, None, kept, act)[0]


def code(name: str, dtype: str, architecture: int) -> Code:
    source, macros, *_ = plan(name, TYPES[dtype])
    verbose = "--ptxas-options=-v", "--ptxas-options=-warn-spills"
    _, log = cubins.compiled(source, macros, f"sm_{architecture}", *verbose)
    ptx = cubins.compiled(source, macros, f"compute_{architecture}")[0].decode()
    # x and y of filtered_lrelu.cu are planes, whose rows begin anywhere.
    memory = "shared" if source == "filtered_lrelu.cu" else "global"
    spilled = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", log)
    return Code(
        int(re.search(r"Used (\d+) registers", log)[1]),
        sum(map(int, spilled)),
        ptx.count(".local"),
        len(re.findall(rf"ld\.{memory}(?:\.nc)?\.v4", ptx)),
        len(re.findall(rf"st\.{memory}\.v4", ptx)),
        len(re.findall(r"\b(?:ld|st)\.(?:v\d\.)?[bfsu]\d+", ptx)),
    )


def has_nvrtc() -> bool:
    try:
        nvrtc.compiler()
    except EnvironmentFault:
        return False
    return True


def assert_fast(name: str, dtype: str, architecture: int) -> None:
    found = code(name, dtype, architecture)
    assert found.spilled == found.local == 0, found
    assert found.loads and found.stores, found
    assert not found.generic, found
    assert found.registers <= (MOST_OF_FILTERED if name in FILTERED else MOST_REGISTERS), found


needs_nvrtc = pytest.mark.skipif(
    not has_nvrtc(), reason="no NVRTC: neither torch's nor its package"
)


@needs_nvrtc
@pytest.mark.parametrize("name, dtype, architecture", FEW)
def test_a_few_kernels(name, dtype, architecture):
    assert_fast(name, dtype, architecture)


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("name, dtype, architecture", EVERY)
def test_every_kernel_of_the_table(name, dtype, architecture):
    assert_fast(name, dtype, architecture)


if __name__ == "__main__":
    for case in EVERY:
        print(*case, code(*case), flush=True)
