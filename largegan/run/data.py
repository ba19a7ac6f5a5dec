"""The data of a run: opened as the configuration says, seen as the recipe reads them."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jsonargparse import Namespace

from largegan.data.domains import Domains, framed
from largegan.data.formats.pairs import Domain, domains_of
from largegan.data.held_out import Part, hold_out
from largegan.data.in_place import Wanted, copy_in_cache, is_packed
from largegan.data.index import DataInfo
from largegan.data.indexed import IndexedSource
from largegan.data.opening import open_for
from largegan.data.originals import Request
from largegan.data.reading import Reading
from largegan.data.stream import ReadByNumber
from largegan.data.streaming import StreamedSource
from largegan.data.transforms import Framing
from largegan.errors import ConfigError, DataError
from largegan.parallel.launch import World, add_up
from largegan.recipe import DataSpec, Recipe

if TYPE_CHECKING:
    from largegan.config.schema import DataConfig
    from largegan.data.stream import Source


def open_source(
    data: "DataConfig | Namespace",
    recipe: type[Recipe],
    *,
    world: int = 1,
    rank: int = 0,
    pack: bool = True,
) -> "Source | Domains":
    """What the `data` group names; images that are no shards yet are packed, or with `pack` false
    refused. Raises `DataError`, or `ConfigError` where both do not fit."""
    path, path_b = shards_of(data, recipe, pack=pack)
    reading = reading_of(data, world=world, rank=rank)
    return open_for(recipe.reads, path, path_b, reading, paired=recipe.paired)


def reading_of(data: "DataConfig | Namespace", *, world: int = 1, rank: int = 0) -> Reading:
    """The settings that concern reading, by their names."""
    settings = {field.name for field in dataclasses.fields(Reading)} & vars(data).keys()
    return Reading(
        **{name: getattr(data, name) for name in settings},
        world=world,
        rank=rank,
        neighbors=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )


def shards_of(
    data: "DataConfig | Namespace", recipe: type[Recipe], *, pack: bool = True
) -> tuple[str, str | None]:
    """The shards of data.path and data.path_b, packed into the cache where they are images."""
    if data.path_b is None and "image_b" in recipe.reads and not is_packed(data.path):
        return _domains_of(data, recipe, pack=pack)
    if data.side_by_side and not is_packed(data.path):
        raise ConfigError(
            "data.side_by_side makes pairs, which are for recipes that learn from them (pix2pix)"
        )
    second = data.path_b and _packed(data.path_b, wanted_of(data), data, pack=pack)
    return _packed(data.path, wanted_of(data), data, pack=pack), second


def _domains_of(
    data: "DataConfig | Namespace", recipe: type[Recipe], *, pack: bool
) -> tuple[str, str | None]:
    """Pairs of one source, or its two domains, as the recipe reads them."""
    wanted = wanted_of(data)
    domains = domains_of(Path(data.path), data.split)
    if data.side_by_side or (recipe.paired and domains):
        pairs = dataclasses.replace(wanted, channels_b=wanted.channels)
        return _packed(data.path, pairs, data, pack=pack), None
    if domains is None:
        raise ConfigError(
            f"{data.path} holds one domain, and translation needs two; give the other as "
            "data.path_b, or a folder or zip with trainA and trainB, or say data.side_by_side left "
            "or right for pairs in one picture"
        )
    a, b = (_domain(domain, wanted, data, pack=pack) for domain in domains)
    return a, b


def _domain(domain: Domain, wanted: Wanted, data: "DataConfig | Namespace", *, pack: bool) -> str:
    alone = dataclasses.replace(wanted.request, split=None, labels="none", inside=domain.inside)
    wanted = dataclasses.replace(wanted, request=alone)
    return _packed(str(domain.source), wanted, data, pack=pack)


def _packed(path: str, wanted: Wanted, data: "DataConfig | Namespace", *, pack: bool) -> str:
    """The path itself where it names shards, else that of a copy in the cache."""
    if is_packed(path, wanted):
        return path
    if not pack:
        raise DataError(f"{path} is not packed yet")
    copy = copy_in_cache(Path(path), wanted, reading_of(data).folder)
    for sentence in copy.notes:  # of the process that packed
        print(sentence, flush=True)
    return str(copy.path)


def wanted_of(data: "DataConfig | Namespace") -> Wanted:
    """How images that are packed for training are stored."""
    if data.window is not None and (len(data.window) != 2 or data.window[0] >= data.window[1]):
        raise ConfigError(f"data.window is {data.window}; give two values, black and then white")
    return Wanted(
        request=Request(
            labels="auto" if data.labels else "none",
            split=data.split,
            field=data.label_field,
            side_by_side=data.side_by_side,
            vectors=data.label_vectors,
            lone=data.on_error == "skip",
        ),
        resolution=data.resolution,
        resize=data.resize,
        crop=data.crop,
        fit=data.fit,
        channels=data.channels,
        window=None if data.window is None else tuple(data.window),
        depth=data.depth,
        on_error=data.on_error,
    )


def share_counts(source: "Source | Domains", world: World) -> None:
    """All processes know the shards that one has counted, and a resumed run reads none in vain."""
    for part in (source.a, source.b) if isinstance(source, Domains) else (source,):
        if isinstance(part, StreamedSource):
            part.learn(add_up(world))


def check_vectors(name: str, recipe: type[Recipe], spec: DataSpec) -> None:
    """Refuses labels that are vectors for a recipe that knows classes only."""
    if spec.condition_dim and not recipe.vectors:
        raise ConfigError(
            f"recipe {name} knows classes, and the labels of the data are vectors of "
            f"{spec.condition_dim}; use stylegan2, stylegan3 or r3gan, or data.labels false"
        )


def give_conditions(recipe: Recipe, source: "Source | Domains") -> None:
    """Tells networks that take vectors what the labels of the data stand for."""
    whole = source.source if isinstance(source, Part) else source
    if isinstance(whole, IndexedSource) and whole.conditions is not None and recipe.vectors:
        recipe.conditions.fill(torch.from_numpy(np.array(whole.conditions)))


def some_images(source: "Source | Domains", count: int) -> dict[str, torch.Tensor] | None:
    """Training images evenly spread over the set, as `source.read` gives them.

    None for other data, and for streamed shards, which cannot be picked from.
    """
    if not isinstance(source, ReadByNumber):
        return None
    batch = source.read(np.linspace(0, source.info.count - 1, count).astype(np.int64))
    images = {name: batch[name] for name in ("image", "image_a", "image_b") if name in batch}
    return images or None


def parts_of(
    source: "Source | Domains", held_out: int | None
) -> "tuple[Source | Domains, Source | Domains | None]":
    """(what is trained on, what is held out). Raises ConfigError when that leaves nothing."""
    return (source, None) if held_out is None else hold_out(source, held_out)


def check_latents(name: str, recipe: type[Recipe], spec: DataSpec) -> None:
    """Refuses latents for a recipe that makes pictures."""
    if spec.latent_scale and not recipe.latents:
        raise ConfigError(
            f"recipe {name} makes images, and the data are latents; use recipe gat, or pack images"
        )


def framing_of(data: "DataConfig | Namespace") -> Framing:
    """How images are resized and cut for training."""
    return Framing(resize=data.resize, crop=data.crop)


def spec_of(data: "DataConfig | Namespace", source: "Source | Domains") -> DataSpec:
    """What networks are built for. Raises `ConfigError` for images of another size than stated."""
    if source.info.latent_scale and (data.resize or data.crop):
        raise ConfigError(
            f"{data.path} holds latents, which data.resize and data.crop cannot change; leave them "
            "out"
        )
    info = framed(source, framing_of(data))
    check_resolution(data, info)
    return DataSpec(
        info.channels,
        info.height,
        info.width,
        info.num_classes,
        info.channels_b,
        info.latent_scale,
        info.condition_dim,
    )


def check_resolution(data: "DataConfig | Namespace", info: DataInfo) -> None:
    """Raises ConfigError for images of another size than data.resolution says."""
    if data.resolution and (info.height, info.width) != (data.resolution, data.resolution):
        raise ConfigError(
            f"{data.path} gives images of {info.height}x{info.width}, data.resolution is "
            f"{data.resolution}; pack them at that size (largegan pack --resolution), set "
            "data.resize and data.crop, or change data.resolution"
        )
