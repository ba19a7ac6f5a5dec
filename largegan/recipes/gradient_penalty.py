"""Gradient penalties of recipes, by second derivatives or without."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from largegan import losses
from largegan.augment.draws import SameDraws
from largegan.layers.precision import exact

Penalty = Literal["exact", "finite_difference"]
Critic = Callable[[Tensor], Tensor]  # images -> scores [N]; may augment


@dataclass(frozen=True, kw_only=True)
class GradientPenaltyOptions:
    """Options of every recipe with a gradient penalty."""

    penalty: Penalty = "exact"
    """How the gradient penalty is found: by second derivatives, or from one difference along a
    random direction of every image. That is another regularizer, noisier and blind to kinks, but
    of first order: it compiles, and zero3 and fsdp2 need not gather all weights for it."""

    @property
    def second_order(self) -> bool:
        """Whether a phase with the penalty differentiates through a gradient."""
        return self.penalty == "exact"


def zero_centered(critic: Critic, images: Tensor, penalty: Penalty) -> tuple[Tensor, Tensor]:
    """Scores `[N]` of images and 1/2 E |grad|^2 of the critic there: R1 on reals, R2 on fakes.

    In float32: a difference of scores of sixteen bits would be noise.
    """
    images = images.detach()
    with exact(images):
        if penalty == "exact":
            scores = critic(images.requires_grad_())
            return scores, losses.r1(scores, images)
        critic = SameDraws(critic, images.device)
        scores = critic(images)
        return scores, losses.finite_difference_gp(critic, scores, images)


def two_sided(critic: Critic, real: Tensor, fake: Tensor, penalty: Penalty) -> Tensor:
    """E (|grad| - 1)^2 between reals and fakes, in float32; WGAN-GP's."""
    with exact(real):
        if penalty == "exact":
            return losses.gradient_penalty(critic, real, fake)
        return losses.finite_difference_two_sided_gp(critic, real, fake)
