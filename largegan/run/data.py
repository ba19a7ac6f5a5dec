"""The data of a run: opened as the configuration says, seen as the recipe reads them."""

from typing import TYPE_CHECKING

from jsonargparse import Namespace

from largegan.data import DataInfo, Domains, framed, open_for
from largegan.data.held_out import hold_out
from largegan.data.transforms import Framing
from largegan.errors import ConfigError
from largegan.recipe import DataSpec, Recipe

if TYPE_CHECKING:
    from largegan.config.schema import DataConfig
    from largegan.data.source import Source


def open_source(
    data: "DataConfig | Namespace", recipe: type[Recipe], *, world: int = 1, rank: int = 0
) -> "Source | Domains":
    """What the `data` group names. Raises `DataError`, or `ConfigError` where both do not fit."""
    return open_for(
        recipe.reads,
        data.path,
        data.path_b,
        paired=recipe.paired,
        labels=data.labels,
        num_classes=data.num_classes,
        on_error=data.on_error,
        max_skip_fraction=data.max_skip_fraction,
        cache_dir=data.cache_dir,
        allow_pipe=data.allow_pipe,
        mode=data.mode,
        world=world,
        rank=rank,
    )


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
    )


def check_resolution(data: "DataConfig | Namespace", info: DataInfo) -> None:
    if data.resolution and (info.height, info.width) != (data.resolution, data.resolution):
        raise ConfigError(
            f"{data.path} gives images of {info.height}x{info.width}, data.resolution is "
            f"{data.resolution}; pack them at that size (tools/pack.py --resolution), set "
            "data.resize and data.crop, or change data.resolution"
        )
