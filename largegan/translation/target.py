"""Where the pixels of one translation gather, and how they become a file: whole or not at all."""

import hashlib
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from largegan.files import output
from largegan.files.digests import sha256_of
from largegan.files.photos import HUGE, TIFF_ENDINGS, Photo, Scale
from largegan.translation.images import encode, tiff_layout
from largegan.translation.manifest import Manifest
from largegan.translation.tiles import Box


class Target:
    """One output file.

    Up to `HUGE` bytes its pixels are held in memory. A larger TIFF is written in place, without
    compression, through a memory map; other formats gather in a scratch file beside. `times` is how
    much larger it is than the photo.
    """

    def __init__(self, path: Path, photo: Photo, scale: Scale, *, times: int = 1):
        self.path, self.photo, self.scale, self.times = path, photo, scale, times
        self.ending = path.suffix.lower()
        self.partial = output.reserve(path, self.ending)
        self.scratch = output.reserve(path)
        self.pixels: np.ndarray | None = None  # [H, W, C], made when C is known

    def put(self, box: Box, part: Tensor) -> None:
        """Takes float `[1, C, h, w]` in [-1, 1] for the pixels of `box`."""
        if self.pixels is None:
            self.pixels = self._make_room(part.shape[1])
        unit = part[0].permute(1, 2, 0).cpu().numpy()
        stored = self.scale.from_unit(unit, self.pixels.dtype)
        self.pixels[box.top : box.bottom, box.left : box.right] = stored

    def _make_room(self, channels: int) -> np.ndarray:
        height, width = (self.times * side for side in self.photo.size)
        dtype, alpha = self.photo.pixels.dtype, self.photo.alpha
        shape = (height, width, channels)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if height * width * channels * dtype.itemsize < HUGE:
            return np.empty(shape, dtype)
        if self.ending not in TIFF_ENDINGS:
            return np.memmap(self.scratch, dtype, "w+", shape=shape)
        stored = channels + (alpha is not None and channels in (1, 3))
        layout = tiff_layout(stored, self.photo.icc)
        shape = shape[:2] if stored == 1 else (height, width, stored)
        file = tifffile.memmap(self.partial, shape=shape, dtype=dtype, **layout)
        file = file.reshape(height, width, stored)
        if stored > channels:
            file[..., -1] = enlarged(alpha, self.times)
        return file[..., :channels]

    def finish(self, manifest: Manifest, facts: dict) -> None:
        """The file under its name, and its line in the manifest. Raises OSError, BadImage."""
        if isinstance(self.pixels, np.memmap) and self.ending in TIFF_ENDINGS:
            self.pixels.flush()
            size, sha = self.partial.stat().st_size, sha256_of(self.partial)
        else:
            data = encode(self._photo(), self.ending)
            self.partial.write_bytes(data)
            size, sha = len(data), hashlib.sha256(data).hexdigest()
        manifest.append({**facts, "bytes": size, "sha256": sha})
        self.partial.replace(self.path)

    def _photo(self) -> Photo:
        """With the alpha of the network, or with that of the input."""
        if self.pixels.shape[2] == 4:
            return Photo(self.pixels[..., :3], self.pixels[..., 3], self.photo.icc)
        # A profile describes the colors of the input: of gray ones it fits no colors.
        same = self.pixels.shape[2] == self.photo.pixels.shape[2]
        alpha = self.photo.alpha
        alpha = None if alpha is None else enlarged(alpha, self.times)
        return Photo(self.pixels, alpha, self.photo.icc if same else None)

    def clean_up(self) -> None:
        """Nothing of an unfinished file stays behind."""
        self.pixels = None
        output.release(self.partial)
        output.release(self.scratch)


def enlarged(alpha: np.ndarray, times: int) -> np.ndarray:
    """`[H, W]` -> `[times H, times W]` of the same type, bicubic within its own range."""
    if times == 1:
        return alpha
    plane = torch.from_numpy(alpha.astype(np.float64))[None, None]
    large = interpolate(plane, scale_factor=float(times), mode="bicubic", align_corners=False)
    large = large[0, 0].clamp(plane.min(), plane.max()).numpy()
    return (
        large.astype(alpha.dtype) if alpha.dtype.kind == "f" else np.rint(large).astype(alpha.dtype)
    )
