"""Pictures inside a page: fewer and smaller ones, as text."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

MOST = 40  # moments of a strip
MOST_BYTES = 1_500_000  # of all pictures of a page
# (longest side, quality), tried in turn until a picture is small enough.
STEPS = ((1080, 82), (880, 78), (720, 74), (560, 68), (440, 60), (320, 50), (200, 40))


class Album:
    """Pictures as `data:` addresses, each encoded once.

    Args:
        runs: how many share the room of a page.
    """

    def __init__(self, runs: int = 1):
        self.most_bytes = MOST_BYTES // (runs * (MOST + 2))
        self.known: dict[tuple[Path, int], str] = {}

    def address(self, path: Path) -> str | None:
        """None when the file is gone, or is no picture."""
        from PIL import Image, UnidentifiedImageError

        try:
            key = path, path.stat().st_mtime_ns
            if key not in self.known:
                with Image.open(path) as picture:
                    self.known[key] = as_text(small(picture.convert("RGB"), self.most_bytes))
            return self.known[key]
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
            return None

    def strip(self, pictures: Sequence[tuple[int, Path]]) -> list[tuple[int, str]]:
        """(images seen, address) of at most `MOST` moments, evenly spread, with the last."""
        shown = [(nimg, self.address(path)) for nimg, path in evenly(pictures)]
        return [(nimg, address) for nimg, address in shown if address is not None]


def evenly(items: Sequence, most: int = MOST) -> list:
    """Every n-th item and the last; n is a power of two, so that a longer list keeps what it had
    or half of that."""
    stride = 1
    while len(items) > most * stride:
        stride *= 2
    chosen = list(items[::stride])
    return chosen if not items or chosen[-1] is items[-1] else [*chosen, items[-1]]


def small(picture, most_bytes: int) -> bytes:
    """A PIL image as WebP of no more than so many bytes, or the smallest that there is."""
    data = b""
    for side, quality in STEPS:
        if max(picture.size) > side:
            picture = picture.copy()
            picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=2)
        data = file.getvalue()
        if len(data) <= most_bytes:
            break
    return data


def as_text(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode()
