"""The dataset: whether it opens and can be read, what is odd about it, how fast one reader is."""

import sys
import time
from collections.abc import Iterator

import torch
from jsonargparse import Namespace

from largegan.config.schema import DataConfig
from largegan.data.domains import UnpairedStream, framed, open_stream
from largegan.data.index import DataInfo
from largegan.data.micros import RankShare
from largegan.data.stream import Stream
from largegan.doctor.finding import Finding, Visit
from largegan.recipe import Recipe
from largegan.run.data import framing_of, open_source, parts_of
from largegan.run.recipe import recipe_of
from largegan.trainer import micro_batch_size

READ_SECONDS = 1.0
BATCH_PER_RANK = 64  # where no configuration says


def check_data(visit: Visit) -> Iterator[Finding]:
    data = data_settings(visit)
    recipe = recipe_of(visit.config) if visit.config else Recipe
    source = open_source(data, recipe, world=visit.size, rank=visit.rank)
    visit.source, _ = parts_of(source, data.held_out)
    info = framed(visit.source, framing_of(data))
    count = "an unknown number of" if info.count is None else info.count
    kinds = f"{info.num_classes} classes" if info.num_classes else "no classes"
    size = f"{info.channels}x{info.height}x{info.width}"
    yield Finding("ok", "data", f"{data.path}: {count} examples of {size}, {kinds}")
    yield from too_few(info, batch_size(visit))
    yield from read_for_a_while(visit)


def too_few(info: DataInfo, batch: int) -> Iterator[Finding]:
    """Classes without an example; fewer examples than a batch takes."""
    empty = [label for label, count in enumerate(info.label_counts) if count == 0]
    if empty:
        facts = f"{len(empty)} of {info.num_classes} classes have no example, the first is "
        yield Finding("warn", "labels", f"{facts}{empty[0]}", "pack with --compact-labels")
    if info.count is not None and info.count < batch:
        facts = f"{info.count} examples are fewer than one batch of {batch}"
        yield Finding("warn", "data", facts, "lower train.batch_size or bring more data")


def read_for_a_while(visit: Visit) -> Iterator[Finding]:
    """Speed of one reader on one core, in the order of training, and the labels it saw."""
    stream = training_stream(visit)
    batch = stream.next_batch()  # opens files and starts readers: not what is measured
    labels = labels_of(batch)
    images, watch = 0, Stopwatch()
    while watch.elapsed() < READ_SECONDS:
        batch = stream.next_batch()
        images += sum(len(next(iter(micro.values()))) for micro in batch)
        labels += labels_of(batch)
    speed, idle = images / watch.elapsed(), watch.idle()
    stream.close()
    facts = f"{speed:.0f} img/s with one reader"
    if labels and (classes := visit.source.info.num_classes):
        low, high = (int(label) for label in torch.cat(labels).aminmax())
        facts += f", labels {low} to {high}"
        if low < 0 or high >= classes:
            remedy = "write the index again with largegan verify --write-index"
            seen = f"from {low} to {high} with {classes} classes"
            yield Finding("FAIL", "labels", seen, remedy)
    if idle > 0.5:
        facts += f"; {idle:.0%} of the time it waits for the disk or network"
        remedy = "use more data.workers, a local copy or data.cache_dir"
        yield Finding("warn", "reading", facts, remedy)
    else:
        yield Finding("ok", "reading", facts)


def data_settings(visit: Visit) -> DataConfig | Namespace:
    return visit.config.data if visit.config else DataConfig()


def training_stream(visit: Visit) -> Stream | UnpairedStream:
    """As training reads, but in this process."""
    train, batch = visit.config.train if visit.config else None, batch_size(visit)
    micro = micro_batch_size(batch, train.micro_batch_size if train else None, visit.size)
    return open_stream(
        visit.source,
        RankShare(batch, micro, visit.rank, visit.size),
        framing_of(data_settings(visit)),
        seed=train.seed if train else 0,
        workers=0,
    )


def batch_size(visit: Visit) -> int:
    return visit.config.train.batch_size if visit.config else BATCH_PER_RANK * visit.size


def labels_of(batch: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [micro["label"] for micro in batch if "label" in micro]


class Stopwatch:
    """How long something takes, and how much of that it waited of its own accord."""

    def __init__(self):
        self.wall, self.cpu, self.switches = time.perf_counter(), time.process_time(), switches()

    def elapsed(self) -> float:
        return time.perf_counter() - self.wall

    def idle(self) -> float:
        """Share of the time spent waiting for input: 0 where others kept the CPU from us."""
        now = switches()
        gave, lost = now[0] - self.switches[0], now[1] - self.switches[1]
        if gave <= lost:
            return 0.0
        return max(0.0, 1 - (time.process_time() - self.cpu) / self.elapsed())


def switches() -> tuple[int, int]:
    """Times this thread gave the CPU away and times it was taken; (0, 0) where nobody counts."""
    if not sys.platform.startswith("linux"):
        return 0, 0
    import resource  # Unix only

    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nvcsw, usage.ru_nivcsw
