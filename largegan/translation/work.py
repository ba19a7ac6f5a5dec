"""Translating many images: read ahead, batches of one size, large ones in tiles, written behind.

Every process takes each world-th image of the sorted list, done or not: so none is lost or done
twice, and nobody waits for anybody. What is wrong with one image is reported, and the others go on.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from largegan.errors import ConfigError, EnvironmentFault, reason, shown
from largegan.files import photos
from largegan.files.photos import BadImage, Photo, Scale
from largegan.files.reading import reading
from largegan.translation import images, memory
from largegan.translation.manifest import Manifest
from largegan.translation.sources import Item
from largegan.translation.target import Target
from largegan.translation.tiles import Box
from largegan.translation.tiling import Done, Tiler
from largegan.translation.translator import Translator

AHEAD = 3  # batches that are decoded, or wait for others of their size, at once
DRIFT_WORTH_SAYING = 0.1  # standard deviations; about 45 dB were measured there


@dataclass(frozen=True)
class How:
    """What decides what a translation looks like; the manifest keeps it."""

    norm_stats: str = "auto"
    tile: int = 512
    thumbnail: int = 512
    precision: str = "fp32"
    window: tuple[float, float] | None = None
    ext: str = "keep"
    background: tuple[int, int, int] = (255, 255, 255)

    def record(self) -> dict:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass
class Outcome:
    """What became of this process's share."""

    written: list[str] = field(default_factory=list)
    skipped: int = 0
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Loaded:
    """An image on its way: as it was read, and as the network is to see it."""

    out: str
    item: Item
    photo: Photo
    pixels: np.ndarray  # [H, W, C] in the photo's dtype
    scale: Scale

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def unit(self, box: Box) -> torch.Tensor:
        """float32 `[1, C, h, w]` in [-1, 1]."""
        part = self.pixels[box.top : box.bottom, box.left : box.right]
        return torch.from_numpy(self.scale.to_unit(part)).permute(2, 0, 1)[None]


def outputs_of(items: list[Item], ext: str) -> dict[str, Item]:
    """The name of every translation; raises ConfigError when two would have the same."""
    found: dict[str, Item] = {}
    for item in items:
        name = item.name
        if ext != "keep":
            name = PurePosixPath(name).with_suffix(f".{ext}").as_posix()
        if name in found:
            raise ConfigError(
                f"{found[name].name} and {item.name} would both become {name}; use --ext keep, or "
                "rename one"
            )
        found[name] = item
    return found


