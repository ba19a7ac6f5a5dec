"""The moving average of a phase: the same however the batch is split; skipped steps leave it."""

import pytest
import torch

from largegan.layers.running_mean import RunningMean


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_one_step_however_the_batch_is_split(parts):
    values = torch.arange(24.0).reshape(8, 3)
    layer = RunningMean((3,), beta=0.9)
    layer.mean.fill_(1.0)
    for part in values.chunk(parts):
        layer.add(part)
    layer.absorb_pending()
    torch.testing.assert_close(layer.mean, 0.9 + 0.1 * values.mean(0))


def test_a_phase_that_adds_nothing_leaves_it():
    layer = RunningMean(beta=0.5)
    layer.mean.fill_(3.0)
    layer.absorb_pending()
    assert layer.mean == 3.0


def test_what_was_added_is_used_once():
    layer = RunningMean(beta=0.5)
    layer.add(torch.tensor([2.0, 4.0]))
    layer.absorb_pending()
    layer.absorb_pending()
    assert layer.mean == 1.5


def test_only_the_mean_is_state():
    assert list(RunningMean((2,), beta=0.5).state_dict()) == ["mean"]
