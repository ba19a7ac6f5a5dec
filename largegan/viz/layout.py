"""Laying images out as one picture: rows and columns, white between, names at the edges."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from largegan.viz.pictures import as_image, legible

GAP, MARGIN = 2, 6  # pixels between images, and around text


def sheet(
    images: Tensor, *, row_names: Sequence[str] = (), column_names: Sequence[str] = ()
) -> Tensor:
    """uint8 `[R, N, C, H, W]` -> one picture `[C', H', W']`, white between, names at the edges."""
    from torchvision.utils import make_grid

    pixels = legible(images.flatten(0, 1))
    picture = make_grid(pixels, nrow=images.shape[1], padding=GAP, pad_value=255)
    if not (row_names or column_names):
        return picture
    cell = (pixels.shape[2] + GAP, pixels.shape[3] + GAP)
    return with_names(picture, cell, row_names, column_names)


def with_names(
    picture: Tensor, cell: tuple[int, int], row_names: Sequence[str], column_names: Sequence[str]
) -> Tensor:
    """Adds a margin on the left for the names of rows, and one above for those of columns."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    size = max(10, min(24, cell[0] // 3))
    font = ImageFont.load_default(size)
    left = MARGIN * 2 + max((int(font.getlength(n)) for n in row_names), default=-2 * MARGIN)
    top = size + MARGIN * 2 if column_names else 0
    body = as_image(picture).convert("RGB")
    canvas = Image.new("RGB", (body.width + left, body.height + top), "white")
    canvas.paste(body, (left, top))
    pen = ImageDraw.Draw(canvas)
    for i, name in enumerate(row_names):
        pen.text((MARGIN, top + (i + 0.5) * cell[0]), name, "black", font, anchor="lm")
    for i, name in enumerate(column_names):
        pen.text((left + (i + 0.5) * cell[1], top / 2), name, "black", font, anchor="mm")
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def fill(images: Iterable[Tensor], *, rows: int, columns: int) -> Tensor:
    """Images `[C, H, W]` -> `[rows, columns, C, H, W]`, row by row, white where they run out."""
    found = torch.stack(list(images))
    blank = torch.full_like(found[:1], 255).expand(rows * columns - len(found), -1, -1, -1)
    return torch.cat([found, blank]).unflatten(0, (rows, columns))
