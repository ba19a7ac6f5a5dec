"""The ops on a CUDA device: values and second derivatives of the CPU in float64, and opcheck."""

import pytest
import torch
from torch.library import opcheck

from largegan import ops
from largegan.augment import augment
from tests.augment.test_ada import QUANTILES
from tests.ops.test_registered import CALLS

pytestmark = pytest.mark.gpu
F = ops.BINOMIAL
FUNCTIONS = {
    "upsample2d": lambda x, w, s: ops.upsample2d(x, F),
    "downsample2d": lambda x, w, s: ops.downsample2d(x, F),
    "bias_act": lambda x, w, s: ops.bias_act(x, s[0], clamp=2.0),
    "conv2d_resample": lambda x, w, s: ops.conv2d_resample(x, w, F, down=2, padding=1),
    "modulated": lambda x, w, s: ops.modulated_conv2d(x, w, s, up=2, padding=1, f=F),
    "weights": lambda x, w, s: ops.modulated_conv2d(x, w, s, padding=1, form="weights"),
    "ada": lambda x, w, s: augment(x[:, :3], 1.0, QUANTILES, quantile=0.6),
}


def penalty(function, leaves):
    """A value and its gradients, through a gradient."""
    x = leaves[0]
    y = function(*leaves)
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    loss = g.square().sum() + y.sum()
    return loss, torch.autograd.grad(loss, leaves, allow_unused=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_device_computes_what_the_cpu_does(name, layout, device="cuda"):
    torch.manual_seed(0)
    leaves = [torch.randn(4, 8, 16, 12), torch.randn(6, 8, 3, 3), torch.randn(4, 8)]
    exact = penalty(FUNCTIONS[name], [t.double().requires_grad_() for t in leaves])
    leaves[0] = leaves[0].to(memory_format=layout)
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = penalty(FUNCTIONS[name], [t.to(device).requires_grad_() for t in leaves])
    for got, want in zip([found[0], *found[1]], [exact[0], *exact[1]], strict=True):
        if want is not None:
            error = (got.detach().cpu().double() - want.detach()).norm() / want.detach().norm()
            assert error < 1e-4


@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name):
    torch.manual_seed(0)
    with torch.device("cuda"):
        x = torch.randn(2, 4, 6, 5, dtype=torch.float64).requires_grad_()
        operator, arguments = CALLS[name](x)
        opcheck(operator, [a.cuda() if isinstance(a, torch.Tensor) else a for a in arguments])
