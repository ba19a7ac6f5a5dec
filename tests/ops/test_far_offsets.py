"""Tensors of more than 2^31 elements: the last blocks of a launch, in the emulator.

Memory that nobody touches costs nothing, so that all but the last image is only an address.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from largegan import ops
from largegan.ops.runtime import backend
from tests.ops import emulator
from tests.ops.test_kernels import NHWC, TOLERANCE, assert_near

pytestmark = pytest.mark.skipif(emulator.compiler is None, reason="needs g++")
BF16, F = torch.bfloat16, ops.BINOMIAL
IMAGES = 65537  # the last is block 1's second along z


def image(*shape: int, form=NHWC) -> Tensor:
    """Only the last of the batch is there; strides say the layout."""
    x = torch.empty(shape, dtype=BF16, memory_format=form)
    assert x.numel() >= 2**31
    x[-1].normal_()
    return x


def of_last_image(plan) -> None:
    """Channels_last kernels have images along z; some see all pixels as rows along x."""
    if plan.grid[2] == 1:
        emulator.launch(plan, first=(max(0, plan.grid[0] - 2), 0, 0))
    else:
        emulator.launch(plan, first=(0, 0, 1), end=(*plan.grid[:2], 2))


def both(function, *tensors: Tensor, part=...) -> None:
    """Result and gradient of the last image, or of `part` of it, with kernels and in float64."""
    torch.manual_seed(0)
    x, *others = tensors
    with backend.redirected(of_last_image):
        found = function(x.requires_grad_(), *others)
        dy = torch.empty_like(found)
        dy[-1].normal_()
        (got,) = torch.autograd.grad(found, x, dy)
    last = [t[-1:].detach().double() for t in (x, *others, dy)]
    want = function(last[0].requires_grad_(), *last[1:-1])
    (right,) = torch.autograd.grad(want, last[0], last[-1])
    assert_near(found[-1][part], want[0][part], TOLERANCE[BF16])
    assert_near(got[-1][part], right[0][part], TOLERANCE[BF16])


def styles(x: Tensor) -> Tensor:
    return torch.rand(x.shape[:2]) + 0.5


def test_fir():
    both(lambda x: ops.act_fir(x, F, padding=2, down=2), image(IMAGES, 8, 64, 64))


def test_fir_with_a_result_to_read():
    x = image(IMAGES, 8, 64, 64)
    both(lambda x, s: ops.fir_act(x, F, padding=2, scale=s), x, styles(x))


def test_pointwise():
    rows = np.s_[:, -16:]
    both(ops.bias_act, image(IMAGES, 8, 64, 64), part=rows)
    x = image(IMAGES, 8, 64, 64)
    both(ops.modulate, x, styles(x))


@pytest.mark.slow
def test_norm():
    both(ops.instance_norm_act, image(IMAGES, 8, 64, 64))


def test_one_image():
    """Offsets within it need 64 bits, too."""

    def last_rows(plan) -> None:
        emulator.launch(plan, first=(plan.grid[0] - 20, 0, 0))

    x = torch.empty(1, 8, 16400, 16400, dtype=BF16, memory_format=NHWC)
    x[:, :, -8:, -300:].normal_()
    with backend.redirected(last_rows):
        y = ops.upfirdn2d(x, F)
    want = ops.upfirdn2d(x[:, :, -8:, -300:].double(), F)
    assert_near(y[:, :, -3:, -10:], want[:, :, -3:, -10:], TOLERANCE[BF16])


def test_filtered_lrelu():
    """Planes along x; there are 2^31 pixels between the filters, too."""

    def function(x):
        return ops.filtered_lrelu(x, F, F, up=2, down=2, padding=3)

    x = image(8209, 64, 64, 64, form=torch.contiguous_format)
    both(function, x, part=np.s_[-4:])
