"""Scores of two sets of images, shared by all processes: extract, add up, compare.

Batches are consecutive images and whole batches go to processes in turn. So an image meets the
same neighbours whatever the number of processes, and its features are the same bits.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from largegan.errors import ConfigError, DataError
from largegan.evaluation.image_sets import ImageSet
from largegan.metrics.classification import classification_accuracy
from largegan.metrics.features import Extractor, as_rgb
from largegan.metrics.frechet import estimate, frechet_distance
from largegan.metrics.inception_score import inception_score
from largegan.metrics.kid import kernel_estimate
from largegan.metrics.moments import CHUNKS, Chunks, Gaussian, Moments, gaussian_of, moments_of
from largegan.metrics.prdc import precision_recall_density_coverage
from largegan.metrics.protocol import refuse_foreign
from largegan.metrics.resize import device_resize
from largegan.metrics.statistics import Statistics, read_statistics, write_statistics
from largegan.parallel.launch import World, add_up, agree, together

METRICS = {
    "fid": "Fréchet distance, with its standard error and its limit for many images",
    "kid": "kernel distance over all pairs, with its standard error",
    "prdc": "precision, recall, density, coverage",
    "ifid": "Fréchet distance within each class, and its mean (needs classes on both sides)",
    "is": "inception score of the generated images (needs weights with a classifier)",
    "cas": "accuracy on real images of a classifier trained on generated ones (needs classes)",
}
CAS_SIZE = 64
NEED_FEATURES = {"kid", "prdc", "ifid"}
RECORDED = ("torch", "timm", "clean-fid", "pillow", "numpy", "largegan")
Bar = Callable[[Iterable, int], Iterable]  # wraps what a person waits for; total in images


@dataclass
class Side:
    """One of the two: what is known of its images' features."""

    gaussian: Gaussian
    about: dict[str, Any]
    chunks: Chunks | None = None
    features: Tensor | None = None
    logits: Tensor | None = None
    labels: list[int] | None = None
    images: ImageSet | None = None


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
) -> Side:
    """Moments of all images, and on request their features `[n, d]` and logits, on all processes.

    Called by all processes together. A `UserError` of one of them (a damaged image) is raised by
    all. `bar` shows this process's share.
    """
    dim = extractor.backbone.dim
    sums = Moments(dim, images.count, chunks=chunks, device=moments_device(extractor))
    kept = torch.zeros(images.count, dim) if features else None
    judged: Tensor | None = None

    def work() -> None:
        nonlocal judged
        mine = range(world.rank * batch, images.count, world.size * batch)
        spans = [(first, min(first + batch, images.count)) for first in mine]
        for (first, last), pixels in read_ahead(images, spans, bar):
            found = extractor(pixels)
            sums.add(found, first)
            if kept is not None:
                kept[first:last] = found.cpu()
            if logits:
                judged = keep_logits(judged, extractor, found, images.count, first)

    together(world, work)
    total = add_up(world)
    parts = sums.finish(total)
    if total is not None:
        kept = None if kept is None else total(kept)
        if logits:  # a process without a batch has no logits, but all of them add up
            classes = int(together(world, lambda: extractor.logits(torch.zeros(1, dim))).shape[1])
            judged = total(torch.zeros(images.count, classes) if judged is None else judged)
    about = {**images.about, "count": images.count}
    return Side(
        parts.whole().gaussian() if images.count > 1 else single(images),
        about,
        parts,
        kept,
        judged,
        images.labels(),
        images,
    )


def single(images: ImageSet) -> Gaussian:
    raise DataError(
        f"{images.about.get('path', 'the set')} holds one image; a distance between sets needs at "
        "least 2 on either side (10,000 or more for a figure to publish)"
    )


def progress_bar(name: str, world: World) -> Bar:
    """A bar on the first process, when there is something to wait for and somebody to see it."""
    from tqdm import tqdm

    def show(spans: Iterable, total: int) -> Iterator:
        hidden = True if world.rank else None
        with tqdm(total=total, unit="img", desc=name, disable=hidden, delay=1) as shown:
            for span in spans:
                yield span
                shown.update(span[1] - span[0])

    return show


def moments_device(extractor: Extractor) -> torch.device:
    """Where float64 is quick enough: on CUDA, else on the host."""
    return extractor.device if extractor.device.type == "cuda" else torch.device("cpu")


def keep_logits(
    judged: Tensor | None, extractor: Extractor, found: Tensor, count: int, first: int
) -> Tensor:
    answer = extractor.logits(found)
    if answer is None:
        raise ConfigError(
            "an inception score needs a network with a classifier; run `python tools/weights.py "
            "fetch inception-logits`, or leave `is` out of --metrics"
        )
    if judged is None:
        judged = torch.zeros(count, answer.shape[1])
    judged[first : first + len(answer)] = answer.cpu()
    return judged


