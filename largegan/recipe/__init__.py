"""A recipe: one paper, in the words of `vocabulary` (players, phases, losses)."""

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from largegan.recipe.capabilities import (
    AveragesOverRanks,
    CountsMicroBatches,
    EmbedsClasses,
    FollowsWeights,
    HasEncoder,
    HasEntrances,
    HasPyramid,
    HasStyles,
    KeepsBatches,
    MakesSources,
    MovesInput,
    NormalizesSpectrally,
    SeesOneImage,
    SumsOverBatch,
    TakesImages,
    TruncatesStyles,
    WaitsForResults,
    geometry_of,
    title_of,
)
from largegan.recipe.optimizers import (
    Adam,
    adam,
    as_row,
    cosine_decay,
    laid_out_as,
    linear_decay,
)
from largegan.recipe.vocabulary import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Reading,
    Said,
    Scored,
    StepReport,
    Terms,
    by_averages_alone,
    name_of,
    reads_averages_alone,
)

__all__ = [
    "Adam",
    "AveragesOverRanks",
    "Batch",
    "CountsMicroBatches",
    "DataSpec",
    "EmbedsClasses",
    "FollowsWeights",
    "HasEncoder",
    "HasEntrances",
    "HasPyramid",
    "HasStyles",
    "KeepsBatches",
    "MakesSources",
    "MovesInput",
    "NormalizesSpectrally",
    "Phase",
    "Player",
    "Progress",
    "Reading",
    "Recipe",
    "Said",
    "Scored",
    "SeesOneImage",
    "StepReport",
    "SumsOverBatch",
    "TakesImages",
    "Terms",
    "TruncatesStyles",
    "WaitsForResults",
    "adam",
    "as_row",
    "by_averages_alone",
    "cosine_decay",
    "geometry_of",
    "laid_out_as",
    "linear_decay",
    "name_of",
    "reads_averages_alone",
    "title_of",
]


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

    @by_averages_alone
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

    def said(self) -> Said:
        """All that the last loss watched and scored; it stays where `take_...` find it."""
        return Said(dict(self._watched), dict(self._scored))

    def say(self, said: Said) -> None:
        """As if a loss had said it."""
        self._watched.update(said.watched)
        self._scored.update(said.scored)

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

    def pending(self) -> list[Tensor]:
        """What layers added up over this rank's part of the batch; the engine sums it in place.

        Of layers that are `SumsOverBatch`: `layers.running_mean`, adaptive augmentation.
        """
        return [module.pending for module in self._summing_layers]  # type: ignore[misc]

    def absorb_pending(self) -> None:
        """Once per good optimizer step: averages move towards what is `pending`."""
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
