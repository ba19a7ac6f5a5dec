"""The vocabulary: a recipe has players (who learns) and phases (who moves when, on what loss)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn, optim

Batch = dict[str, Tensor]  # one micro-batch; phases of an iteration may leave notes in it
Terms = dict[str, Tensor]  # the loss of a phase is the sum of its terms


@dataclass(frozen=True)
class Progress:
    """How far training has come. Schedules and randomness are functions of this alone.

    `nimg` counts `batch_size` images per iteration, however many phases an iteration has.
    """

    step: int = 0
    nimg: int = 0


@dataclass(frozen=True)
class DataSpec:
    """What one training example looks like; a recipe builds its networks for it.

    Images arrive as float32 `[N, channels, height, width]` in [-1, 1] under `batch["image"]`,
    labels (when `num_classes` > 0) as int64 `[N]` under `batch["label"]`. Data of two domains
    (`channels_b` > 0) hold two images of the same size instead: `batch["image_a"]` with
    `channels` and `batch["image_b"]` with `channels_b`. With `latent_scale` > 0 the data are
    latents of an encoder, times that scale, and have no bounds. With `condition_dim` > 0 a label is
    the number of a vector of so many numbers, of which there are `num_classes`.
    """

    channels: int
    height: int
    width: int
    num_classes: int = 0
    channels_b: int = 0
    latent_scale: float = 0.0
    condition_dim: int = 0


@dataclass(eq=False)
class Player:
    """Networks that are stepped together: one optimizer, one way of being distributed."""

    nets: list[nn.Module]
    make_optimizer: Callable[[Iterator[nn.Parameter]], optim.Optimizer]
    schedule: Callable[[Progress], dict] = lambda at: {}  # param-group values: lr, betas, ...

    def parameters(self) -> Iterator[nn.Parameter]:
        for net in self.nets:
            yield from net.parameters()


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player on one loss."""

    player: str
    loss: Callable[[Batch, Progress], Terms]
    every: int = 1  # lazy regularization: run every N iterations, with N times the loss
    repeat: int = 1  # this many steps in a row
    fresh: bool = True  # draw new data; False keeps the previous phase's batch and its notes
    second_order: bool = False  # differentiates through a gradient: in float32, not compiled
    after: Callable[[], None] | None = None  # e.g. weight clipping
    averages: bool = False  # the loss reads averaged networks; engines may have cut them over ranks
    from_nimg: int = 0  # stages: not before so many images of the run,
    until_nimg: int | None = None  # and not from so many on

    @property
    def name(self) -> str:
        """`player.loss`, e.g. `D.critic`: how logs and errors call this phase."""
        return f"{self.player}.{name_of(self.loss).lstrip('_')}"

    def due(self, at: Progress) -> bool:
        """Whether it runs in the iteration that begins at this progress."""
        ended = self.until_nimg is not None and at.nimg >= self.until_nimg
        return at.step % self.every == 0 and at.nimg >= self.from_nimg and not ended


