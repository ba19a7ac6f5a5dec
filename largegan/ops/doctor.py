"""Which implementation the ops use on this machine, and why: found, compiled, run, compared."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from largegan.errors import EnvironmentFault
from largegan.ops.runtime import backend, cubins, nvrtc
from largegan.ops.runtime.driver import driver
from largegan.ops.runtime.plan import Plan
from largegan.ops.table import TABLE, Op

SHAPE = (2, 16, 18, 14)  # of the images that are tried: odd rows, whole 16-byte words of channels
# Relative error of bfloat16 results, and of gradients: there a few pixels in a thousand lie where
# rounding decides about a sign or a clamp, and have another slope: 4 % of a gradient's norm. A
# wrong index or tap costs more.
LIMITS = (0.02, 0.1)
ELSEWHERE = 90  # the GPU that is compiled for where there is none: an H100


class Finding(NamedTuple):
    """One line of the report."""

    level: str  # ok, warn or FAIL
    what: str
    facts: str

    def __str__(self) -> str:
        return f"{self.level:5s} {self.what}: {self.facts}"


def _example(op: Op) -> Callable[[Tensor], Tensor]:
    """The first of an op's examples, as a function of an image."""
    example = next(iter(op.examples.values()))
    return lambda x: example(op.public, x)


EXAMPLES = {name: _example(op) for name, op in TABLE.items() if op.source}


def examine(capability: int = ELSEWHERE) -> Iterator[Finding]:
    """All findings, as they are made; the last one says what is used."""
    yield Finding(
        "ok", "torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'not built in'}"
    )
    compiles = yield from _compiler()
    yield from _cache()
    reason = _no_gpu()
    if reason:
        yield Finding("ok", "GPU", reason)
        if compiles:
            yield from _compiled(capability)
    else:
        reason = yield from _gpus()
    if not reason:
        reason = yield from _compared()
    yield _verdict(reason)


def _compiler() -> Iterator[Finding]:
    """Returns whether there is one."""
    try:
        found = nvrtc.compiler()
    except EnvironmentFault as fault:
        yield Finding("warn" if torch.version.cuda else "ok", "compiler", str(fault))
        return False
    version, newest = ".".join(map(str, found.version)), found.architectures[-1]
    yield Finding("ok", "compiler", f"NVRTC {version} in {found.path}, GPUs up to sm_{newest}")
    return True


def _cache() -> Iterator[Finding]:
    folder, probe = cubins.folder(), cubins.folder() / f"probe-{os.getpid()}"
    kept = len(list(folder.glob("*.cubin")))
    if cubins.publish(probe, b""):
        probe.unlink(missing_ok=True)
        yield Finding("ok", "cache", f"{folder}, {kept} kernels")
    else:
        remedy = "every process compiles what is missing; set LARGEGAN_CACHE to a folder of yours"
        yield Finding("warn", "cache", f"{folder} cannot be written, {kept} kernels; {remedy}")


def _no_gpu() -> str:
    if torch.cuda.is_available():
        return "" if torch.version.hip is None else "not one of NVIDIA's"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "none" if hidden is None else f"none (CUDA_VISIBLE_DEVICES={hidden!r})"


def _gpus() -> Iterator[Finding]:
    """Returns why they cannot be used, or nothing."""
    try:
        driver()
    except EnvironmentFault as fault:
        yield Finding("FAIL", "driver", str(fault))
        return str(fault)
    for i in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(i)
        name = torch.cuda.get_device_name(i)
        yield Finding("ok", f"cuda:{i}", f"{name}, compute capability {major}.{minor}")
    return ""


def plans(example: Callable[[Tensor], Tensor], device: str = "cpu") -> list[Plan]:
    """What a GPU would be asked to launch, forward and backward; needs none."""
    found: list[Plan] = []
    x = image(torch.bfloat16, device).requires_grad_()
    with backend.redirected(found.append):
        example(x).sum().backward()
    return found


