"""Latents that are packed: a folder of `.npy` files, or an npz."""

import dataclasses
from pathlib import Path

import numpy as np

from largegan.data.formats.folder import originals_of_tree, tree_of
from largegan.data.formats.npz import labels_of, mapped_array
from largegan.data.latents import read_latent
from largegan.data.originals import Originals, Request
from largegan.data.stacks import LABEL_ARRAYS, called
from largegan.errors import DataError
from largegan.files.arrays import Header, Npz

ARRAY = "latents"  # of an npz


def open_latents(source: Path, request: Request) -> Originals:
    """Latents of a folder of ``.npy`` files, or of an npz with "latents" `[N, C, h, w]`.

    Classes are found as those of images are. Raises DataError for what the source lacks.
    """
    if source.is_dir():
        found = originals_of_tree(tree_of(source), request, kinds=("npy",))
        return dataclasses.replace(found, load=lambda i: read_latent(found.load(i)))
    if source.suffix != ".npz" or not source.is_file():
        raise DataError(f"{source} is neither a folder of .npy files nor an .npz; convert it first")
    with Npz(source) as arrays:
        names = [name for name in arrays.entries if name == ARRAY]
        latents, _ = mapped_array(
            arrays, names, request.scratch, what="latent", check=_check_layout
        )
        label = request.field or next(iter(called(arrays.entries, LABEL_ARRAYS)), None)
        classes = labels_of(arrays, label, len(latents), request, "latents")
    names = [f"latent {i} of {source.name}" for i in range(len(latents))]
    return Originals(names, lambda i: np.array(latents[i])).labeled(classes)


def _check_layout(header: Header, what: str) -> None:
    if len(header.shape) != 4 or not np.issubdtype(header.dtype, np.floating):
        raise DataError(
            f"{what} is {header.dtype} of shape {list(header.shape)}; latents are floating point "
            "[N, channels, height, width]"
        )
    if not all(header.shape):
        raise DataError(f"{what} has 0 latents (shape {list(header.shape)}); save them again")
