"""Write images as WebDataset shards in a seeded random order, with their index.

Two passes: the first lists the images and permutes them all, the second encodes them in that
order. Shards sorted by class would leave most classes out of a batch. The same source and seed
give the same bytes.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from largegan.data.formats import opened
from largegan.data.latents import LatentPreparation
from largegan.data.originals import DEFAULT, Request
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout, Packed, fill
from largegan.files.claims import claim_new_folder
from largegan.files.output import new_folder

PLAIN = Layout()
SCRATCH = ".scratch"  # within the unfinished folder, which nobody else sees


def pack(
    source: Path,
    out: Path,
    *,
    preparation: Preparation | LatentPreparation,
    request: Request = DEFAULT,
    layout: Layout = PLAIN,
    channels_b: int | None = None,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Packed:
    """Pack what is asked of ``source`` into the new folder ``out``; raises DataError, ConfigError.

    With ``channels_b`` the source holds pairs, and that is how b is stored. The folder appears
    under its name only when it is complete.
    """
    claim_new_folder(out)
    with new_folder(out) as temporary:
        scratch = temporary / SCRATCH
        scratch.mkdir()
        request = dataclasses.replace(request, scratch=scratch)
        originals, how = opened(source, preparation, request, channels_b=channels_b)
        packed = fill(temporary, originals, how, layout, progress=progress)
        shutil.rmtree(scratch)
    return packed