class Job:
    """One process's share of a translation.

    Args:
        translator: the network.
        out: folder of the translations.
        how: what they are to look like.
        batch_size: images of one size that are translated at once.
        threads: for decoding and encoding.
        on_done: is called once for every image, however it went.
    """

    def __init__(
        self,
        translator: Translator,
        out: Path,
        how: How,
        *,
        batch_size: int = 1,
        threads: int = 2,
        on_done: Callable[[], None] = lambda: None,
    ):
        self.translator, self.out, self.how = translator, out, how
        self.batch_size, self.threads = batch_size, threads
        self.on_done = on_done
        self.device = next(translator.net.parameters()).device
        self.tiler = Tiler(
            translator.net,
            channels=translator.channels,
            tile=how.tile,
            thumbnail=how.thumbnail,
            precision=how.precision,
        )
        self.manifest = Manifest(out)
        self.outcome = Outcome()
        self.buckets: dict[tuple[int, int], list[Loaded]] = {}
        self.writing: deque[Future] = deque()
        self._bytes_per_pixel: float | None = None
        # What must be the same for a translation to count as done.
        self.identity = {
            "model": translator.model,
            "direction": translator.direction,
            "options": how.record(),
        }

    def remaining(self, share: dict[str, Item]) -> dict[str, Item]:
        """What is not done yet; raises ConfigError for files that are there and not ours."""
        done = self.manifest.is_done
        left = {out: item for out, item in share.items() if not done(out, self.identity)}
        self.outcome.skipped = len(share) - len(left)
        return left

    def run(self, share: dict[str, Item]) -> Outcome:
        """Translates. Raises EnvironmentFault when the disk refuses."""
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for loaded in self.loaded(share, pool):
                    for batch in self.sorted_in(loaded):
                        self.translate(batch, pool)
                for batch in self.buckets.values():
                    self.translate(batch, pool)
                self.collect(at_most=0)
            except OSError as fault:  # images that cannot be read are BadImage
                raise cannot_write(self.out, fault) from fault
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return self.outcome

    def loaded(self, share: dict[str, Item], pool: ThreadPoolExecutor) -> Iterator[Loaded]:
        """The images that can be read, in order; they are decoded a few batches ahead."""
        waiting: deque[Future] = deque()
        todo = iter(share.items())
        while True:
            for out, item in todo:
                waiting.append(pool.submit(self.load, out, item))
                if len(waiting) > AHEAD * self.batch_size:
                    break
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except BadImage as fault:
                self.report(str(fault))

    def load(self, out: str, item: Item) -> Loaded:
        """Reads and prepares one image; raises BadImage with its name."""
        try:
            photo = photos.map_tiff(item.path) if item.path else None
            with reading(item.name):
                photo = photo or photos.read(item.read())
            dtype = photo.pixels.dtype
            images.check_format(PurePosixPath(out).suffix.lower(), dtype)
            scale = photos.scale_for(dtype, self.how.window)
            pixels = photos.for_network(photo, self.translator.channels, self.how.background)
        except (BadImage, OSError, MemoryError) as fault:
            why = fault if isinstance(fault, BadImage) else f"cannot be read ({fault})"
            raise BadImage(f"{shown(item.name)} {why}") from fault
        return Loaded(out, item, photo, pixels, scale)

    def sorted_in(self, loaded: Loaded) -> Iterator[list[Loaded]]:
        """Batches that are ready now that this image has come: of one size, or a tiled one."""
        if self.mode(loaded.size) != "full":
            yield [loaded]
            return
        bucket = self.buckets.setdefault(loaded.size, [])
        bucket.append(loaded)
        if len(bucket) == self.batch_size:
            yield self.buckets.pop(loaded.size)
        elif sum(map(len, self.buckets.values())) > AHEAD * self.batch_size:
            yield self.buckets.pop(max(self.buckets, key=lambda size: len(self.buckets[size])))

    def mode(self, size: tuple[int, int]) -> str:
        """How an image of this size is translated: "full" where it is but one tile."""
        if self.how.norm_stats != "auto":
            return "full" if max(size) <= self.tiler.tile else self.how.norm_stats
        if self._bytes_per_pixel is None:
            self._bytes_per_pixel = self.batch_size * memory.bytes_per_pixel(
                self.translator.net,
                channels=self.translator.channels,
                precision=self.how.precision,
            )
        fits = memory.fits(size, self._bytes_per_pixel, self.device)
        return "full" if fits else "thumbnail"

    def translate(self, batch: list[Loaded], pool: ThreadPoolExecutor) -> None:
        """Runs the network on images of one size; encoding goes on behind it."""
        mode = self.mode(batch[0].size)
        if mode != "full" and len(batch) > 1:  # memory was taken since these were gathered
            for loaded in batch:
                self.translate([loaded], pool)
            return
        try:
            done = self.whole(batch) if mode == "full" else [self.tiled(batch[0], mode)]
        except torch.OutOfMemoryError:
            height, width = batch[0].size
            for loaded in batch:
                self.report(
                    f"{loaded.item.name} ({width}x{height}) does not fit into the memory of "
                    f"{self.device}; use --norm-stats thumbnail or exact, a smaller --tile or a "
                    "smaller --batch-size"
                )
            return
        for loaded, target, facts in done:
            self.writing.append(pool.submit(self.finish, loaded, target, facts))
        self.collect(at_most=AHEAD * self.batch_size)

    def target(self, loaded: Loaded) -> Target:
        place, times = self.out / loaded.out, self.tiler.scale
        return Target(place, loaded.photo, loaded.scale, times=times)

    @torch.no_grad()
    def whole(self, batch: list[Loaded]) -> list[tuple[Loaded, Target, Done]]:
        """Translates images of one size together, each as one piece."""
        frame = Box(0, 0, *batch[0].size)
        x = torch.cat([loaded.unit(frame) for loaded in batch]).to(self.device)
        y = self.tiler.forward(self.tiler.net, x).cpu()
        targets = [self.target(loaded) for loaded in batch]
        for target, part in zip(targets, y.split(1), strict=True):
            target.put(frame.times(self.tiler.scale), part)
        return [(*both, Done("full", 1)) for both in zip(batch, targets, strict=True)]

    def tiled(self, loaded: Loaded, mode: str) -> tuple[Loaded, Target, Done]:
        """Translates an image in parts; `mode` as `Tiler.run` has it."""
        target = self.target(loaded)
        try:
            done = self.tiler.run(
                mode, loaded.size, lambda box: loaded.unit(box).to(self.device), target.put
            )
        except BaseException:
            target.clean_up()
            raise
        if done.drift is not None and done.drift > DRIFT_WORTH_SAYING:
            self.outcome.warnings.append(
                f"{loaded.item.name}: the statistics of its thumbnail are {done.drift:.2f} "
                "standard deviations off; --norm-stats exact guesses none"
            )
        return loaded, target, done

    def finish(self, loaded: Loaded, target: Target, done: Done) -> str:
        """Encodes and writes, in a thread; raises BadImage or OSError."""
        height, width = loaded.size
        facts = {"output": loaded.out, "input": loaded.item.name, "input_bytes": loaded.item.bytes}
        facts |= {"height": height, "width": width, "dtype": str(loaded.photo.pixels.dtype)}
        facts |= {
            "scale": self.tiler.scale,
            "mode": done.mode,
            "tiles": done.tiles,
            "drift": done.drift,
            **self.identity,
        }
        try:
            target.finish(self.manifest, facts)
        except BadImage as fault:
            raise BadImage(f"{shown(loaded.item.name)} {fault}") from fault
        except OSError as fault:
            if fault.errno != errno.ENAMETOOLONG:
                raise
            raise BadImage(
                f"{shown(loaded.item.name)} has too long a name to be written"
            ) from fault
        finally:
            target.clean_up()
        return loaded.out

    def collect(self, *, at_most: int) -> None:
        """Waits until at most so many encodings are under way."""
        while len(self.writing) > at_most:
            try:
                self.outcome.written.append(self.writing.popleft().result())
                self.on_done()
            except BadImage as fault:
                self.report(str(fault))

    def report(self, sentence: str) -> None:
        self.outcome.faults.append(sentence)
        self.on_done()


def cannot_write(place: Path, fault: OSError) -> EnvironmentFault:
    """What to raise when the disk refuses."""
    return EnvironmentFault(
        f"cannot write below {place}: {reason(fault)}; make room, and start the same "
        "command again: it goes on where it stopped"
    )
