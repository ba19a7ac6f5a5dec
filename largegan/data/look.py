"""A look at originals before the work: their sizes, their depth, what will become of them."""

import dataclasses
from collections import Counter

import numpy as np

from largegan.data.latents import LatentPreparation
from largegan.data.originals import Originals
from largegan.data.prepare import Preparation, size_of
from largegan.errors import DataError
from largegan.files import photos
from largegan.files.photos import BadImage
from largegan.files.reading import reading

LOOKED_AT = 64  # images, evenly spread
DARK = 1 << 14  # of 65536: what never reaches this is not meant to be seen so dark


@dataclasses.dataclass
class Facts:
    """What a look at the originals' headers found before the work."""

    size: tuple[int, int] | None = None  # (height, width) of most of them, where that matters
    deep: int = 0  # images of more than 8 bits, among those looked at
    small: int = 0  # images that will be enlarged
    seen: int = 0

    def notes(self, preparation: Preparation) -> list[str]:
        """Sentences on what became of the pixels."""
        notes = []
        if isinstance(preparation, LatentPreparation):
            return notes
        if self.deep and preparation.window is None and preparation.depth == 8:
            notes.append(
                f"{self.deep} of the {self.seen} images looked at have 16 bits and are stored with "
                "8: 0 to 65535 became 0 to 255; --window LO,HI chooses other limits"
            )
        if self.small:
            height, width = preparation.size
            notes.append(
                f"{self.small} of the {self.seen} images looked at were smaller and have been "
                f"enlarged to {height}x{width}; they are blurred"
            )
        return notes


def is_deep(image: bytes | np.ndarray) -> bool:
    """Whether an image has more than 8 bits; raises BadImage."""
    return photos.is_deep(image) if isinstance(image, bytes) else image.dtype != np.uint8


def look_ahead(originals: Originals, preparation: Preparation, *, on_error: str) -> Facts:
    """Sizes and depths of some images, or of all where the most common size has to be known.

    Raises DataError for deep images that would become nearly black.
    """
    if isinstance(preparation, LatentPreparation):
        return _most_common_shape(originals) if on_error == "skip" else Facts()
    count, everything = len(originals.names), on_error == "skip" and preparation.size is None
    picks = np.arange(count)
    if not everything:
        picks = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int))
    sizes: Counter[tuple[int, int]] = Counter()
    facts, brightest = Facts(seen=len(picks)), 0
    for i in picks.tolist():
        try:
            loaded = originals.load(i)
            for image in loaded if isinstance(loaded, tuple) else (loaded,):
                with reading(None):  # warnings are said when it is encoded
                    size, deep = size_of(image), is_deep(image)
                if deep:
                    facts.deep += 1
                    brightest = max(brightest, _top(image) if facts.deep <= LOOKED_AT else 0)
            sizes[size] += 1
        except (BadImage, OSError, DataError):
            continue  # named when it is encoded
    if facts.deep and preparation.window is None and 0 < brightest < DARK:
        raise DataError(
            f"the images have 16 bits and hold values up to {brightest} of 65535, so they would be "
            f"nearly black; say with --window LO,HI which are black and white, such as --window "
            f"0,{max(255, (1 << brightest.bit_length()) - 1)}"
        )
    if everything and sizes:
        facts.size = sizes.most_common(1)[0][0]
    if preparation.size is not None:
        facts.small = sum(n for size, n in sizes.items() if _enlarged(size, preparation))
    return facts


def _most_common_shape(originals: Originals) -> Facts:
    """The height and width of most latents."""
    sizes: Counter[tuple[int, int]] = Counter()
    for i in range(len(originals.names)):
        try:
            sizes[originals.load(i).shape[1:]] += 1
        except (BadImage, OSError, DataError):
            continue  # named when it is encoded
    return Facts(size=sizes.most_common(1)[0][0] if sizes else None)


def _top(image: bytes | np.ndarray) -> int:
    """The largest value of an image of 16 bits; 0 for floats, whose range nobody knows."""
    pixels = image if isinstance(image, np.ndarray) else photos.read(image).pixels
    return int(pixels.max()) if pixels.dtype == np.uint16 else 0


def _enlarged(size: tuple[int, int], preparation: Preparation) -> bool:
    """Whether fitting makes an image larger than it was."""
    scales = [wanted / found for wanted, found in zip(preparation.size, size, strict=True)]
    return (min(scales) if preparation.fit == "pad" else max(scales)) > 1
