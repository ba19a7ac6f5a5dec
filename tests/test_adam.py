"""Adam in one kernel: the numbers of the loop over weights, whatever the memory layouts."""

import pytest
import torch
from torch import nn

from largegan.recipe import adam

LAYOUTS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}


@pytest.mark.parametrize("averages", LAYOUTS)
@pytest.mark.parametrize("gradients", LAYOUTS)
@pytest.mark.parametrize("weights", LAYOUTS)
def test_layouts_do_not_change_a_step(weights, gradients, averages):
    """Also of averages that a checkpoint brought back in another layout than the weights."""
    torch.manual_seed(0)
    start, slopes = torch.randn(4, 3, 3, 3), torch.randn(3, 4, 3, 3, 3)
    results = []
    for make in (adam(0.1, 0.5, 0.9), lambda p: torch.optim.Adam(p, 0.1, (0.5, 0.9), fused=False)):
        p = nn.Parameter(start.clone(memory_format=LAYOUTS[weights]))
        optimizer = make([p])
        for slope in slopes:
            p.grad = slope.clone(memory_format=LAYOUTS[gradients])
            optimizer.step()
            state = optimizer.state[p]
            state["exp_avg"] = state["exp_avg"].contiguous(memory_format=LAYOUTS[averages])
        results.append(p.detach())
    torch.testing.assert_close(*results, rtol=0, atol=1e-6)


def test_a_device_without_the_kernel_has_the_loop():
    p = nn.Parameter(torch.zeros(2, device="meta"))
    assert not adam(0.1, 0.5, 0.9)([p]).defaults["fused"]
    assert adam(0.1, 0.5, 0.9)([nn.Parameter(torch.zeros(2))]).defaults["fused"]
