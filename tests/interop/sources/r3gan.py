"""Snapshots of R3GAN."""

from typing import Any

from tests.interop import layouts, peers
from tests.interop.peers import Module
from tests.interop.sources.base import Source, pickled, square


def r3gan(
    widths: list[int], groups: list[int], *, c: int = 0, channels: int = 3,
    keys: tuple[str, ...] = ("G", "D", "G_ema"), **more: int,
) -> Source:  # fmt: skip
    shared = {"widths": widths, "groups": groups, "c": c, "channels": channels} | more
    shapes = {"G": layouts.r3gan_g(**shared), "D": layouts.r3gan_d(**shared)}
    content: dict[str, Any] = {"augment_pipe": None, "cur_nimg": 2048}
    for i, key in enumerate(keys):
        content[key] = peers.tree(layouts.tensors(shapes[key[0]], seed=i), Module, {})
    return Source(
        pickled(content, persistent=False, module="R3GAN.Networks"),
        "r3gan",
        square(4 << (len(widths) - 1), c, channels),
        {"widths": widths, "groups": groups, "z_dim": 8} | more,
        {{"G_ema": "G_ema.net"}.get(key, key): shapes[key[0]] for key in keys},
    )


R3GAN = {
    "r3gan 32": r3gan([8, 8, 8, 8], [4, 4, 4, 4]),
    "r3gan 64, 10 classes": r3gan([8, 8, 4, 4, 4], [4, 2, 2, 1, 4], c=10),
    "r3gan 256": r3gan([8, 8, 8, 8, 4, 4, 2], [2, 2, 2, 2, 2, 2, 1]),
    "r3gan gray, one wide block a stage": r3gan([4, 6], [2, 3], channels=1, blocks=1, expansion=3),
    "r3gan G_ema only": r3gan([4, 4], [2, 2], keys=("G_ema",)),
}
