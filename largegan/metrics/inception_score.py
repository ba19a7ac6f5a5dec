"""Inception score: how sure a classifier is of each image, and how many classes there are in all.

Salimans et al., "Improved Techniques for Training GANs", 2016. An old score that never looks at
real images; kept because papers print it.
"""

import torch
from torch import Tensor

from largegan.errors import DataError
from largegan.metrics.side import Settings, Side


def inception_score(logits: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) of exp(E KL(p(y|x) || p(y))) over consecutive splits.

    `logits`: `[n, classes]` in the order the images were generated; n is at least `splits`. The
    deviation divides by the number of splits, as in published code.
    """
    if len(logits) < splits:
        raise DataError(
            f"an inception score over {splits} splits needs at least as many images, and there "
            f"are {len(logits)}"
        )
    log_p = logits.double().log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * len(log_p) // splits : (i + 1) * len(log_p) // splits]
        marginal = part.exp().mean(0).log()
        scores.append((part.exp() * (part - marginal)).sum(1).mean().exp())
    values = torch.stack(scores)
    return float(values.mean()), float(values.std(correction=0))


def is_(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """The row `is`: mean and deviation over splits of the generated images."""
    mean, deviation = inception_score(generated.logits)
    return {"is": mean, "is_deviation": deviation}
