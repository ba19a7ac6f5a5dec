"""Which frequencies every layer of StyleGAN3 may draw (Karras et al., 2021, section 3.2).

Frequencies are counted in cycles along the image's shorter side. Cutoffs and stopbands grow
geometrically from layer to layer until the last ones, which use everything that the pixels can
show. Each layer samples its signal as coarsely as its stopband allows, at powers of two.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from largegan.errors import ConfigError

FIRST_CUTOFF = 2.0
FIRST_STOPBAND = 2**2.1
LAST_STOPBAND = 2**0.3  # of the last cutoff


@dataclass(frozen=True)
class Band:
    """What comes out of a layer: frequencies below `cutoff`, none above the stopband.

    `rate` is in samples along the shorter side, `half_width` half of the transition band (as wide
    as the rate has room for), `size` (height, width) in samples, with a margin around the image.
    """

    cutoff: float
    half_width: float
    rate: int
    size: tuple[int, int]
    channels: int


@dataclass(frozen=True, kw_only=True)
class BandOptions:
    """Options of `bands`: so many layers, their widths, and what the first and the last draw."""

    layers: int = 14
    critical: int = 2
    image_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    first_cutoff: float = FIRST_CUTOFF
    first_stopband: float = FIRST_STOPBAND
    last_stopband: float = LAST_STOPBAND
    margin: int = 10


def bands(height: int, width: int, options: BandOptions) -> list[Band]:
    """The outputs of `layers` layers and of the one that draws the image.

    The last `critical` of them are sampled critically: their cutoff is half of the rate. The
    shorter side has to be a power of two; what the longer one needs, `check_sizes` says.
    """
    o, layers, critical = options, options.layers, options.critical
    if o.margin < 0:
        raise ConfigError(f"StyleGAN3's margin is {o.margin}; it must be 0 or more samples")
    short = min(height, width)
    check_order(short, o)
    cutoffs = list(geometric(o.first_cutoff, short / 2, layers, critical))
    stops = list(geometric(o.first_stopband, short / 2 * o.last_stopband, layers, critical))
    rates = [2 ** math.ceil(math.log2(min(2 * stop, short))) for stop in stops]
    check_sizes(height, width, rates)
    found = []
    for i, (cutoff, stop, rate) in enumerate(zip(cutoffs, stops, rates, strict=True)):
        with_margin = tuple(rate * side // short + 2 * o.margin for side in (height, width))
        last = i >= layers - 1  # these two have the image's own size
        features = max(1, round(min(o.channel_base / 2 / cutoff, o.channel_max)))
        half_width = max(stop, rate / 2) - cutoff
        size = (height, width) if last else with_margin
        found.append(
            Band(cutoff, half_width, rate, size, o.image_channels if i == layers else features)
        )
    check_widths(found)
    return found


def geometric(first: float, last: float, layers: int, critical: int) -> Iterator[float]:
    """`first` to `last` by equal factors over `layers - critical` steps, then `last`."""
    for i in range(layers + 1):
        yield first * (last / first) ** min(i / (layers - critical), 1)


def check_order(short: int, options: BandOptions) -> None:
    """Refuses layers and frequencies that do not grow."""
    layers, critical = options.layers, options.critical
    cutoff, stopband = options.first_cutoff, options.first_stopband
    last_stopband = options.last_stopband
    if not 0 < critical < layers:
        raise ConfigError(
            f"StyleGAN3 with {layers} layers cannot sample {critical} of them critically; give at "
            f"least 1 and at most {layers - 1} (the paper: 2 of 14)"
        )
    if not 0 < cutoff < stopband or cutoff > short / 2 or last_stopband < 1:
        raise ConfigError(
            f"StyleGAN3's first cutoff {cutoff:g} has to lie below its first stopband "
            f"{stopband:g} and not above {short / 2:g}, half of the image's shorter side, and the "
            f"last stopband ({last_stopband:g} times the last cutoff) not below its cutoff"
        )


def check_sizes(height: int, width: int, rates: list[int]) -> None:
    """Refuses images that powers of two cannot sample."""
    short = min(height, width)
    if rates[-2:] != [short, short]:
        raise ConfigError(
            f"StyleGAN3's layers sample at powers of two, and the shorter side of {height}x{width} "
            "images is none that its last two layers reach: pack them at 32, 64, 128, 256, 512 or "
            "1024 pixels, or give fewer layers"
        )
    if any(rate * side % short for rate in rates for side in (height, width)):
        raise ConfigError(
            f"StyleGAN3 cannot sample {height}x{width} images {rates[0]} times along their shorter "
            f"side: make the longer side a multiple of {short // math.gcd(short, rates[0])} pixels"
        )


def check_widths(found: list[Band]) -> None:
    for i, band in enumerate(found):
        if band.half_width <= 0:
            raise ConfigError(
                f"StyleGAN3's layer {i} has its cutoff {band.cutoff:.3g} above its stopband: "
                "raise first_stopband, or lower first_cutoff"
            )