def image(dtype: torch.dtype, device: str) -> Tensor:
    """Normal numbers of `SHAPE`, channels_last, the same in every type."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).bfloat16()
    return x.to(device, dtype).to(memory_format=torch.channels_last)


def _compiled(capability: int) -> Iterator[Finding]:
    for name, example in EXAMPLES.items():
        kernels = {(plan.source, plan.defines) for plan in plans(example)}
        if not kernels:
            yield Finding("ok", name, "has no kernel")
            continue
        start = time.monotonic()
        try:
            made = [cubins.binary(*kernel, capability) for kernel in sorted(kernels)]
        except EnvironmentFault as fault:
            yield Finding("FAIL", name, str(fault))
            continue
        new, seconds = sum(b.origin == "NVRTC" for b in made), time.monotonic() - start
        bare = f"{len(made)} kernels for compute capability {capability / 10:.1f}"
        yield Finding("ok", name, f"{bare}, {new} compiled in {seconds:.1f} s")


def _compared() -> Iterator[Finding]:
    """Returns why kernels are not used, or nothing."""
    reason = ""
    for name, example in EXAMPLES.items():
        count = len(plans(example, "cuda"))
        if not count:
            yield Finding("ok", name, "has no kernel")
            continue
        try:
            errors, seconds = errors_of(example)
        except Exception as fault:  # a doctor does not collapse
            text = " ".join(str(fault).split())[:300]
            reason = reason or f"{name} does not run"
            yield Finding("FAIL", name, f"{type(fault).__name__}: {text}")
            continue
        good = within_limits(errors)
        reason = reason or ("" if good else f"{name} computes something else than PyTorch")
        facts = f"{count} launches, errors {errors[0]:.1e} and (gradient) {errors[1]:.1e}"
        yield Finding("ok" if good else "FAIL", name, f"{facts}, first call {seconds:.1f} s")
    return reason


def within_limits(errors: list[float]) -> bool:
    """Not so for NaN either."""
    return all(error < limit for error, limit in zip(errors, LIMITS, strict=True))


def errors_of(
    example: Callable[[Tensor], Tensor], device: str = "cuda"
) -> tuple[list[float], float]:
    """Relative errors in bfloat16 of result and gradient against float64; seconds of the call."""
    with backend.using("eager"):
        exact = _both_ways(example, image(torch.float64, "cpu"))
    start = time.monotonic()
    with backend.using("require"):
        found = _both_ways(example, image(torch.bfloat16, device))
    pairs = zip(found, exact, strict=True)
    errors = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in pairs]
    return errors, time.monotonic() - start


def _both_ways(example: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    y = example(x.requires_grad_())
    # Not all ones: what a norm gives back for those is nothing but rounding.
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    y.backward(weights.to(y))
    return y.detach(), x.grad


def _verdict(reason: str) -> Finding:
    try:
        mode = backend.mode()
    except Exception as fault:
        return Finding("FAIL", "used", str(fault))
    if mode == "eager":
        return Finding("ok", "used", "PyTorch's operations, because LARGEGAN_OPS is eager")
    if not reason:
        return Finding("ok", "used", "fused kernels")
    if reason.startswith("none") or reason.startswith("not one"):
        facts = f"PyTorch's operations, because there is no NVIDIA GPU ({reason})"
        return Finding("FAIL" if mode == "require" else "ok", "used", facts)
    if mode == "require":
        return Finding("FAIL", "used", f"nothing: LARGEGAN_OPS is require, and {reason}")
    return Finding("FAIL", "used", f"PyTorch's operations where kernels fail: {reason}")


def report(capability: int) -> int:
    """Prints the findings; 0 if nothing failed, else 4."""
    code = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they would say is in the findings
        for finding in examine(capability):
            print(finding, flush=True)
            if finding.level == "FAIL":
                code = EnvironmentFault.exit_code
    return code
