#!/usr/bin/env python
"""Ways of translating a large photograph: how near to the whole frame, how long, how much memory.

    python benchmarks/translate.py PHOTOGRAPH --machine "NAME OF THE CPU OR GPU"

PHOTOGRAPH is any photograph or map of at least `--size` pixels; its middle is taken. The network is
CycleGAN's ResNet with instance norm, narrow so that a CPU does it in seconds, and fitted on patches
of that photograph to sharpen and recolor it: with random weights no mode but exact would get near
anything. Every mode runs in a process of its own, whose peak memory is counted above what it had
before the first tile. Time is CPU time of one thread (on a GPU: of the clock).

The second part is the whole tool: images of 256 pixels in a folder, network as published (ResNet-9,
64 wide), batch 1, decoding and encoding included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from largegan.nets.resnet_translation import ResnetGenerator
from largegan.translation.sources import find_items
from largegan.translation.tiles import Box
from largegan.translation.tiling import Tiler
from largegan.translation.translator import Translator
from largegan.translation.work import How, Job, outputs_of

RESULTS = Path(__file__).parent / "results"
MODES = {
    # name: (mode, side of the thumbnail)
    "full": ("full", 512),
    "exact": ("exact", 512),
    "thumbnail 512": ("thumbnail", 512),
    "thumbnail 256": ("thumbnail", 256),
    "tile": ("tile", 512),
}


def network(channels: int, blocks: int) -> ResnetGenerator:
    return ResnetGenerator(channels=channels, blocks=blocks)


def photograph(path: Path, size: int) -> torch.Tensor:
    """float32 `[1, 3, size, size]` in [-1, 1]: the middle."""
    image = Image.open(path).convert("RGB")
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.array(image.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def wanted(x: torch.Tensor) -> torch.Tensor:
    """What the network learns: sharper, warmer, more contrast."""
    sharp = x + 1.5 * (x - F.avg_pool2d(x, 5, 1, 2))
    gain = torch.tensor([1.3, 1.0, 0.7])[:, None, None]
    return torch.tanh(sharp * gain + torch.tensor([0.2, 0.0, -0.2])[:, None, None])


def fit(net: torch.nn.Module, image: torch.Tensor, steps: int) -> float:
    """A few minutes of regression on patches; returns the last losses' mean."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(steps):
        tops, lefts = torch.randint(0, image.shape[2] - 128, (2, 2)).tolist()
        x = torch.cat(
            [image[:, :, t : t + 128, s : s + 128] for t, s in zip(tops, lefts, strict=True)]
        )
        loss = F.l1_loss(net(x), wanted(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-10:]))


def measure(folder: Path, name: str, arguments: argparse.Namespace) -> dict:
    """One mode in this process: writes its picture, returns its time and peak memory."""
    device = torch.device(arguments.device)
    net = network(arguments.channels, arguments.blocks).eval().requires_grad_(False)
    net.load_state_dict(torch.load(folder / "net.pt", weights_only=True))
    mode, thumbnail = MODES[name]
    tiler = Tiler(net.to(device), tile=arguments.tile, thumbnail=thumbnail)
    image = np.load(folder / "image.npy", mmap_mode="r")
    out = np.empty(image.shape, np.float32)

    def read(box: Box) -> torch.Tensor:
        part = image[:, :, box.top : box.bottom, box.left : box.right]
        return torch.from_numpy(part.copy()).to(device)

    def write(box: Box, part: torch.Tensor) -> None:
        out[:, :, box.top : box.bottom, box.left : box.right] = part.cpu()

    with torch.no_grad():
        net(read(Box(0, 0, 64, 64)))  # libraries load what they need
    before, start = fresh_memory(device), clock(device)
    done = tiler.run(mode, image.shape[2:], read, write)
    seconds, peak = clock(device) - start, memory(device) - before
    np.save(folder / f"{name}.npy", out)
    return {"tiles": done.tiles, "drift": done.drift, "seconds": seconds, "peak_mb": peak / 1e6}


def fresh_memory(device: torch.device) -> float:
    """Bytes in use now, from which on the peak is counted."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    # The peak of getrusage is that of the parent before exec; Linux forgets this one when told.
    Path("/proc/self/clear_refs").write_text("5")
    return from_status("VmRSS")


def memory(device: torch.device) -> float:
    """Peak bytes since then."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return from_status("VmHWM")


