"""Opening images to score: a folder, a zip, an npz, shards, or what a checkpoint draws.

A path may end in [START:STOP:STEP] to take a part: `photos[::2]` and `photos[1::2]` are two halves.
"""

import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from largegan.data.formats import open_originals
from largegan.data.held_out import Part
from largegan.data.index import INDEX_NAME
from largegan.data.indexed import IndexedSource
from largegan.data.originals import Request
from largegan.data.reading import Reading
from largegan.data.source import open_data
from largegan.data.transforms import Framing
from largegan.errors import ConfigError
from largegan.evaluation.image_kinds import Drawn, Files, Shards, about_labels
from largegan.evaluation.scores import ImageSet
from largegan.restore import is_model
from largegan.sampler import Sampler, has_images, open_sampler
from largegan.sampler.standing import use_standing_statistics

log = logging.getLogger(__name__)


def open_image_set(
    path: str,
    *,
    count: int | None = None,
    seed: int = 0,
    truncation: float | None = None,
    classes: str | None = None,
    standing: int = 0,
    raw: bool = False,
    device: torch.device | str = "cpu",
    labels: bool = False,
    on_error: str = "raise",
) -> ImageSet:
    """What a person means by `path`.

    Args:
        path: folder, zip, npz, shards, bundled:NAME, RUN or RUN/checkpoints/NNNNNNNNN.
        count: take the first so many; a checkpoint draws so many (default 50,000).
        seed: first seed of a checkpoint's images.
        truncation: of a checkpoint's images; what it does is the recipe's choice.
        classes: a checkpoint's classes, as for largegan sample.
        standing: batches of 64 samples that batch norm's statistics are taken from; 0: those of
            training.
        raw: a checkpoint draws with its weights as trained, not with their averages.
        device: where a checkpoint draws.
        labels: classes are needed, and their absence is an error.
        on_error: skip leaves out the files that cannot be read, and says which.

    Raises:
        ConfigError: nothing of the kind is there.
        DataError: it is there and damaged.
    """
    plain, part = split_path(path)
    if is_model(Path(plain)):
        sampler = open_sampler(Path(plain), device, classes=classes, truncation=truncation, raw=raw)
        seeds = selected(range(seed, seed + (count or 50_000)), part, None)
        about = {"seed": seed, "weights": "raw" if raw else "EMA"}
        return drawn(sampler, seeds, about, standing=standing)
    drawing = truncation is not None or classes is not None or standing or raw
    if drawing and (Path(plain).exists() or is_shards(plain)):
        raise ConfigError(
            f"{plain} is not a checkpoint: truncation, classes, standing and raw are for drawing"
        )
    if is_shards(plain):
        source = open_data(plain, Reading(mode="indexed"))
        if not isinstance(source, IndexedSource):
            raise ConfigError(f"{plain} holds no images; give shards of images")
        refuse_other_samples(source, plain)
        numbers = selected(range(source.info.count or 0), part, count)  # an index knows its count
        return Shards(source, numbers, {"kind": "shards", "path": plain, "part": part})
    files = open_files(Path(plain), part, count, labels="auto" if labels else "none")
    for sentence in files.originals.account.sentences():
        log.warning("%s: %s", plain, sentence)
    for sentence in files.without_bad() if on_error == "skip" else ():
        log.warning("left out: %s", sentence)
    return files


def drawn(sampler: Sampler, seeds: range, about: dict[str, Any], *, standing: int) -> Drawn:
    """What a checkpoint draws; `about` is completed for the protocol. Raises ConfigError."""
    if not has_images(sampler.recipe):
        raise ConfigError(f"{sampler.path} is of a recipe that draws no images; nothing to score")
    if standing:
        use_standing_statistics(sampler, batches=standing, batch=64)
        about = {**about, "standing_batches": standing}
    about = {"kind": "checkpoint", "path": str(sampler.path), **about, **about_labels(sampler)}
    about |= {"truncation": sampler.truncation, "classes": list(sampler.classes)}
    return Drawn(sampler, seeds, about, sampler.model)


def images_of_source(source: Any, framing: Framing, *, count: int | None, path: str) -> ImageSet:
    """Data that are open already, as training sees them: resized, and cut in the middle.

    Raises ConfigError for data that cannot be read by number.
    """
    source = source.source if isinstance(source, Part) else source
    if not isinstance(source, IndexedSource):
        raise ConfigError(f"{path} cannot be read again by number; set evaluate.reference")
    refuse_other_samples(source, path)
    about: dict[str, Any] = {"kind": "shards", "path": path, "part": ""}
    about |= {"resize": framing.resize} if framing.resize else {}
    about |= {"crop": framing.crop} if framing.crop else {}
    numbers = selected(range(source.info.count or 0), "", count)
    return Shards(source.apart(), numbers, about, framing)


def refuse_other_samples(source: IndexedSource, path: str) -> None:
    """Raises ConfigError for shards whose samples are pairs or latents."""
    if source.info.channels_b:
        raise ConfigError(f"{path} holds pairs; give the images of one side, such as its folder")
    if source.info.latent_scale:
        raise ConfigError(f"{path} holds latents; give the images that they were made of")


def open_files(path: Path, part: str, count: int | None, *, labels: str) -> Files:
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give images, shards, a checkpoint or statistics")
    scratch = tempfile.TemporaryDirectory()
    # An npz knows its labels itself; "none" is for trees whose folders are not classes.
    originals = open_originals(path, Request(labels=labels, scratch=Path(scratch.name)))
    numbers = selected(range(len(originals.names)), part, count)
    about = {"kind": path.suffix[1:] or "folder", "path": str(path), "part": part}
    return Files(path, numbers, originals, about, scratch)


def split_path(path: str) -> tuple[str, str]:
    """ "photos[::2]" -> ("photos", "::2"); a path that exists as it is stays whole."""
    found = re.fullmatch(r"(.+)\[(-?\d*:-?\d*(?::-?\d*)?)\]", path)
    if not found or Path(path).exists():
        return path, ""
    return found[1], found[2]


def selected(numbers: range, part: str, count: int | None) -> range:
    """The part of `numbers` that a person asked for; never empty."""
    if part:
        bounds = [int(b) if b else None for b in part.split(":")]
        if len(bounds) > 2 and bounds[2] == 0:
            raise ConfigError(f"[{part}] has a step of 0; write [START:STOP:STEP]")
        numbers = numbers[slice(*bounds)]
    if not numbers:
        raise ConfigError(f"[{part}] leaves no image")
    if count is not None and count > len(numbers):
        raise ConfigError(f"{count} images were asked for and there are {len(numbers)}")
    return numbers if count is None else numbers[:count]


def is_shards(path: str) -> bool:
    """Shards by their name, or a folder that holds an index or tars."""
    if path.startswith("bundled:") or path.endswith((".tar", ".json")) or "://" in path:
        return True
    folder = Path(path)
    if folder.is_dir():
        return (folder / INDEX_NAME).is_file() or any(folder.glob("*.tar"))
    return any(mark in path for mark in "{*?") and not folder.exists()
