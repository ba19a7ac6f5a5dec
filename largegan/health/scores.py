"""Numbers that a discriminator's outputs give by themselves: pure functions of a micro-batch."""

import torch
from torch import Tensor

from largegan.recipe import Reading, Scored

# What `statistics` returns, in this order; names of `signals.SIGNALS`.
NAMES = (
    "score_real",
    "score_fake",
    "accuracy_real",
    "accuracy_fake",
    "auc",
    "logit_real",
    "logit_fake",
    "logit_spread",
)
PAIRS = 256  # outputs of each kind that are compared in pairs: patches give thousands


def statistics(scored: Scored) -> Tensor:
    """The numbers `NAMES` of one micro-batch, float32 `[8]` on its device."""
    real, fake = scored.real.flatten().float(), scored.fake.flatten().float()
    middle = center(real, fake, scored.reading)
    takes_real, takes_fake = (real > middle).float().mean(), (fake < middle).float().mean()
    scores = takes_real, 1 - takes_fake
    if scored.reading == "probability":
        scores = real.sigmoid().mean(), fake.sigmoid().mean()
    return torch.stack(
        [
            *scores,
            takes_real,
            takes_fake,
            auc(real, fake),
            real.mean(),
            fake.mean(),
            torch.cat([real, fake]).std(unbiased=False),
        ]
    )


def center(real: Tensor, fake: Tensor, reading: Reading) -> Tensor | float:
    """The output that parts "real" from "fake"."""
    if reading == "relative":
        return (real.mean() + fake.mean()) / 2
    return 0.5 if reading == "half" else 0.0


def auc(real: Tensor, fake: Tensor) -> Tensor:
    """The share of pairs in which the real example has the larger output; equal ones count half.

    The area under the ROC curve, whatever loss D learns by. Of many outputs, evenly spread ones.
    """
    real, fake = some(real), some(fake)
    return ((real[:, None] - fake).sign().mean() + 1) / 2


def some(values: Tensor) -> Tensor:
    """At most `PAIRS` of them."""
    return values[:: -(-len(values) // PAIRS)]