def read_ahead(
    images: ImageSet, spans: list[tuple[int, int]], bar: Bar | None
) -> Iterator[tuple[tuple[int, int], list[Tensor]]]:
    """Batches in order; files are decoded by threads while the network is busy."""
    shown = iter(spans) if bar is None else iter(bar(spans, sum(b - a for a, b in spans)))
    if images.about.get("kind") == "checkpoint":  # drawing is the device's own work
        for span in shown:
            yield span, images.read(*span)
        return
    # Shards are memory maps that one thread opens and closes; files are independent.
    threads = 1 if images.about.get("kind") == "shards" else max(1, min(8, os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        waiting = iter(spans)
        ahead = [pool.submit(images.read, *s) for s in islice(waiting, threads + 1)]
        for span in shown:
            pixels = ahead.pop(0).result()
            ahead += [pool.submit(images.read, *s) for s in islice(waiting, 1)]
            yield span, pixels


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
    if known and cache is not None:
        kept = together(world, lambda: read_statistics(cache / f"{name}.safetensors"))
        about["cached"] = True
        labels = images.labels()
        return Side(kept.gaussian, about, features=kept.features, labels=labels, images=images)
    side = extract(images, extractor, world, batch=batch, chunks=1, features=features, bar=bar)
    side.about = about
    if cache is not None:
        made = {"backbone": extractor.backbone.as_dict(), "set": about}
        statistics = Statistics(side.gaussian, made, side.features)
        agree(world, lambda: write_statistics(cache / f"{name}.safetensors", statistics))
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


def compute(
    reference: Side, generated: Side, metrics: Iterable[str], *, k: int = 5, most: int = 10_000
) -> dict[str, float]:
    """The chosen scores, by name. Heavy sums in float64 on the host; one process is enough.

    `k`: neighbours of precision and recall. `most`: images of either side that they look at.
    """
    scores: dict[str, float | None] = {}
    for metric in metrics:
        scores |= _CALCULATE[metric](reference, generated, k, most)
    return {name: value for name, value in scores.items() if value is not None}


def _fid(reference: Side, generated: Side, k: int, most: int) -> dict[str, float | None]:
    if generated.chunks is None:
        return {"fid": frechet_distance(reference.gaussian, generated.gaussian)}
    found = estimate(reference.gaussian, generated.chunks)
    return {"fid": found.distance, "fid_error": found.error, "fid_limit": found.limit}


def _kid(reference: Side, generated: Side, k: int, most: int) -> dict[str, float | None]:
    found = kernel_estimate(*both_features(reference, generated, "kid"))
    return {"kid": found.distance, "kid_error": found.error}


def _prdc(reference: Side, generated: Side, k: int, most: int) -> dict[str, float | None]:
    real, fake = both_features(reference, generated, "prdc")
    return vars(precision_recall_density_coverage(real[:most], fake[:most], k=k))


def _inception_score(reference: Side, generated: Side, k: int, most: int) -> dict:
    mean, deviation = inception_score(generated.logits)
    return {"is": mean, "is_deviation": deviation}


def _ifid(reference: Side, generated: Side, k: int, most: int) -> dict[str, float | None]:
    """Fréchet distance class by class (Naeem et al., and every conditional GAN's paper since)."""
    real, fake = both_features(reference, generated, "ifid")
    if reference.labels is None or generated.labels is None:
        raise ConfigError(
            "a distance within classes needs labels on both sides: sub-folders that are classes, "
            "labelled shards, or a class-conditional checkpoint"
        )
    ours, theirs = torch.tensor(reference.labels), torch.tensor(generated.labels)
    shared = sorted(set(reference.labels) & set(generated.labels))
    parts = {c: (real[ours == c], fake[theirs == c]) for c in shared}
    parts = {c: pair for c, pair in parts.items() if min(map(len, pair)) >= 2}
    if not parts:
        raise ConfigError("no class has 2 images on both sides; give more images")
    each = {
        f"ifid/{c}": frechet_distance(gaussian_of(a), gaussian_of(b)) for c, (a, b) in parts.items()
    }
    return {"ifid": sum(each.values()) / len(each), **each}


def _cas(reference: Side, generated: Side, k: int, most: int) -> dict[str, float | None]:
    """Images larger than 64 pixels are made smaller: what differs between classes is seen there."""
    if None in (reference.labels, generated.labels, reference.images, generated.images):
        raise ConfigError(
            "a classification accuracy needs images with classes on both sides: sub-folders that "
            "are classes, labelled shards, or a class-conditional checkpoint"
        )
    size = min(CAS_SIZE, *reference.images.read(0, 1)[0].shape[1:])
    fake, real = (small_images(side.images, size) for side in (generated, reference))
    accuracy = classification_accuracy(
        lambda numbers: fake[numbers],
        torch.tensor(generated.labels),
        lambda numbers: real[numbers],
        torch.tensor(reference.labels),
    )
    return {"cas": accuracy}


def small_images(images: ImageSet, size: int) -> Tensor:
    """uint8 `[N, 3, size, size]`: all of a set, in memory."""
    found = torch.empty(images.count, 3, size, size, dtype=torch.uint8)
    for first in range(0, images.count, 64):
        for i, image in enumerate(images.read(first, min(first + 64, images.count)), first):
            found[i] = device_resize(as_rgb(image[None]), (size, size))[0].round()
    return found


_CALCULATE = {
    "fid": _fid,
    "kid": _kid,
    "prdc": _prdc,
    "ifid": _ifid,
    "is": _inception_score,
    "cas": _cas,
}


def both_features(reference: Side, generated: Side, metric: str) -> tuple[Tensor, Tensor]:
    if reference.features is None or generated.features is None:
        raise ConfigError(
            f"{metric} compares images one by one, and a file of means and covariances has none; "
            "give the images, or leave it out of --metrics"
        )
    return reference.features, generated.features


def warnings_of(reference: Side, generated: Side, backbone: dict) -> list[str]:
    """What a person should know before believing a number."""
    said = []
    for name, side in (("reference", reference), ("generated", generated)):
        count, dim = side.gaussian.count, backbone["dim"]
        if side.about.get("made"):
            said.append(f"{name}: how it was made is {side.about['made']}")
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
    return {
        "versions": {**versions, "python": platform.python_version()},
        "device": str(world.device.type),
        "processes": world.size,
    }


def default_cache() -> Path:
    """Where statistics of reference sets are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("LARGEGAN_CACHE") or cache / "largegan") / "statistics"
