"""Data-sheet figures of GPUs and of their links, and what fraction of them is assumed reached."""

from dataclasses import dataclass
from math import ceil, log2

REACHED_FLOPS = 0.35  # of the peak, by convolutions and matrix products
REACHED_BYTES = 0.7  # of the memory's speed, by everything else
REACHED_LINKS = 0.8
LAUNCH_S = 8e-6  # of Python and PyTorch for one operation, not compiled
HOP_S = 10e-6  # latency of a small all-reduce: in a node, and for each doubling of nodes


@dataclass(frozen=True)
class GPU:
    """A device and its links, per direction; between nodes every GPU has a network card's share."""

    name: str
    flops: dict[str, float]  # dense peaks by number format
    bytes_per_s: float
    memory_gib: float
    in_node: float  # bytes/s
    between_nodes: float
    per_node: int = 8

    def all_reduce_s(self, size: float, world: int) -> float:
        """Seconds for `size` bytes: scattered in the node, a ring over the nodes, gathered."""
        if world == 1:
            return 0.0
        local, nodes = min(world, self.per_node), ceil(world / self.per_node)
        inside = 2 * (local - 1) / local * size / (self.in_node * REACHED_LINKS)
        share = size / local  # all cards of a node carry a part
        between = 2 * (nodes - 1) / nodes * share / (self.between_nodes * REACHED_LINKS)
        return inside + between + self.latency_s(world)

    def latency_s(self, world: int) -> float:
        """Of a collective without content."""
        return HOP_S * (2 + log2(ceil(world / self.per_node))) if world > 1 else 0.0


GPUS = {
    "h100": GPU(
        "H100 SXM", {"fp32": 67e12, "tf32": 494e12, "bf16": 989e12}, 3.35e12, 80, 450e9, 50e9
    ),
    "h200": GPU(
        "H200 SXM", {"fp32": 67e12, "tf32": 494e12, "bf16": 989e12}, 4.8e12, 141, 450e9, 50e9
    ),
    "a100": GPU(
        "A100 SXM", {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12}, 2.0e12, 80, 300e9, 25e9
    ),
    # No TF32 and no bfloat16: fp16 peaks stand in for the latter.
    "v100": GPU(
        "V100 SXM", {"fp32": 15.7e12, "tf32": 15.7e12, "bf16": 125e12}, 0.9e12, 16, 150e9, 12.5e9
    ),
}


def assumptions(gpu: GPU) -> list[str]:
    """What an estimate for `gpu` takes for granted, a sentence each."""
    peaks = ", ".join(f"{name} {rate / 1e12:g} TFLOP/s" for name, rate in gpu.flops.items())
    return [
        f"{gpu.name}: {peaks}, memory {gpu.bytes_per_s / 1e12:g} TB/s and {gpu.memory_gib:g} GiB "
        "(data sheet)",
        f"convolutions and matrix products reach {REACHED_FLOPS:.0%} of the peak, other operations "
        f"{REACHED_BYTES:.0%} of the memory's speed; each takes at least {LAUNCH_S * 1e6:g} µs",
        f"links: {gpu.in_node / 1e9:g} GB/s a direction between the {gpu.per_node} GPUs of a node, "
        f"{gpu.between_nodes / 1e9:g} GB/s a GPU between nodes, {REACHED_LINKS:.0%} of it reached, "
        f"{HOP_S * 1e6:g} µs a hop",
    ]
