"""`largegan train FOLDER`: which preset suits these images, at which size, and why."""

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from largegan.config.presets import Advice, advised
from largegan.data.formats import open_originals
from largegan.data.formats.pairs import Domain, domains_of, sides_of
from largegan.data.in_place import is_packed
from largegan.data.originals import Request
from largegan.data.prepare import size_of
from largegan.data.source import open_data
from largegan.errors import ConfigError, DataError, shown
from largegan.files.photos import BadImage
from largegan.files.special import special

LOOKED_AT = 64  # images, evenly spread
CHOICES = ("--config", "--recipe.name")  # words with which a person has chosen already
MARGIN = 286 / 256  # translation resizes to this many times the side that it cuts out (its papers)


@dataclass(frozen=True)
class Seen:
    """What there is to learn from."""

    reads: str  # images, domains or pairs
    count: int  # of the larger domain
    side: int  # pixels of the shorter side of most images


@dataclass(frozen=True)
class Suggestion:
    """The words of a start, what to say about them, and seconds for 1000 images where measured."""

    words: list[str]
    notes: tuple[str, ...] = ()
    seconds: float | None = None


def suggest(argv: list[str], env: Mapping[str, str] = os.environ) -> Suggestion:
    """The words of `FOLDER --option ...`, with those of a preset where no recipe is named.

    Raises DataError for a folder without images, ConfigError where no preset suits.
    """
    words = ["--data.path", argv[0], *argv[1:]]
    named = any(word.partition("=")[0] in CHOICES for word in words)
    if named or {"-h", "--help"} & set(words):
        return Suggestion(words)
    path = os.path.expanduser(argv[0])
    if kind := special(path):
        raise ConfigError(f"{shown(path)} is {kind}; give a folder of images")
    seen = look(path, given(words, "data.split"), given(words, "data.side_by_side"))
    advice = advised(seen.reads, seen.count, gpu=has_gpu())
    if advice is None:
        raise ConfigError(
            f"no preset is advised for {seen.count} {seen.reads}; choose one with --config NAME"
        )
    world = int(env.get("WORLD_SIZE", "1"))
    chosen = words_of(advice, seen, path, world)
    if advice.gpu and world == 1 and not names_engine(words, env):
        chosen += ["--train.cuda_graphs", "true"]
    notes = (
        f"{shown(path)}: {seen.count} {seen.reads} of {seen.side} pixels",
        f"preset {advice.preset}, which {advice.why}",
        f"the same as: largegan train {' '.join([*chosen, *words])}",
    )
    return Suggestion([*chosen, *words], notes, advice.seconds)


def has_gpu() -> bool:
    return torch.cuda.is_available()


def names_engine(words: list[str], env: Mapping[str, str]) -> bool:
    """Whether somebody asks for an engine, which may not be one whose phases can be recorded."""
    by_accelerate = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")
    return any(word.startswith("--parallel.") for word in words) or any(
        env.get(name, "false").lower() == "true" for name in by_accelerate
    )


def given(words: list[str], option: str) -> str | None:
    """What the command line says of an option."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == f"--{option}":
            return value if equals else following
    return None


def look(path: str, split: str | None, side_by_side: str | None) -> Seen:
    """Counts images, and looks at the sizes of some. Raises DataError."""
    place = Path(path)
    domains = domains_of(place, split)
    if is_packed(path) and domains is None:
        info = open_data(path).info
        reads = "pairs" if info.channels_b else "images"
        return Seen(reads, info.count or 0, min(info.height, info.width))
    if domains is not None:
        a, b = (_look_at(d.source, Request(labels="none", inside=d.inside)) for d in domains)
        reads = "pairs" if _same_names(*domains) else "domains"
        return Seen(reads, max(a.count, b.count), min(a.side, b.side))
    seen = _look_at(place, Request(labels="none", split=split))
    return Seen("pairs", seen.count, seen.side) if side_by_side else seen


def _look_at(source: Path, request: Request) -> Seen:
    if is_packed(str(source)) and source.exists():
        info = open_data(source).info
        return Seen("images", info.count or 0, min(info.height, info.width))
    with tempfile.TemporaryDirectory() as scratch:
        request = replace(request, windowed=True, scratch=Path(scratch))
        found = open_originals(source, request)
        count = len(found.names)
        sides, last = Counter[int](), ""
        for i in range(0, count, max(1, count // LOOKED_AT)):
            try:
                sides[min(size_of(found.load(i)))] += 1
            except (BadImage, OSError, DataError) as fault:
                last = f"{shown(found.names[i])} {fault}"  # the others are named in packing
    if not sides:
        raise DataError(f"no image of {shown(source)} can be read; the last one: {last}")
    return Seen("images", count, sides.most_common(1)[0][0])


def _same_names(a: Domain, b: Domain) -> bool:
    names = [sides_of(domain.tree(), str(domain)).keys() for domain in (a, b)]
    return bool(names[0]) and names[0] == names[1]


def words_of(advice: Advice, seen: Seen, path: str, world: int) -> list[str]:
    """The preset, and what depends on the images and on this machine."""
    side = max((s for s in advice.sides if s <= seen.side), default=min(advice.sides))
    words = {
        "config": advice.preset,
        "run.dir": f"runs/{Path(path.partition(':')[2] or path).resolve().name}",
        "run.resume": "auto",
    }
    if advice.reads == "images":
        words["data.resolution"] = side
    else:
        words |= {"data.resize": round(side * MARGIN), "data.crop": side}
    if advice.preset == "stylegan2_auto":  # its rule, see the preset
        each = max(1, min(4096 // side, 32))
        words["train.batch_size"] = max(world, min(64, each * world) // world * world)
    if advice.epochs:
        half = advice.epochs * seen.count // 2
        words |= {"recipe.constant_nimg": half, "recipe.decay_nimg": half}
        words["train.total_nimg"] = 2 * half
    return [part for name, value in words.items() for part in (f"--{name}", str(value))]
