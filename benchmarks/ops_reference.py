#!/usr/bin/env python
"""The reference ops against inserted zeros: time and peak memory on a CPU, one thread.

    python benchmarks/ops_reference.py --machine "NAME OF THE CPU"

Zero insertion is how the formula of `upfirdn2d` reads: put zeros between the samples, filter all
of it, keep every second result. It stands below, made of PyTorch's fastest convolution for the
purpose, and its values are compared with ours before anything is timed. The sizes are those of
StyleGAN2 at 64 and 128 pixels with channel_base 8192 and batches of 8. The two take turns, and a
figure is the median of the ratios of neighbors. Memory is what one call adds to the process at its
highest, as Linux counts it. The floor of a forward call is the time to copy as many bytes as it
has to read and to write.
"""

import argparse
import ctypes
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan import ops

RESULTS = Path(__file__).parent / "results"
TARGET = 3.0
SHAPES = ((8, 3, 64, 64), (8, 128, 64, 64), (8, 256, 32, 32), (8, 64, 128, 128), (8, 512, 16, 16))


def zeros_upsample2d(x: Tensor, f: tuple[float, ...]) -> Tensor:
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)
    taps = torch.tensor(f, dtype=x.dtype).flip(0) * 2
    kernel = (taps[:, None] * taps).expand(c, 1, -1, -1)
    pads = [(len(f) + 1) // 2, (len(f) - 2) // 2] * 2
    return F.conv2d(F.pad(x, pads), kernel, groups=c)


def zeros_downsample2d(x: Tensor, f: tuple[float, ...]) -> Tensor:
    taps = torch.tensor(f, dtype=x.dtype).flip(0)
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, -1, -1)
    pads = [(len(f) - 1) // 2, (len(f) - 2) // 2] * 2
    y = F.conv2d(F.pad(x, pads), kernel, groups=x.shape[1])[:, :, ::2, ::2]
    # A result like ours: in rows of its own, not every second place of a larger one.
    return y.contiguous(memory_format=layout_of(x))


def layout_of(x: Tensor) -> torch.memory_format:
    rows = x.is_contiguous()
    return torch.contiguous_format if rows else torch.channels_last


PAIRS = {
    "upsample2d": (ops.upsample2d, zeros_upsample2d),
    "downsample2d": (ops.downsample2d, zeros_downsample2d),
}


def forward(op: Callable, x: Tensor) -> None:
    with torch.no_grad():
        op(x, ops.BINOMIAL)


def both_ways(op: Callable, x: Tensor) -> None:
    y = op(x.detach().requires_grad_(), ops.BINOMIAL)
    y.backward(torch.ones_like(y))


def seconds(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_bytes(call: Callable[[], None]) -> int:
    """The highest resident size during `call`, less that before it."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must be asked for again
    Path("/proc/self/clear_refs").write_text("5")  # forgets the old peak
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def compare(name: str, shape: tuple[int, ...], layout: torch.memory_format, turns: int) -> dict:
    """One row of the table."""
    x = torch.randn(shape).to(memory_format=layout)
    pair = PAIRS[name]
    torch.testing.assert_close(*(op(x, ops.BINOMIAL) for op in pair), rtol=1e-4, atol=1e-5)
    row = {"op": name, "shape": list(shape), "layout": str(layout).removeprefix("torch.")}
    for way in (forward, both_ways):
        calls = [lambda op=op, way=way: way(op, x) for op in pair]
        for call in calls:
            call()
        times = [[seconds(call) for call in calls] for _ in range(turns)]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        row[way.__name__] = {
            "ours_ms": round(ours * 1e3, 2),
            "zeros_ms": round(theirs * 1e3, 2),
            "speedup": round(statistics.median(b / a for a, b in times), 1),
            "ours_mib": round(peak_bytes(calls[0]) / 2**20, 1),
            "zeros_mib": round(peak_bytes(calls[1]) / 2**20, 1),
        }
    row["forward"]["floor_ms"] = round(floor(x, pair[0](x, ops.BINOMIAL), turns) * 1e3, 2)
    return row


def floor(x: Tensor, y: Tensor, turns: int) -> float:
    """Seconds to copy half the bytes of x and y: each is read or written once."""
    whole = torch.empty(x.numel() + y.numel())
    source, target = whole.chunk(2)
    return statistics.median(
        seconds(lambda: target.copy_(source[: len(target)])) for _ in range(turns + 1)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what this ran on, for the record")
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for shape in SHAPES:
        for layout in (torch.channels_last, torch.contiguous_format):
            for name in PAIRS:
                rows.append(compare(name, shape, layout, arguments.turns))
                print(json.dumps(rows[-1]), flush=True)
        write("ops", arguments.machine, {"target": TARGET, "rows": rows})


def write(what: str, machine: str, content: dict) -> None:
    """The results so far, so that a benchmark that is interrupted leaves what it measured."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{what}-{machine.lower().replace(',', '').replace(' ', '-')}.json"
    header = {"machine": machine, "torch": torch.__version__}
    path.write_text(json.dumps(header | content, indent=1) + "\n")
    print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
