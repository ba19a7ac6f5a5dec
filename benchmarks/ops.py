#!/usr/bin/env python
"""The fused ops on a GPU, in under 8 minutes: against what is possible, eager and compiled.

    python benchmarks/ops.py                                  # results/gpu-ops-NAME.json and .md
    python benchmarks/ops.py --device cpu --out FOLDER        # dry run: everything, in tiny sizes

First the ceilings of this very machine: copying memory, a bfloat16 matrix product, and a float32
one, which is what its ordinary cores multiply and add; `percent_of_fma` is of the latter. Then
every op of the table that has an example with a cost, in bfloat16, channels_last (filtered_lrelu
contiguous), forward, backward (the gradients alone) and double backward (the gradients of the
images' gradient): milliseconds, GB/s over the bytes that the op cannot do without, and that as a
percentage of copying. `eager` is the same op on PyTorch's operations, `compiled` torch.compile of
that, `kernel` the fused kernel (in a dry run eager again). Beside each stand the relative errors of
result and gradients against float64, on smaller images. Last come whole iterations of StyleGAN2 at
256 pixels (batch 32) and BigGAN at 128 (batch 64), see networks.py.

What is worth most comes first: sections that would begin after --budget seconds are left out, and
said to be. What fails is a row with the reason.
"""

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import networks
import torch
import torch._functorch.config as autograd_config
from torch import Tensor

from largegan import ops
from largegan.ops.examples import Example
from largegan.ops.runtime import backend
from largegan.ops.table import TABLE, Op

RESULTS = Path(__file__).parent / "results"
F = ops.BINOMIAL
SHAPES = [(16, 64, 512), (16, 128, 256), (16, 512, 64)]  # images, channels, side
TINY = [(2, 8, 16)]
VARIANTS = ("kernel", "eager")
WAYS = ("forward", "backward", "double backward")


