"""A moving average of something about the batch, however the batch is split."""

import torch
from torch import Tensor, nn


class RunningMean(nn.Module):
    """An exponential moving average that takes one step per optimizer step.

    `add` what each micro-batch saw; when the phase is over, `absorb_pending` moves `mean` by
    1 - `beta` towards the mean of everything that was added, over all micro-batches and ranks
    (`recipe.SumsOverBatch`: the engine sums `pending` before). After a step that was skipped, and
    after a phase that added nothing, `mean` stays as it is.
    """

    def __init__(self, shape: tuple[int, ...] = (), *, beta: float):
        super().__init__()
        self.beta = beta
        self.register_buffer("mean", torch.zeros(shape))
        # The sum of all examples, and how many: empty between phases, so no checkpoint needs it.
        self.register_buffer("pending", torch.zeros(self.mean.numel() + 1), persistent=False)

    @torch.no_grad()
    def add(self, values: Tensor) -> None:
        """`[N, *shape]`: one value an example."""
        total = values.float().sum(0).flatten()
        self.pending += torch.cat([total, total.new_full((1,), len(values))])

    @torch.no_grad()
    def absorb_pending(self) -> None:
        count = self.pending[-1]
        seen = (self.pending[:-1] / count.clamp(min=1)).view_as(self.mean)
        self.mean.copy_(torch.where(count > 0, torch.lerp(seen, self.mean, self.beta), self.mean))
        self.pending.zero_()


class RunningClassMeans(nn.Module):
    """A `RunningMean` of vectors for each class; classes that a step did not see keep theirs."""

    def __init__(self, classes: int, features: int, *, beta: float):
        super().__init__()
        self.beta = beta
        self.register_buffer("mean", torch.zeros(classes, features))
        self.register_buffer("pending", torch.zeros(classes, features + 1), persistent=False)

    @torch.no_grad()
    def add(self, values: Tensor, classes: Tensor) -> None:
        """`[N, features]` and int64 `[N]`: one vector an example, and its class."""
        counted = torch.cat([values, values.new_ones(len(values), 1)], dim=1)
        self.pending.index_add_(0, classes, counted.to(self.pending))

    @torch.no_grad()
    def absorb_pending(self) -> None:
        count = self.pending[:, -1:]
        seen = self.pending[:, :-1] / count.clamp(min=1)
        self.mean.copy_(torch.where(count > 0, torch.lerp(seen, self.mean, self.beta), self.mean))
        self.pending.zero_()
