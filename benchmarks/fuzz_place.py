"""Where a spoiled input lies while it is read, and what a row of the fuzzer's table is."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from fuzz_bytes import spoiled
from PIL import Image

SIDE = 16


class Place:
    """Folders of one input: `mine` is the user's, `out` may be written.

    `quiet` is a context in which writing is not the product's doing.
    """

    def __init__(self, mine: Path, out: Path, quiet: Callable[[], Any] = contextlib.nullcontext):
        self.mine, self.out, self.quiet = mine, out, quiet

    def put(self, files: dict[str, bytes], below: str = "") -> None:
        """Files of the user, before the product sees them."""
        with self.quiet():
            for name, data in files.items():
                path = self.mine / below / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


class Kind(NamedTuple):
    samples: Callable[[], list[bytes]]
    read: Callable[[bytes, Place, Random], Any]
    spoil: Callable[[bytes, Random], bytes] = spoiled
    may: tuple[type[Exception], ...] = ()  # errors that are the end of a sentence
    share: int = 1  # how often, beside the others


def pixels(seed: int = 0, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    planes = [(x * (3 + c) + y * (2 + seed) + 40 * c) % 256 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def encoded(form: str, image: Any = None, **how: Any) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(pixels()) if image is None else image).save(out, form, **how)
    return out.getvalue()