class Case(NamedTuple):
    """The example of an op that has a cost."""

    op: Op
    example: Example

    @property
    def bytes(self) -> tuple[float, float, float | None]:
        """What each way needs, in units of an image at the high resolution; None: no such way."""
        return self.example.cost.bytes

    def leaves(self, shape: tuple[int, int, int], device: torch.device) -> dict[str, Tensor]:
        """What gets gradients, by name: the image in bfloat16, the small tensors in float32."""
        n, c, side = shape
        x = image((n, c, side // 2 if self.example.cost.half else side), device)
        x = x.contiguous() if self.op.planes else x
        others = {name: t.float() for name, t in self.example.tensors(x).items()}
        return {name: t.requires_grad_() for name, t in {"x": x, **others}.items()}

    def function(self, variant: str, device: torch.device) -> Callable[..., Tensor]:
        """The call, of `leaves` by name."""

        def call(x: Tensor, **others: Tensor) -> Tensor:
            return self.example.of(self.op.public, x, **others)

        if variant != "compiled":
            return call
        torch._dynamo.reset()
        how = "inductor" if device.type == "cuda" else "aot_eager"  # a dry run needs no compiler
        return torch.compile(call, dynamic=False, backend=how)


CASES = {
    name: Case(op, example)
    for name, op in TABLE.items()
    for example in op.examples.values()
    if example.cost
}


class Guard:
    """Seconds since the start, and whether something may still begin."""

    def __init__(self, budget: float):
        self.budget, self.start = budget, time.monotonic()

    def spent(self) -> float:
        return time.monotonic() - self.start

    def over(self) -> bool:
        return self.spent() > self.budget


class Bench:
    """The rows so far, on one device; written after every section."""

    def __init__(
        self,
        device: str,
        guard: Guard,
        wanted: Sequence[str] = ("",),
        save: Callable[["Bench"], None] = lambda bench: None,
    ):
        self.wanted, self.save = wanted, save
        self.device, self.guard, self.rows, self.left_out = torch.device(device), guard, [], []
        self.cuda, self.copy_gbs, self.fma_tflops = self.device.type == "cuda", 0.0, 0.0

    def add(self, op: str, variant: str, way: str, **figures) -> None:
        self.rows.append({"op": op, "variant": variant, "way": way} | figures)
        words = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()]
        print(
            f"{self.guard.spent():4.0f} s  {op}, {variant}, {way}: {', '.join(words)}", flush=True
        )

    def section(self, name: str, function: Callable[[], None]) -> None:
        """Runs it unless time is over; a failure becomes a row."""
        if not any(word in name for word in self.wanted):
            return
        if self.guard.over():
            print(f"{self.guard.spent():4.0f} s  left out: {name}", flush=True)
            self.left_out.append(name)
            return
        try:
            function()
        except Exception as fault:  # one section's fault must not cost the others
            reason = f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"
            self.add(name, "-", "-", failed=reason)
        self.save(self)
        if self.cuda:
            torch.cuda.empty_cache()

    def ms(self, call: Callable[[], object]) -> float:
        """The median of calls after a warm-up, on the device's own clock."""
        for _ in range(4 if self.cuda else 1):
            call()
        if not self.cuda:
            start = time.perf_counter()
            call()
            return (time.perf_counter() - start) * 1e3
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(15)]
        for start, end in events:
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return statistics.median(start.elapsed_time(end) for start, end in events)

    def ceilings(self) -> None:
        n, m = (2**30, 8192) if self.cuda else (2**20, 64)
        x = torch.zeros(n, dtype=torch.uint8, device=self.device)
        y = torch.empty_like(x)
        ms = self.ms(lambda: y.copy_(x))
        self.copy_gbs = 2 * n / ms / 1e6
        self.add("copy", "eager", "forward", ms=ms, gbs=self.copy_gbs, bytes=2 * n)
        a = torch.randn(m, m, device=self.device, dtype=torch.bfloat16)
        ms = self.ms(lambda: a @ a)
        self.add(f"matmul {m}", "eager", "forward", ms=ms, tflops=2 * m**3 / ms / 1e9)
        m //= 2
        a = torch.randn(m, m, device=self.device)  # without TF32, as is PyTorch's default
        ms = self.ms(lambda: a @ a)
        self.fma_tflops = 2 * m**3 / ms / 1e9
        self.add(f"float32 matmul {m}", "eager", "forward", ms=ms, tflops=self.fma_tflops)

    def op(self, name: str, shape: tuple[int, int, int], variant: str) -> None:
        """Three rows: a case at one size in one variant."""
        case = CASES[name]
        errors = errors_of(case, variant, self.device)
        with using(variant):
            calls = ways(case, case.function(variant, self.device), shape, self.device)
            for (way, call), units in zip(calls, case.bytes, strict=True):
                if units is None:
                    continue
                ms = self.ms(call)
                gbs = units * 2 * shape[0] * shape[1] * shape[2] ** 2 / ms / 1e6
                percent = 100 * gbs / self.copy_gbs
                size = "x".join(map(str, shape))
                figures = {"ms": ms, "gbs": gbs, "percent_of_copy": percent}
                if fmas := case.example.cost.fmas:
                    tflops = 2 * fmas * shape[0] * shape[1] * shape[2] ** 2 / ms / 1e9
                    figures |= {"tflops": tflops}
                    figures |= {"percent_of_fma": 100 * tflops / self.fma_tflops}
                figures |= {"error": errors[0], "gradient_error": errors[1]}
                self.add(name, variant, way, shape=size, **figures)

    def host_cost(self) -> None:
        """What a call costs the processor: microseconds, on an image that costs a GPU nothing."""
        x = image((1, 64, 4), self.device)
        for variant in VARIANTS:
            with using(variant), torch.no_grad():
                for _ in range(5):
                    ops.upsample2d(x, F)
                start, calls = time.perf_counter(), 200 if self.cuda else 3
                for _ in range(calls):
                    ops.upsample2d(x, F)
                us = (time.perf_counter() - start) / calls * 1e6
            self.add("upsample2d", variant, "host", us=us)


def using(variant: str):
    """Kernels must be had where they are measured; without a GPU there are none to be had."""
    return backend.using("require" if variant == "kernel" else "eager")


def image(shape: tuple[int, int, int], device: torch.device, dtype=torch.bfloat16) -> Tensor:
    n, c, side = shape
    x = torch.randn(n, c, side, side, device=device, dtype=dtype)
    return x.to(memory_format=torch.channels_last)


