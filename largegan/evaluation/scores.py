"""Scores of two sets of images, shared by all processes: extract, add up, compare.

Batches are consecutive images and whole batches go to processes in turn. So an image meets the
same neighbors whatever the number of processes, and its features are the same bits.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from largegan.data.copies import STATISTICS, UNFINISHED
from largegan.errors import ConfigError, DataError
from largegan.evaluation.progress import Bar
from largegan.evaluation.unfinished import Unfinished
from largegan.files.version import VERSION
from largegan.metrics.features import Extractor
from largegan.metrics.moments import CHUNKS, Gaussian, Moments, moments_of
from largegan.metrics.protocol import refuse_foreign
from largegan.metrics.side import Side
from largegan.metrics.statistics import Statistics, read_statistics, write_statistics
from largegan.parallel.launch import World, add_up, agree, together

RECORDED = ("torch", "timm", "clean-fid", "pillow", "numpy")


class ImageSet(Protocol):
    """`numbers[i]` is the number of image i within its source; `about` goes into the protocol."""

    about: dict[str, Any]

    @property
    def count(self) -> int:
        """How many images."""

    @property
    def num_classes(self) -> int:
        """How many classes; 0 where there are none."""

    def read(self, first: int, last: int) -> list[Tensor]:
        """Images `first` to `last` - 1, uint8 `[C, H, W]`, of any sizes."""

    def several(self, first: int, last: int) -> int:
        """How many of those that were read have more frames or pages than the first, the image."""

    def labels(self) -> list[int] | None:
        """The class of every image, or None."""

    def identity(self) -> str:
        """A hash of the images; for a checkpoint of what it would draw."""


def extract(
    images: ImageSet,
    extractor: Extractor,
    world: World,
    *,
    batch: int = 64,
    chunks: int = CHUNKS,
    features: bool = False,
    logits: bool = False,
    bar: Bar | None = None,
    unfinished: Unfinished | None = None,
) -> Side:
    """Moments of all images, and on request their features `[n, d]` and logits, on all processes.

    Called by all processes together. A `UserError` of one of them (a damaged image) is raised by
    all. `bar` shows this process's share; `unfinished` has what an earlier try found.
    """
    dim = extractor.backbone.dim
    sums = Moments(dim, images.count, chunks=chunks, device=moments_device(extractor))
    kept = torch.zeros(images.count, dim) if features else None
    judged: Tensor | None = None
    animated = torch.zeros(1)

    def work() -> None:
        nonlocal judged
        mine = range(world.rank * batch, images.count, world.size * batch)
        spans = [(first, min(first + batch, images.count)) for first in mine]
        for (first, last), found in features_of(images, extractor, spans, bar, unfinished):
            sums.add(found, first)
            animated.add_(images.several(first, last))
            if kept is not None:
                kept[first:last] = found.cpu()
            if logits:
                judged = keep_logits(judged, extractor, found, images.count, first)

    together(world, work)
    total = add_up(world)
    parts = sums.finish(total)
    if total is not None:
        kept = None if kept is None else total(kept)
        animated = total(animated)
        if logits:  # a process without a batch has no logits, but all of them add up
            probe = together(world, lambda: extractor.logits(torch.zeros(1, dim)))
            classes = int(probe.shape[1])  # type: ignore[union-attr]  # refused before without
            judged = total(torch.zeros(images.count, classes) if judged is None else judged)
    about = {**images.about, "count": images.count, **about_frames(int(animated))}
    return Side(
        parts.whole().gaussian() if images.count > 1 else single(images),
        about,
        parts,
        kept,
        judged,
        images.labels(),
        images,
    )


def about_frames(count: int) -> dict[str, int]:
    """What the protocol says of animations, and TIFFs of several pages."""
    return {"first_frames": count} if count else {}


def said_of_frames(name: str, about: dict[str, Any]) -> list[str]:
    """A sentence on a side of which some files hold more than was looked at."""
    frames = about.get("first_frames", 0)
    return [f"{name}: {frames} files hold several frames or pages; the first counts"] * (frames > 0)


def features_of(
    images: ImageSet,
    extractor: Extractor,
    spans: list[tuple[int, int]],
    bar: Bar | None,
    unfinished: Unfinished | None,
) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Each span and its features `[n, d]`, in order; what an earlier try has left is not redone."""
    known = {span for span in spans if unfinished is not None and unfinished.has(*span)}
    pixels = read_ahead(images, [span for span in spans if span not in known])
    for span in iter(spans) if bar is None else bar(spans, sum(b - a for a, b in spans)):
        found = unfinished.read(*span) if unfinished is not None and span in known else None
        if found is None:  # or it was damaged
            found = extractor(images.read(*span) if span in known else next(pixels))
            if unfinished is not None:
                unfinished.keep(span[0], found)
        yield span, found


def single(images: ImageSet) -> Gaussian:
    """Stands for the Gaussian of one image, which there is not. Raises DataError."""
    raise DataError(
        f"{images.about.get('path', 'the set')} holds one image; a distance between sets needs at "
        "least 2 on either side (10,000 or more for a figure to publish)"
    )


def moments_device(extractor: Extractor) -> torch.device:
    """Where float64 is quick enough: on CUDA, else on the host."""
    return extractor.device if extractor.device.type == "cuda" else torch.device("cpu")


