"""Kinds of images to score: files, packed shards, and what a checkpoint draws.

Image i is the same whoever reads it, so that processes can share a set by number.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from largegan.data.indexed import IndexedSource
from largegan.data.originals import Originals
from largegan.data.prepare import upright_rgb
from largegan.data.transforms import Framing, to_device
from largegan.errors import DataError, reason, shown
from largegan.files import photos
from largegan.files.photos import BadImage
from largegan.files.reading import reading
from largegan.sampler import Sampler, to_uint8

AS_STORED = Framing()


@dataclass
class Files:
    """A folder, zip or npz of images."""

    path: Path
    numbers: Sequence[int]
    originals: Originals
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
        except (BadImage, OSError) as error:
            raise self._fault(number, error) from error
        assert not isinstance(loaded, tuple), "pairs are opened on request alone"
        return loaded

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

    source: IndexedSource
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
        return self.source.labels_of(self.numbers)

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


def about_labels(sampler: Sampler) -> dict[str, str]:
    """What the protocol says of labels that do not come in turn."""
    return {"labels": "as often as in the training data"} if sampler.class_ends else {}
