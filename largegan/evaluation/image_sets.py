"""Images to score, by number: a folder, a zip, an npz, shards, or what a checkpoint draws.

Image i is the same whoever reads it, so that processes can share a set by number. A path may end
in [START:STOP:STEP] to take a part: `photos[::2]` and `photos[1::2]` are two halves.
"""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from largegan.data.formats import open_originals
from largegan.data.held_out import Part
from largegan.data.index import INDEX_NAME
from largegan.data.indexed import IndexedSource
from largegan.data.originals import Request
from largegan.data.prepare import upright_rgb
from largegan.data.reading import Reading
from largegan.data.source import open_data
from largegan.data.stream import ReadByNumber
from largegan.data.transforms import Framing, to_device
from largegan.errors import ConfigError, DataError, reason, shown
from largegan.evaluation.scores import ImageSet
from largegan.files import photos
from largegan.files.photos import BadImage
from largegan.files.reading import reading
from largegan.restore import is_model
from largegan.sampler import Sampler, has_images, open_sampler, to_uint8, use_standing_statistics

log = logging.getLogger(__name__)
AS_STORED = Framing()


@dataclass
class Files:
    """A folder, zip or npz of images."""

    path: Path
    numbers: Sequence[int]
    originals: Any
    about: dict[str, Any]
    scratch: tempfile.TemporaryDirectory
    animated: set[int] = field(default_factory=set)  # numbers of those that were read

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
    def num_classes(self) -> int:
        labels = self.originals.labels
        return len(self.originals.class_names) or (max(labels) + 1 if labels else 0)

    def read(self, first: int, last: int) -> list[Tensor]:
        return [self._image(n) for n in self.numbers[first:last]]

    def _image(self, number: int) -> Tensor:
        try:
            with reading(self.originals.names[number]):
                pixels = upright_rgb(self._load(number))
        except BadImage as error:
            raise self._fault(number, error) from error
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    def _load(self, number: int) -> bytes | np.ndarray:
        try:
            loaded = self.originals.load(number)
            if isinstance(loaded, bytes) and photos.has_more(loaded):
                self.animated.add(number)
            return loaded
        except (BadImage, OSError) as error:
            raise self._fault(number, error) from error

    def _fault(self, number: int, error: Exception) -> DataError:
        name = shown(self.originals.names[number])
        why = reason(error) if isinstance(error, OSError) and error.errno else error
        return DataError(f"{name} in {self.path} {why}; replace or remove it")

    def several(self, first: int, last: int) -> int:
        return len(self.animated.intersection(self.numbers[first:last]))

    def without_bad(self) -> list[str]:
        """Leaves out the images that cannot be read; returns a sentence for each."""
        good, faults = [], []
        for number in self.numbers:
            try:
                self._image(number)
                good.append(number)
            except DataError as error:
                faults.append(str(error))
        if not good:
            raise DataError(f"no image of {self.path} can be read; the last one: {faults[-1]}")
        self.numbers = good
        self.about["left_out"] = len(faults)
        return faults

    def labels(self) -> list[int] | None:
        known = self.originals.labels
        return None if known is None else [known[n] for n in self.numbers]

    def identity(self) -> str:
        """Of the files' bytes, in order; names do not matter."""
        found = hashlib.sha256()
        for number in self.numbers:
            data = self._load(number)
            if isinstance(data, np.ndarray):
                data = str(data.shape).encode() + np.ascontiguousarray(data).tobytes()
            found.update(hashlib.sha256(data).digest())
        return found.hexdigest()


