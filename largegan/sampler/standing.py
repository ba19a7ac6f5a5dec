"""Standing statistics: batch norm as sampling itself sees it (Brock et al., 2019, section 4)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from largegan.sampler import Sampler
from largegan.sampler.seeds import seeded


def use_standing_statistics(sampler: Sampler, *, batches: int, batch: int, seed: int = 0) -> None:
    """Makes standing statistics of a checkpoint's batch norms, in place.

    Replaces the running averages of training by the mean over `batches` batches of generated
    images, at the sampler's truncation and over its classes evenly. Nets without batch norm, and
    those that do not draw, stay as they are.
    """
    random = seeded(seed)
    with standing_statistics(sampler.recipe):
        for _ in range(batches):
            labels = None
            if sampler.classes:
                picks = torch.randint(len(sampler.classes), (batch,), generator=random)
                labels = torch.tensor(sampler.classes)[picks].to(sampler.device)
            sampler.decode(sampler.latents(batch, random).to(sampler.device), labels)


@contextmanager
def standing_statistics(net: nn.Module) -> Iterator[None]:
    """Within it, forwards measure batch statistics; afterwards their mean is the running average.

    Everything but batch norm stays in its mode. Norms that no forward reached are left alone.
    """
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(m.training, m.momentum, m.num_batches_tracked.clone()) for m in norms]
    for norm in norms:
        norm.num_batches_tracked.zero_()
        norm.momentum = None  # a plain mean, in which the first batch replaces what was there
        norm.train()
    try:
        yield
    finally:
        for norm, (training, momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)
            norm.num_batches_tracked.copy_(count)