def ways(case: Case, function, shape, device) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each way to be called again and again, on graphs that are kept."""
    leaves = case.leaves(shape, device)

    def forward() -> Tensor:
        with torch.no_grad():
            return function(**leaves)

    yield WAYS[0], forward
    y = function(**leaves)
    dy = torch.randn_like(y).requires_grad_()
    x, *others = leaves.values()
    yield WAYS[1], lambda: torch.autograd.grad(y, [x, *others], dy, retain_graph=True)
    if case.bytes[2] is None:
        yield WAYS[2], lambda: None
        return
    (g,) = torch.autograd.grad(y, x, dy, create_graph=True)
    v = torch.randn_like(g)
    wanted = [dy, *others]
    keep = {"retain_graph": True, "allow_unused": True}
    yield WAYS[2], lambda: torch.autograd.grad(g, wanted, v, **keep)


def errors_of(case: Case, variant: str, device: torch.device) -> tuple[float, float]:
    """Relative errors of the result and, the largest, of first gradients, on small images."""
    torch.manual_seed(0)
    leaves = case.leaves((2, 16, 32), device)
    exact = {name: t.detach().double().requires_grad_() for name, t in leaves.items()}
    found = []
    for tensors, how in ((leaves, variant), (exact, "eager")):
        with using(how):
            y = case.function(how, device)(**tensors)
            torch.manual_seed(1)
            dy = torch.randn(y.shape, device=device).bfloat16().to(y.dtype)
            found.append([y, *torch.autograd.grad(y, list(tensors.values()), dy)])
    pairs = [(a.detach().double(), b.detach()) for a, b in zip(*found, strict=True)]
    result, *gradients = [float((a - b).norm() / b.norm()) for a, b in pairs]
    return result, max(gradients)


def measure(bench: Bench) -> None:
    """All sections, the most telling first."""
    autograd_config.donated_buffer = False  # graphs are used again and again
    shapes = SHAPES if bench.cuda else TINY
    bench.section("ceilings", bench.ceilings)
    per_op(bench, shapes[:1], VARIANTS)
    bench.section("host cost", bench.host_cost)
    for name in networks.NETWORKS:
        networks.measure(bench, name, ("kernel", "graphed"))
    per_op(bench, shapes[1:], VARIANTS)
    per_op(bench, shapes[:1], ("compiled",))
    for variant in ("eager", "compiled"):  # minutes for StyleGAN3's filters without their kernel
        for name in networks.NETWORKS:
            networks.measure(bench, name, (variant,))


def per_op(bench: Bench, shapes: list, variants: tuple[str, ...]) -> None:
    for shape in shapes:
        for name in CASES:
            for variant in variants:
                words = f"{name}, {variant}, {'x'.join(map(str, shape))}"
                bench.section(words, lambda n=name, s=shape, v=variant: bench.op(n, s, v))


def table(rows: list[dict]) -> str:
    columns = ["op", "variant", "way"]
    columns += dict.fromkeys(k for row in rows for k in row if k not in (*columns, "kernels"))
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [row.get(c, "") for c in columns]
        cells = [f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells]
        lines.append("| " + " | ".join(c.replace("|", "/") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def write(bench: Bench, machine: str, folder: Path) -> None:
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = folder / f"gpu-ops-{slug}.json"
    folder.mkdir(parents=True, exist_ok=True)
    about = {"machine": machine, "torch": torch.__version__, "cuda": torch.version.cuda}
    about |= {"dry_run": not bench.cuda, "seconds": round(bench.guard.spent())}
    about |= {"left_out": bench.left_out, "rows": bench.rows}
    path.write_text(json.dumps(about, indent=1) + "\n")
    text = f"# {machine}\n\n{table(bench.rows)}"
    for row in bench.rows:
        if "kernels" in row:
            text += f"\n## {row['op']}: longest kernels\n\n{table(row['kernels'])}"
    path.with_suffix(".md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda", help="cuda (default); cpu tries the script, in tiny sizes")
    add("--machine", help="default: the GPU's name")
    add("--budget", type=float, default=420, help="seconds in which sections may begin (420)")
    add("--out", type=Path, help="folder for the results (default: results; a dry run: nowhere)")
    words = "only sections with one of these words in their names, such as 'biggan-128, graphed'"
    add("--sections", nargs="+", default=[""], metavar="WORDS", help=words)
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu tries the script, in tiny sizes")
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    machine = arguments.machine or (
        "dry run" if arguments.device == "cpu" else torch.cuda.get_device_name(arguments.device)
    )
    out = arguments.out or (None if arguments.device == "cpu" else RESULTS)

    def save(bench: Bench) -> None:
        if out:
            write(bench, machine, out)

    measure(Bench(arguments.device, Guard(arguments.budget), arguments.sections, save))
    if out:
        print(f"written to {out}")


if __name__ == "__main__":
    main()