@dataclass
class Shards:
    """Packed shards, in the order of their index."""

    source: Any
    numbers: Sequence[int]
    about: dict[str, Any]
    framing: Framing = AS_STORED  # of what training sees

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
    def num_classes(self) -> int:
        return self.source.info.num_classes

    def read(self, first: int, last: int) -> list[Tensor]:
        image = self._batch(first, last)["image"]
        if self.framing != AS_STORED:
            return list(to_uint8(to_device({"image": image}, "cpu", self.framing)["image"]))
        return list(in_8_bits(image))

    def several(self, first: int, last: int) -> int:
        return 0

    def _batch(self, first: int, last: int) -> dict[str, Tensor]:
        return self.source.read(np.array(self.numbers[first:last]))

    def labels(self) -> list[int] | None:
        if not self.num_classes:
            return None
        known = self.source._entries[:, 2]
        return [int(known[n]) for n in self.numbers]

    def identity(self) -> str:
        """Of every image's bytes: an index knows sizes and places, which edited images may keep."""
        found = hashlib.sha256()
        if self.framing != AS_STORED:
            found.update(repr(self.framing).encode())
        for start in range(0, self.count, 256):
            found.update(self._batch(start, start + 256)["image"].contiguous().numpy().tobytes())
        return found.hexdigest()


def in_8_bits(images: Tensor) -> Tensor:
    """uint8 of stored images of 8 or 16 bits: feature networks were trained on such."""
    if images.dtype == torch.uint8:
        return images
    return images.to(torch.float32).div_(257).round_().to(torch.uint8)


@dataclass
class Drawn:
    """What a sampler draws: image i comes from seed `numbers[i]`, as largegan sample draws it.

    Pixels are rounded to 8 bits, as files on a disk would be. `weights` is a hash of them.
    """

    sampler: Sampler
    numbers: Sequence[int]
    about: dict[str, Any]
    weights: str = ""

    def __post_init__(self) -> None:
        self.sampler = self.sampler.as_in_data()

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
    def num_classes(self) -> int:
        return max(self.sampler.classes) + 1 if self.sampler.classes else 0

    @torch.no_grad()
    def read(self, first: int, last: int) -> list[Tensor]:
        seeds, sampler = self.numbers[first:last], self.sampler
        latents = torch.stack([sampler.latent(seed) for seed in seeds])
        # A generator may draw noise of its own: the same for this batch, whoever draws it, and
        # nothing that training draws afterwards is changed by it.
        devices = [sampler.device] if sampler.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seeds[0])
            labels = [sampler.label(seed) for seed in seeds]
            return list(sampler.images(latents, labels))

    def several(self, first: int, last: int) -> int:
        return 0

    def reconstructed(self, images: list[Tensor]) -> Tensor:
        """uint8 `[N, C, H, W]` of real images through an encoder and back."""
        return self.sampler.reconstructed(images)

    def moved(self, first: int, last: int, transform: Tensor) -> Tensor:
        """float `[N, C, H, W]`, not clamped, with the generator's input moved; see `Sampler`."""
        return self.sampler.moved(self.numbers[first:last], transform)

    def labels(self) -> list[int] | None:
        if not self.sampler.classes:
            return None
        labels = [self.sampler.label(seed) for seed in self.numbers]
        return [label for label in labels if label is not None]  # all of them: there are classes

    def identity(self) -> str:
        facts = [self.weights, list(self.numbers), self.sampler.classes, self.sampler.truncation]
        facts.append(self.about.get("standing_batches", 0))
        facts += ["raw"] if self.about["weights"] == "raw" else []
        facts += [self.sampler.label_counts] if "labels" in self.about else []
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


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
        if not isinstance(source, ReadByNumber):
            raise ConfigError(f"{plain} holds no images; give shards of images")
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


def about_labels(sampler: Sampler) -> dict[str, str]:
    """What the protocol says of labels that do not come in turn."""
    return {"labels": "as often as in the training data"} if sampler.ends else {}


def images_of_source(source: Any, framing: Framing, *, count: int | None, path: str) -> ImageSet:
    """Data that are open already, as training sees them: resized, and cut in the middle.

    Raises ConfigError for data that cannot be read by number.
    """
    source = source.source if isinstance(source, Part) else source
    if not isinstance(source, IndexedSource):
        raise ConfigError(f"{path} cannot be read again by number; set evaluate.reference")
    about: dict[str, Any] = {"kind": "shards", "path": path, "part": ""}
    about |= {"resize": framing.resize} if framing.resize else {}
    about |= {"crop": framing.crop} if framing.crop else {}
    numbers = selected(range(source.info.count or 0), "", count)
    return Shards(source.apart(), numbers, about, framing)


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