def name_of(function: Callable) -> str:
    """What a function is called; a partial one as the function in it, an object as its class."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


# How an output of a discriminator is an opinion: sigmoid of it is the probability of "real"; only
# its sign counts (hinge); it is above or below 1/2 (least squares); or only differences count
# (critics, relativistic losses), and the middle between both kinds parts real from fake.
Reading = Literal["probability", "sign", "half", "relative"]


class Scored(NamedTuple):
    """What a discriminator said of a micro-batch; see `Recipe.scored`."""

    real: Tensor
    fake: Tensor
    reading: Reading


class Recipe(nn.Module):
    """One paper: networks, players, phases, losses. All state is registered on the module.

    Subclasses take the `DataSpec` first and their own, typed, keyword-only options after it.
    """

    players: dict[str, Player]
    phases: list[Phase]
    reads: tuple[str, ...] = ("image",)  # what the losses take from a batch of the stream
    run_state: tuple[
        str, ...
    ] = ()  # buffers about a run, not its networks: fine-tuning leaves them
    vectors: bool = False  # whether labels may be vectors; then `conditions` says what they become
    latents: bool = False  # whether it can be trained on latents too
    paired: bool = False  # whether image_a and image_b have to show the same thing
    batch_size: int = 0  # images per optimizer step; the trainer says, rules of thumb ask
    micro_batch: int = 0  # which of the batch's micro-batches a loss is computed on; also told
    num_classes: int = 0  # that the networks know; a recipe may leave the data's classes aside
    directions: tuple[str, ...] = ()  # "a_to_b", "b_to_a", "upscale": what `translate` can do
    drawn_by: tuple[str, ...] = ("G_ema",)  # modules that `decode` needs: what is exported
    begins_from: tuple[str, ...] = ()  # recipes whose networks this one may take over
    targets: Mapping[str, float] = {}  # what `measure` would return for a perfect generator

    def begin_training(self, device: torch.device) -> None:
        """Loads what only training needs and no checkpoint holds: frozen networks of losses.

        The trainer says it before the first step. Raises `EnvironmentFault` when weights are not
        here. On the device "meta", where costs are counted, networks suffice without weights.
        """

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        """EMA, adaptive augmentation: what happens once per iteration, after every phase."""

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` latent vectors `[n, z_dim]` on the generator's device."""
        raise NotImplementedError

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generated examples for latents `[n, z_dim]` and labels int64 `[n]`, with EMA weights.

        Images are float32 `[n, channels, height, width]` in [-1, 1].
        """
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator, *, labels: Tensor | None = None) -> Tensor:
        """`n` generated examples, drawn from `generator`; see `decode`."""
        return self.decode(self.latent(n, generator), labels)

    def translator(self, direction: str) -> nn.Module:
        """The network that translates, averaged and in evaluation mode: images in, images out.

        `scale`, where it has one, is how many times larger its images are than those it takes.
        It takes any size, and each image's result does not depend on the others of its batch.
        `multiple` is the side of its coarsest cell in pixels: a part of an image that starts at a
        multiple of it is computed on the same grid as the whole. `halo` (a multiple of that) is
        how far an output pixel sees to each side through convolutions; instance norm, and batch
        norm with `own_statistics`, see the whole image besides.
        """
        raise NotImplementedError

    @torch.no_grad()
    def translate(self, images: Tensor, *, direction: str | None = None) -> Tensor:
        """Images of one domain as the other would show them, by averaged weights.

        Args:
            images: float32 `[N, channels, H, W]` in [-1, 1], any size.
            direction: one of `directions`; None for the first.

        Returns:
            float32 `[N, channels of the other domain, H, W]` in [-1, 1], each side `scale` times
            as large where the translator has a `scale`.
        """
        return self.translator(direction or self.directions[0])(images)

    def truncate(self, z: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """More typical, less varied latents `[n, z_dim]`: a small `amount` does much, above 0.

        Here they are scaled, which suits normal ones; BigGAN draws values beyond `amount` again. A
        recipe that truncates behind its latents is `TruncatesStyles` instead, and this is not
        called.
        """
        return z * amount

    def measure(self, generator: torch.Generator) -> dict[str, float]:
        """Cheap numbers worth a curve, computed when samples are drawn.

        A name with a slash goes to files and trackers only: there may be hundreds of them.
        """
        return {}

    def watch(self, **values: Tensor) -> None:
        """For losses: scalars that are worth a curve and no part of the loss, such as mean logits.

        Logged like terms: the mean over micro-batches, ranks and the steps since the last line.
        """
        for name, value in values.items():
            self._watched[name] = value.detach()

    def take_watched(self) -> dict[str, Tensor]:
        """What the last loss watched; the trainer asks once per micro-batch."""
        taken = dict(self._watched)
        self._watched.clear()
        return taken

    def scored(
        self, real: Tensor, fake: Tensor, reading: Reading = "probability", *, by: str = "D"
    ) -> None:
        """For losses of discriminators: outputs on real and on generated examples, of any shape.

        Signals of health are made of them. `by` tells several discriminators of a phase apart.
        """
        self._scored[by] = Scored(real.detach(), fake.detach(), reading)

    def take_scored(self) -> list[Scored]:
        """What the last loss said of `scored`; the trainer asks once per micro-batch."""
        taken = list(self._scored.values())
        self._scored.clear()
        return taken

    def picture(self, generator: torch.Generator) -> Tensor | None:
        """What to look at instead of a grid of samples: uint8 `[3, H, W]`. None: the grid."""
        return None

    def set_accumulating(self, accumulating: bool) -> None:
        """Tells layers with state per forward (power iterations) which micro-batch this is.

        The trainer sets it before every micro-batch: False for the first of a phase, True for the
        others, which start again from where the phase began. So what happens per optimizer step
        does not depend on how a batch is split over micro-batches and ranks.
        """
        for module in self._stateful_layers:
            module.accumulating = accumulating  # type: ignore[assignment]  # has that flag

    def join_ranks(self, mean: Callable[[Tensor], Tensor], ranks: int) -> None:
        """Gives layers that look at the images of all ranks a differentiable mean over them.

        The engine calls it once, when there are several ranks. Layers ask for it by being
        `AveragesOverRanks` (`layers.batch_norm`), and know nothing of processes.
        """
        for module in self.modules():
            if isinstance(module, AveragesOverRanks):
                module.mean_over_ranks, module.ranks = mean, ranks

    def set_batch_size(self, batch_size: int) -> None:
        """The trainer says it before the first step; layers that keep images make room for them."""
        self.batch_size = batch_size
        for module in self.modules():
            if module is not self and isinstance(module, KeepsBatches):
                module.set_batch_size(batch_size)

    def absorb_pending(self) -> None:
        """Once per good optimizer step: averages move towards what the phase's batch added up.

        For layers that are `SumsOverBatch`: `layers.running_mean`, adaptive augmentation.
        """
        for module in self._summing_layers:
            module.absorb_pending()  # type: ignore[operator]  # is SumsOverBatch

    @cached_property
    def _watched(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def _scored(self) -> dict[str, Scored]:
        return {}

    @cached_property
    def _stateful_layers(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, CountsMicroBatches)]

    @cached_property
    def _summing_layers(self) -> list[nn.Module]:
        layers = (module for module in self.modules() if module is not self)
        return [module for module in layers if isinstance(module, SumsOverBatch)]


# What recipes may offer besides. Tools ask with `isinstance`; having the methods is declaring it.


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

    def decode_truncated(self, z: Tensor, labels: Tensor | None, amount: float) -> Tensor:
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
class AveragesOverRanks(Protocol):
    """a layer that looks at the images of all ranks: see `Recipe.join_ranks`."""

    mean_over_ranks: Callable[[Tensor], Tensor] | None
    ranks: int


@runtime_checkable
class KeepsBatches(Protocol):
    """a layer that keeps images of whole batches: see `Recipe.set_batch_size`."""

    def set_batch_size(self, batch_size: int) -> None: ...


def title_of(protocol: type) -> str:
    """What a Protocol above is about, for a sentence."""
    return (protocol.__doc__ or protocol.__name__).split(":")[0]


def adam(
    lr: float, beta1: float, beta2: float, *, eps: float = 1e-8, lazy: int | None = None
) -> partial:
    """Adam, corrected for the extra step that a lazy phase adds every `lazy` iterations.

    With n = `lazy`: lr * n/(n+1) and beta^(n/(n+1)) (Karras et al., 2020, appendix B).
    """
    c = 1.0 if lazy is None else lazy / (lazy + 1)
    return partial(Adam, lr=lr * c, betas=(beta1**c, beta2**c), eps=eps)


class Adam(optim.Adam):
    """Adam whose step is one kernel where torch has one: three times as fast on a CPU.

    That kernel walks through memory without looking at layouts: a gradient or an average that lies
    otherwise than its weight would be added to the wrong places, without a word. So they are laid
    out alike before each step; mostly they are. It is given them as rows of numbers: of any other
    layout than torch's first (channels-last, say) it would copy every weight at every step.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        params = list(params)
        fused = all(p.device.type in ("cpu", "cuda") for p in params)
        super().__init__(params, lr=lr, betas=betas, eps=eps, fused=fused)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.grad is not None:
                p.grad = laid_out_as(p, p.grad)
            averages = self.state.get(p, {})
            for name in ("exp_avg", "exp_avg_sq"):
                if name in averages:
                    averages[name] = laid_out_as(p, averages[name])
        return super().step(closure)

    def _init_group(
        self,
        group: dict,
        params: list[Tensor],
        grads: list[Tensor],
        averages: list[Tensor],
        squares: list[Tensor],
        largest: list[Tensor],
        steps: list[Tensor],
    ) -> bool:
        found = super()._init_group(group, params, grads, averages, squares, largest, steps)
        if group["fused"]:
            for tensors in (params, grads, averages, squares):
                tensors[:] = [as_row(t) for t in tensors]
        return found