def from_status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def compare_modes(folder: Path, arguments: argparse.Namespace) -> list[dict]:
    rows = []
    for name in MODES:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(folder), name]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        row = {"mode": name, **json.loads(answer.stdout.splitlines()[-1])}
        found, whole = np.load(folder / f"{name}.npy"), np.load(folder / "full.npy")
        error = float(np.square(found - whole).mean())
        row["largest_difference"] = float(np.abs(found - whole).max())
        row["psnr_db"] = None if error == 0 else 10 * np.log10(4 / error)
        row["time_of_full"] = row["seconds"] / rows[0]["seconds"] if rows else 1.0
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def throughput(folder: Path, image: torch.Tensor, arguments: argparse.Namespace) -> dict:
    """Images a second of the whole tool, and of the bare network on the same images."""
    device = torch.device(arguments.device)
    net = network(64, 9).eval().requires_grad_(False).to(device)
    (folder / "in").mkdir()
    pixels = ((image[0].permute(1, 2, 0) + 1) * 127.5).byte().numpy()
    for i in range(arguments.count):
        left = 256 * i % (pixels.shape[1] - 256)
        Image.fromarray(pixels[:256, left : left + 256]).save(folder / f"in/{i:03d}.png")
    (folder / "out").mkdir()
    job = Job(Translator(net, 3, "a_to_b", "benchmark", "cyclegan"), folder / "out", How())
    share = outputs_of(find_items(str(folder / "in"), out=folder / "out"), "keep")
    x = image[:, :, :256, :256].to(device)
    with torch.no_grad():
        net(x)
        start = clock(device)
        for _ in range(arguments.count):
            net(x)
    bare = (clock(device) - start) / arguments.count
    start, wall = clock(device), time.perf_counter()
    outcome = job.run(share)
    tool = (clock(device) - start) / arguments.count
    assert len(outcome.written) == arguments.count
    return {
        "network": "ResNet-9, 64 wide, 256 pixels, batch 1",
        "images": arguments.count,
        "images_per_second": arguments.count / (time.perf_counter() - wall),
        "seconds_per_image": tool,
        "of_bare_network": tool / bare,
    }


def table(rows: list[dict]) -> str:
    lines = ["| mode | tiles | time | of full | peak memory | largest difference | PSNR to full |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        psnr = "the same" if row["psnr_db"] is None else f"{row['psnr_db']:.1f} dB"
        lines.append(
            f"| {row['mode']} | {row['tiles']} | {row['seconds']:.1f} s | "
            f"{row['time_of_full']:.1f} | {row['peak_mb']:.0f} MB | "
            f"{row['largest_difference']:.1g} | {psnr} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("photograph", type=Path)
    add("--machine", required=True)
    add("--device", default="cpu")
    add("--size", type=int, default=1024)
    add("--tile", type=int, default=256)
    add("--channels", type=int, default=8)
    add("--blocks", type=int, default=6)
    add("--steps", type=int, default=120)
    add("--seed", type=int, default=0, help="of the network: thumbnails suit some more than others")
    add("--count", type=int, default=4)
    add("--child", nargs=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.child:
        print(json.dumps(measure(Path(arguments.child[0]), arguments.child[1], arguments)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = photograph(arguments.photograph, arguments.size)
        np.save(folder / "image.npy", image.numpy())
        torch.manual_seed(arguments.seed)
        net = network(arguments.channels, arguments.blocks)
        loss = fit(net, image, arguments.steps)
        print(f"fitted to an L1 of {loss:.3f}", flush=True)
        torch.save(net.state_dict(), folder / "net.pt")
        rows = compare_modes(folder, arguments)
        whole = throughput(folder, image, arguments)
    print(table(rows), whole, sep="\n")
    setting = {k: v for k, v in vars(arguments).items() if k not in ("child", "photograph")}
    facts = {"torch": torch.__version__, "setting": setting, "fitted_l1": loss}
    facts |= {"photograph": arguments.photograph.name, "modes": rows, "tool": whole}
    RESULTS.mkdir(exist_ok=True)
    stem = f"translate-{arguments.machine.lower().replace(' ', '-')}"
    (RESULTS / f"{stem}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