def keep_logits(
    judged: Tensor | None, extractor: Extractor, found: Tensor, count: int, first: int
) -> Tensor:
    """Logits `[count, classes]` with those of `found` from row `first` on. Raises ConfigError."""
    answer = extractor.logits(found)
    if answer is None:
        raise ConfigError(
            "an inception score needs a network with a classifier; run `largegan weights "
            "fetch inception-logits`, or leave `is` out of --metrics"
        )
    if judged is None:
        judged = torch.zeros(count, answer.shape[1])
    judged[first : first + len(answer)] = answer.cpu()
    return judged


def read_ahead(images: ImageSet, spans: list[tuple[int, int]]) -> Iterator[list[Tensor]]:
    """The images of each span; files are decoded by threads while the network is busy."""
    if images.about.get("kind") == "checkpoint":  # drawing is the device's own work
        for span in spans:
            yield images.read(*span)
        return
    # Shards are memory maps that one thread opens and closes; files are independent.
    threads = 1 if images.about.get("kind") == "shards" else max(1, min(8, os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        waiting = iter(spans)
        ahead = [pool.submit(images.read, *s) for s in islice(waiting, threads + 1)]
        while ahead:
            pixels = ahead.pop(0).result()
            ahead += [pool.submit(images.read, *s) for s in islice(waiting, 1)]
            yield pixels


def reference_side(
    images: ImageSet,
    extractor: Extractor,
    world: World,
    *,
    cache: Path | None = None,
    features: bool = False,
    batch: int = 64,
    bar: Bar | None = None,
) -> Side:
    """Of real images, kept in `cache` by their content: read once, never computed twice."""

    def key() -> tuple[str, str, bool]:
        identity = images.identity()
        facts = {"set": identity, "count": images.count, "backbone": extractor.backbone.as_dict()}
        facts |= {"features": features, "host": extractor.host, "batch": batch, "version": 1}
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        return identity, name, bool(cache and (cache / f"{name}.safetensors").is_file())

    identity, name, known = agree(world, key)
    about = {**images.about, "count": images.count, "identity": identity}
    about |= about_frames(images.several(0, images.count))  # all were read for their identity
    if known and cache is not None:
        kept = together(world, lambda: read_statistics(cache / f"{name}.safetensors"))
        about["cached"] = True
        labels = images.labels()
        return Side(kept.gaussian, about, features=kept.features, labels=labels, images=images)
    left = None
    if cache is not None and extractor.device.type == "cpu":  # where it takes hours
        left = Unfinished(cache / f"{name}{UNFINISHED}", extractor.backbone.dim)
    side = extract(
        images,
        extractor,
        world,
        batch=batch,
        chunks=1,
        features=features,
        bar=bar,
        unfinished=left,
    )
    side.about = about
    if cache is not None:
        made = {"backbone": extractor.backbone.as_dict(), "set": about}
        statistics = Statistics(side.gaussian, made, side.features)
        agree(world, lambda: write_statistics(cache / f"{name}.safetensors", statistics))
    if left is not None:
        agree(world, left.remove)
    return side


def side_of_file(path: Path, extractor: Extractor) -> Side:
    """Of a file of statistics, refused when it was made with another network."""
    found = read_statistics(path)
    backbone = extractor.backbone.as_dict()
    refuse_foreign(found.made, backbone, name=str(path))
    if found.gaussian.dim != extractor.backbone.dim:
        raise DataError(
            f"{path} has {found.gaussian.dim} features, and {backbone['name']} has "
            f"{backbone['dim']}; choose the network that made it with --backbone"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about = {"kind": "statistics", "path": str(path), "count": found.gaussian.count}
    about |= {"identity": found.made.get("set", {}).get("identity", digest)}
    if not found.made:
        about["made"] = "not stated in the file; taken to be of this backbone and resize"
    chunks = moments_of(found.features, chunks=CHUNKS) if found.features is not None else None
    return Side(found.gaussian, about, chunks=chunks, features=found.features)


def warnings_of(reference: Side, generated: Side, backbone: dict) -> list[str]:
    """What a person should know before believing a number."""
    said = []
    for name, side in (("reference", reference), ("generated", generated)):
        count, dim = side.gaussian.count, backbone["dim"]
        if side.about.get("made"):
            said.append(f"{name}: how it was made is {side.about['made']}")
        said += said_of_frames(name, side.about)
        if count is not None and count <= dim:
            said.append(
                f"{name}: {count} images for {dim} features: the covariance is singular and the "
                "Fréchet distance far too high; compare only with the same number, and see kid"
            )
        elif count is not None and count < 10_000:
            said.append(
                f"{name}: {count} images: the Fréchet distance is too high; papers use 50,000"
            )
    return said


def environment(world: World) -> dict[str, Any]:
    """Recorded, not compared."""
    versions = {name: metadata.version(name) for name in RECORDED}
    here = {"python": platform.python_version(), "largegan": VERSION}
    return {
        "versions": {**versions, **here},
        "device": str(world.device.type),
        "processes": world.size,
    }


def default_cache() -> Path:
    """Where statistics of reference sets are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("LARGEGAN_CACHE") or cache / "largegan") / STATISTICS
