"""Before and after, side by side: the picture that people look at first."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from largegan.files import photos
from largegan.sampler import to_uint8
from largegan.viz.layout import fill, sheet

SIDE = 256  # pixels of a cell
CELLS_A_ROW = 9


def contact_sheet(
    inputs: Mapping[str, Callable[[], bytes]],
    out: Path,
    *,
    count: int,
    window: tuple[float, float] | None = None,
) -> Tensor | None:
    """uint8 `[3, H, W]`: `count` inputs, evenly spread, each with its translation on its right.

    `inputs` gives the encoded image of each name, whose translation is under that name in `out`.
    None when no pair can be shown.
    """
    names = [name for name in inputs if (out / name).is_file()]
    columns = {
        "input": lambda name: inputs[name](),
        "translation": lambda name: (out / name).read_bytes(),
    }
    return side_by_side(names, columns, count=count, window=window)


def side_by_side(
    names: Sequence[str],
    columns: Mapping[str, Callable[[str], bytes]],
    *,
    count: int,
    window: tuple[float, float] | None = None,
) -> Tensor | None:
    """uint8 `[3, H, W]`: `count` of the names, evenly spread, each with its image in every column.

    `columns` has titles, and what gives the encoded image of a name. A name of which an image
    cannot be read is left out; None when none is left.
    """
    picks = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).astype(int))
    cells: list[Tensor] = []
    for name in (names[i] for i in picks):
        try:
            cells += [_cell(photos.read(read(name)), window) for read in columns.values()]
        except (photos.BadImage, OSError):  # reported by whoever made or scores them
            continue
    return _arranged(cells, list(columns)) if cells else None


def _arranged(cells: Sequence[Tensor], titles: Sequence[str]) -> Tensor:
    groups = len(cells) // len(titles)
    across = min(groups, max(1, CELLS_A_ROW // len(titles)))
    grid = fill(cells, rows=-(-groups // across), columns=across * len(titles))
    return sheet(grid, column_names=list(titles) * across)


def _cell(photo: photos.Photo, window: tuple[float, float] | None) -> Tensor:
    """uint8 `[3, SIDE, SIDE]`: the photo, over white, fitted into a white square."""
    pixels = photos.for_network(photo, 3, (255, 255, 255))
    step = max(1, max(photo.size) // (4 * SIDE))  # huge ones need no fine filter
    unit = photos.scale_for(pixels.dtype, window).to_unit(pixels[::step, ::step])
    shown = to_uint8(torch.from_numpy(unit)[None])[0].numpy()
    fitted = ImageOps.pad(Image.fromarray(shown), (SIDE, SIDE), color="white")
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)
