"""Features of a set that is being looked at, kept until all of it is: a killed score goes on.

On a CPU an image costs 0.1 to 0.3 processor seconds, so a reference of 50,000 is hours.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from largegan.errors import DataError
from largegan.files import output
from largegan.files.tensors import read_tensors


@dataclass(frozen=True)
class Unfinished:
    """A folder with a file for every finished batch, of `dim` features an image.

    Several processes, and several scores of the same set, may write and read it at once: what a
    file holds depends on its name alone.
    """

    folder: Path
    dim: int

    def has(self, first: int, last: int) -> bool:
        """Whether a file is there; `read` says whether it is whole."""
        return self._file(first, last).is_file()

    def read(self, first: int, last: int) -> Tensor | None:
        """Features float32 `[last - first, dim]` of images `first` to `last` - 1, if kept."""
        try:
            found = read_tensors(self._file(first, last)).get("features", torch.zeros(0))
        except DataError:  # damaged, or taken away by another score that has just ended
            return None
        whole = found.shape == (last - first, self.dim) and found.dtype == torch.float32
        return found if whole and found.isfinite().all() else None

    def keep(self, first: int, features: Tensor) -> None:
        """Those of images from `first` on."""
        path = self._file(first, first + len(features))
        path.parent.mkdir(parents=True, exist_ok=True)  # another score may have just ended
        with output.writing(path) as partial:
            save_file({"features": features.float().cpu().contiguous()}, partial)

    def remove(self) -> None:
        """All of it, once the set is finished."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _file(self, first: int, last: int) -> Path:
        return self.folder / f"{first:09d}-{last:09d}.safetensors"
