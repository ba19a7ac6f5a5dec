"""`filtered_lrelu` and the norms on a CUDA device, their kernels against float64 on the CPU."""

import pytest
import torch

from largegan import ops
from largegan.ops.runtime import backend
from tests.ops import test_filtered_kernel, test_kernels, test_norm
from tests.ops.test_filtered_kernel import LAYERS, matrices
from tests.ops.test_kernels import PENALTY_TOLERANCE, TOLERANCE, assert_near, double

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
FORMS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def kernels():
    """An error where one cannot be had."""
    torch.manual_seed(0)
    with backend.using("require"):
        yield


def moved(*leaves: torch.Tensor) -> list[torch.Tensor]:
    return [t.detach().to(DEVICE).requires_grad_() for t in leaves]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_filtered_lrelu(name, form, dtype):
    """Every layer of the CPU's tests, in every type and layout; sizes of one tile and of many."""
    layer = LAYERS[name]._replace(dtype=dtype, form=form)
    for size in ((9, 12), (84, 148)):
        leaves = test_filtered_kernel.leaves_of(layer, size)
        exact, (x, b) = [double(t) for t in leaves], moved(*leaves)
        found, want = ops.filtered_lrelu(x, b=b, **layer.call()), matrices(*exact, layer.call())
        assert_near(found.cpu(), want, TOLERANCE[dtype])
        assert found.is_contiguous(memory_format=form)
        dy = torch.randn(want.shape).to(dtype)
        got = torch.autograd.grad(found, (x, b), dy.to(DEVICE))
        for g, r in zip(got, torch.autograd.grad(want, exact, dy.double()), strict=True):
            assert_near(g.cpu(), r, 3 * TOLERANCE[dtype])


@pytest.mark.parametrize("name", LAYERS)
def test_filtered_lrelu_differentiated_twice(name):
    layer = LAYERS[name]._replace(dtype=torch.float32)
    leaves = test_filtered_kernel.leaves_of(layer, (36, 52))

    def penalty(function, x, b):
        y = function(x, b=b, **layer.call())
        (g,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum() + y.square().sum(), (x, b))

    found = penalty(ops.filtered_lrelu, *moved(*leaves))
    want = penalty(lambda x, b, **call: matrices(x, b, call), *(double(t) for t in leaves))
    for g, r in zip(found, want, strict=True):
        assert_near(g.cpu(), r, PENALTY_TOLERANCE)


def test_more_than_2_to_the_31_elements_and_bits():
    """The last planes of 2^31 pixels, whose offsets need 64 bits, also between the filters."""
    layer = LAYERS["stylegan3"]
    call = layer.call() | {"padding": (11,) * 4}
    x = torch.zeros(8209, 64, 64, 64, dtype=torch.bfloat16, device=DEVICE)
    x[-1].normal_()
    x.requires_grad_()
    found = ops.filtered_lrelu(x, **call)
    zeros = torch.zeros(64, dtype=torch.float64)
    want = matrices(x[-1:].detach().cpu().double(), zeros, call)
    assert_near(found[-1:].cpu(), want, TOLERANCE[torch.bfloat16])
    assert not found[0].any()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", test_norm.CASES)
def test_norms(name, form, dtype):
    """Forward and backward, sizes of the CPU's tests and one of many blocks."""
    for shape in [*test_norm.SHAPES[form], (4, 64, 96, 80)]:
        function, affine = test_norm.case(name, *shape[:2], dtype=torch.float32)
        x, dy = (torch.randn(shape).to(dtype, memory_format=form) for _ in range(2))
        x = (x * 2 + 3).requires_grad_()
        want = test_norm.exact(function, x, affine, dy)
        size = test_norm.uncancelled(name, x.detach(), affine, dy)
        x, *affine = moved(x, *affine)
        found = test_norm.run(function, x, affine, dy.to(DEVICE))
        test_norm.assert_close([t.cpu() for t in found], want, size)


@pytest.mark.parametrize("name", test_norm.CASES)
def test_norms_differentiated_twice(name):
    """The first derivative of a kernel and the second of its formula fit together."""
    function, affine = test_norm.case(name, 4, 8, dtype=torch.float32)
    x = torch.randn(4, 8, 9, 7)

    def penalty(x, *affine):
        y = function(x, *affine, act="lrelu")
        (g,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), [x, *affine])

    exact = [double(t).requires_grad_() for t in (x, *affine)]
    for g, r in zip(penalty(*moved(x, *affine)), penalty(*exact), strict=True):
        test_kernels.assert_near(g.cpu(), r, 1e-4)
