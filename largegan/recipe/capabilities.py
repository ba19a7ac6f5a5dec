"""What recipes and layers may offer: Protocols. Having the methods is declaring it.

Tools ask with `isinstance`.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from largegan.recipe.vocabulary import Batch


@runtime_checkable
class HasStyles(Protocol):
    """styles w between latents and images: StyleGAN and its kin."""

    def ws(self, z: Tensor, labels: Tensor | None, truncation: float = 1.0) -> Tensor:
        """`[n, num_ws, w_dim]` for latents `[n, z_dim]`; truncation 1: none, 0: the mean w."""

    def synthesize(self, ws: Tensor) -> Tensor:
        """Images in [-1, 1] for styles, with averaged weights."""


@runtime_checkable
class TruncatesStyles(Protocol):
    """truncation behind its latents: w is pulled to its mean."""

    def decode_truncated(self, z: Tensor, labels: Tensor | None, amount: float | Tensor) -> Tensor:
        """As `Recipe.decode`, less varied the closer `amount` is to 0; 1: no truncation."""


@runtime_checkable
class MovesInput(Protocol):
    """input that can be moved: StyleGAN3."""

    def ws(self, z: Tensor, labels: Tensor | None, truncation: float = 1.0) -> Tensor:
        """As `HasStyles` has it."""

    def synthesize_moved(self, ws: Tensor, transform: Tensor) -> Tensor:
        """Images for styles, not clamped, the input moved by `transform` `[3, 3]` or `[n, 3, 3]`.

        It maps places of the result, (x right, y down, 1) in units of the shorter side and 0 in
        the middle, to those they are read from: to move the picture by t, shift by -t.
        """


@runtime_checkable
class EmbedsClasses(Protocol):
    """class embeddings that can be interpolated: BigGAN."""

    def embed(self, labels: Tensor) -> Tensor:
        """`[n, embedding]` for labels int64 `[n]`."""

    def decode_embedded(self, z: Tensor, embedded: Tensor) -> Tensor:
        """As `Recipe.decode`, for embeddings instead of labels."""


@runtime_checkable
class HasEncoder(Protocol):
    """encoder: from images back to latents."""

    def encode(self, images: Tensor) -> Tensor:
        """`[n, z_dim]` for images `[n, channels, H, W]` in [-1, 1]; `decode` shows them again."""


@runtime_checkable
class HasPyramid(Protocol):
    """pyramid: images that grow level by level."""

    def pyramid(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The images of every level in [-1, 1], the coarsest first; the last are `decode`'s."""


@runtime_checkable
class MakesSources(Protocol):
    """sources of its own: it makes what it translates out of the images it trains on."""

    def sources(self, batch: Batch) -> Tensor:
        """`[N, C, h, w]` in [-1, 1] that `translate` would turn into `batch["image"]`."""


# What a network that translates may say of itself, where it is not as most are.


@runtime_checkable
class TakesImages(Protocol):
    """a network that says how many colors it takes."""

    image_channels: int


@runtime_checkable
class WorksInCells(Protocol):
    """a network that pads its input to whole cells of `multiple` pixels; others: 1."""

    multiple: int


@runtime_checkable
class SeesSoFar(Protocol):
    """a network of which an output pixel sees no more than `halo` pixels to each side."""

    halo: int


@runtime_checkable
class Enlarges(Protocol):
    """a network whose output has `scale` times the size of its input; others: 1."""

    scale: int


class Geometry(NamedTuple):
    """How pixels of a network's output and of its input belong together."""

    multiple: int  # pixels in a cell: see `WorksInCells`
    halo: int | None  # see `SeesSoFar`; None: nobody knows
    scale: int  # see `Enlarges`


def geometry_of(net: nn.Module) -> Geometry:
    """What a network that translates says of itself."""
    return Geometry(
        net.multiple if isinstance(net, WorksInCells) else 1,
        net.halo if isinstance(net, SeesSoFar) else None,
        net.scale if isinstance(net, Enlarges) else 1,
    )


# What layers may ask for. `Recipe` finds them; a layer knows nothing of trainers and ranks.


@runtime_checkable
class CountsMicroBatches(Protocol):
    """a layer with state per forward: see `Recipe.set_accumulating`."""

    accumulating: bool


@runtime_checkable
class SumsOverBatch(Protocol):
    """a layer that follows the batch, however it is split over micro-batches and ranks.

    While losses are computed it adds to `pending`, a buffer that no checkpoint needs; the engine
    sums it over ranks, and after a good step `absorb_pending` uses it up. (`pending` is no member
    of this protocol: from Python 3.12 on `isinstance` does not find what `nn.Module` registers.)
    """

    def absorb_pending(self) -> None: ...


@runtime_checkable
class FollowsWeights(Protocol):
    """a layer that holds a moving average of other weights: `ema.Ema`.

    An engine that cuts weights over ranks cuts such averages of them, too.
    """

    follows: tuple[nn.Module, ...]  # one network, which is no part of this layer


@runtime_checkable
class NormalizesSpectrally(Protocol):
    """a layer that divides its weight by its largest singular value: `layers.spectral_norm`.

    Its buffer `sigma` `[values]` is what the last training forward divided by. (It is no member of
    this protocol, for the reason that `SumsOverBatch` gives.)
    """

    def normalized_weight(self) -> Tensor: ...


@runtime_checkable
class SeesOneImage(Protocol):
    """a layer that, with `own_statistics`, normalizes each image by itself when not training."""

    own_statistics: bool


@runtime_checkable
class HasEntrances(Protocol):
    """a network that losses use by some of its modules, whose names these are, not as a whole."""

    entrances: tuple[str, ...]


@runtime_checkable
class AveragesOverRanks(Protocol):
    """a layer that looks at the images of all ranks: see `Recipe.join_ranks`."""

    mean_over_ranks: Callable[[Tensor], Tensor] | None
    ranks: int


@runtime_checkable
class KeepsBatches(Protocol):
    """a layer that keeps images of whole batches: see `Recipe.set_batch_size`."""

    def set_batch_size(self, batch_size: int) -> None: ...


@runtime_checkable
class WaitsForResults(Protocol):
    """a layer that asks the device for a result to do less, unless `waits` is False."""

    waits: bool


def title_of(protocol: type) -> str:
    """What a Protocol above is about, for a sentence."""
    return (protocol.__doc__ or protocol.__name__).split(":")[0]