def as_row(t: Tensor) -> Tensor:
    """All numbers of `t` in the order of memory, as a view; itself where they have gaps."""
    last = sum((size - 1) * step for size, step in zip(t.shape, t.stride(), strict=True))
    return t.as_strided((t.numel(),), (1,)) if last == t.numel() - 1 else t


def laid_out_as(p: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `p`, of the same shape; itself where they lie so."""
    if values.stride() == p.stride():
        return values
    return torch.empty_like(p, dtype=values.dtype).copy_(values)


def cosine_decay(
    base: float,
    final: float,
    nimg: float,
    *,
    total_nimg: float,
    warmup_nimg: float = 0,
    warmup_value: float = 0.0,
    hold_nimg: float = 0,
) -> float:
    """`base`, then along half a cosine to `final`, reached at `total_nimg` images and kept.

    Before that it may rise linearly from `warmup_value` for `warmup_nimg` images, and stay at
    `base` for `hold_nimg`; the cosine has what is left.
    """
    if nimg < warmup_nimg:
        return warmup_value + (base - warmup_value) * nimg / warmup_nimg
    start = warmup_nimg + hold_nimg
    done = (nimg - start) / (total_nimg - start) if nimg < total_nimg else 1.0
    return base + (final - base) * (1 - math.cos(math.pi * max(0.0, done))) / 2


def linear_decay(
    lr: float, at: Progress, *, constant_nimg: int | None, decay_nimg: int
) -> dict[str, float]:
    """A constant learning rate, then linearly to 0 over `decay_nimg` images; None: no decay."""
    if constant_nimg is None:
        return {"lr": lr}
    return {"lr": lr * min(1.0, max(0.0, 1 - (at.nimg - constant_nimg) / decay_nimg))}
