"""Before and after, side by side: the picture that people look at first."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from largegan.data.decode import BadImage
from largegan.pictures import to_uint8
from largegan.sheets import fill, sheet
from largegan.translation import images
from largegan.translation.sources import Item

SIDE = 256  # pixels of a cell
PAIRS_A_ROW = 4


def contact_sheet(
    share: dict[str, Item], out: Path, *, count: int, window: tuple[float, float] | None = None
) -> Tensor | None:
    """uint8 `[3, H, W]`: `count` inputs, evenly spread, each with its translation on its right.

    None when no pair can be shown.
    """
    names = [name for name in share if (out / name).is_file()]
    picks = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).astype(int))
    cells = []
    for name in (names[i] for i in picks):
        try:
            pair = [share[name].read(), (out / name).read_bytes()]
            cells += [_cell(images.read(data), window) for data in pair]
        except (BadImage, OSError):  # reported when it was translated
            continue
    return _arranged(cells) if cells else None


def _arranged(cells: Sequence[Tensor]) -> Tensor:
    pairs = len(cells) // 2
    columns = min(pairs, PAIRS_A_ROW)
    rows = -(-pairs // columns)
    grid = fill(cells, rows=rows, columns=2 * columns)
    return sheet(grid, column_names=["input", "translation"] * columns)


def _cell(photo: images.Photo, window: tuple[float, float] | None) -> Tensor:
    """uint8 `[3, SIDE, SIDE]`: the photo, over white, fitted into a white square."""
    pixels = images.for_network(photo, 3, (255, 255, 255))
    step = max(1, max(photo.size) // (4 * SIDE))  # huge ones need no fine filter
    unit = images.scale_for(pixels.dtype, window).to_unit(pixels[::step, ::step])
    shown = to_uint8(torch.from_numpy(unit)[None])[0].numpy()
    fitted = ImageOps.pad(Image.fromarray(shown), (SIDE, SIDE), color="white")
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)
