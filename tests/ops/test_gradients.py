"""Every op in float64: first and second derivatives against differences, over random calls."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from largegan import ops
from largegan.ops.bias_act.activations import ACTIVATIONS
from largegan.ops.grid_sample.reference import scatter_in_order
from tests.ops.test_fir import arguments

LAYOUTS = ("contiguous", "channels_last", "sliced", "transposed")


def image(*shape: int, layout: str = "contiguous") -> torch.Tensor:
    """A float64 leaf with other strides than a fresh tensor has."""
    x = torch.randn(shape, dtype=torch.float64)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    elif layout == "sliced":
        x = torch.randn(*shape[:3], 2 * shape[3] + 1, dtype=torch.float64)[..., 1::2]
    elif layout == "transposed":
        x = torch.randn(*shape[:2], shape[3], shape[2], dtype=torch.float64).mT
    elif layout == "expanded":
        x = torch.randn(1, 1, *shape[2:], dtype=torch.float64).expand(shape)
    return x.detach().requires_grad_()


def check(function, *inputs: torch.Tensor) -> None:
    assert gradcheck(function, inputs, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("seed", range(24))
def test_upfirdn2d(seed):
    case = arguments(seed + 100)
    x = image(2, 3, *case.pop("size"), layout=LAYOUTS[seed % 4])
    fx, fy = case.pop("fx"), case.pop("fy")
    check(lambda x: ops.upfirdn2d(x, fx, fy, gain=1.3, **case), x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_filters_of_rows_and_long_filters(layout):
    x = image(1, 2, 7, 5, layout=layout)
    rows = ((1.0, 2.0, -0.5), (0.3, 0.0, 1.0))
    check(lambda x: ops.upfirdn2d(x, rows, up=2, down=3, padding=(2, 1, 0, 3)), x)
    long = tuple(float(k) for k in range(-5, 6))
    check(lambda x: ops.upsample2d(x, long, padding=1), x)
    check(lambda x: ops.downsample2d(x, long, flip=True), x)


@pytest.mark.parametrize("seed", range(24))
def test_convolutions(seed):
    draw = random.Random(seed)
    groups, stride = draw.choice([1, 2]), (draw.randint(1, 3), draw.randint(1, 3))
    k = draw.randint(1, 4), draw.randint(1, 4)
    padding = draw.randint(0, k[0] - 1), draw.randint(0, k[1] - 1)
    x = image(2, 4, draw.randint(4, 8), draw.randint(4, 8), layout=LAYOUTS[seed % 4])
    call = {"stride": stride, "padding": padding, "groups": groups}
    b = torch.randn(6, dtype=torch.float64, requires_grad=True)
    if seed % 2:
        w = image(6, 4 // groups, *k, layout=draw.choice(LAYOUTS))
        torch.testing.assert_close(ops.conv2d(x, w, b, **call), F.conv2d(x, w, b, **call))
        check(lambda x, w, b: ops.conv2d(x, w, b, **call), x, w, b)
    else:
        call["output_padding"] = draw.randint(0, stride[0] - 1), draw.randint(0, stride[1] - 1)
        w = image(4, 6 // groups, *k, layout=draw.choice(LAYOUTS))
        got, want = ops.conv_transpose2d(x, w, b, **call), F.conv_transpose2d(x, w, b, **call)
        torch.testing.assert_close(got, want)
        check(lambda x, w, b: ops.conv_transpose2d(x, w, b, **call), x, w, b)


def plain_resample(x, w, f, up, down, padding, groups, flip_weight):
    """`conv2d_resample` in the order of its description."""
    x = ops.upsample2d(F.pad(x, (0,) * 4), f, up) if up > 1 else x
    x = F.pad(x, [padding] * 4)
    x = F.conv2d(x, w if flip_weight else w.flip(2, 3), groups=groups)
    return ops.downsample2d(x, f, down) if down > 1 else x


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("kernel, groups", [(1, 1), (3, 1), (3, 2), (4, 1)])
def test_conv2d_resample(up, down, kernel, groups):
    """The borders are the usual ones only where the filter sees the zeros that padding adds."""
    x, w = image(1, 4, 9, 6), image(6, 4 // groups, kernel, kernel)
    f, flip = ops.taps((1, 2, 3, 1)), bool(up % 2)
    call = {"up": up, "down": down, "groups": groups, "flip_weight": flip}
    got = ops.conv2d_resample(x, w, f, padding=kernel // 2, **call)
    want = plain_resample(x, w, f, padding=kernel // 2, **call)
    assert got.shape == want.shape
    inner = (..., slice(3, -3), slice(3, -3)) if down == 1 else (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(got[inner], want[inner])
    check(lambda x, w: ops.conv2d_resample(x, w, f, padding=kernel // 2, **call), x, w)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bias_act(act, layout):
    x, b = image(2, 3, 4, 5, layout=layout), torch.randn(3, dtype=torch.float64, requires_grad=True)
    check(lambda x, b: ops.bias_act(x, b, act=act), x, b)
    check(lambda x: ops.bias_act(x, act=act, gain=0.7, clamp=0.5), x)


@pytest.mark.parametrize("alpha, gain", [(0.3, 1.5), (-0.2, 2.0), (0.1, -1.0), (1.5, 1.0)])
def test_bias_act_is_what_it_says(alpha, gain):
    """Along any dimension, and for slopes and gains that turn signs around."""
    x, b = image(2, 3, 4, 5), torch.randn(5, dtype=torch.float64, requires_grad=True)
    want = torch.where(x + b > 0, x + b, alpha * (x + b)) * gain
    got = ops.bias_act(x, b, act="lrelu", alpha=alpha, gain=gain, clamp=0.9, dim=-1)
    torch.testing.assert_close(got, want.clamp(-0.9, 0.9))
    check(lambda x, b: ops.bias_act(x, b, alpha=alpha, gain=gain, clamp=0.9, dim=3), x, b)


@pytest.mark.parametrize("call", [{}, {"up": 2}, {"down": 2}, {"demodulate": False}])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_modulated_conv2d_has_two_forms_of_one_value(call, layout):
    x, w = image(2, 3, 6, 4, layout=layout), image(5, 3, 3, 3)
    s = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    call = {"padding": 1, "f": ops.BINOMIAL, **call}
    forms = [
        ops.modulated_conv2d(x, w, s, form=form, **call) for form in ("activations", "weights")
    ]
    torch.testing.assert_close(*forms)
    check(lambda *a: ops.modulated_conv2d(*a, form="activations", **call), x, w, s)
    check(lambda *a: ops.modulated_conv2d(*a, form="weights", **call), x, w, s)


def test_demodulated_weights_have_norm_one():
    """Normal pixels in, normal pixels out, whatever the styles are."""
    torch.manual_seed(0)
    x, w, s = torch.randn(8, 64, 24, 24), torch.randn(4, 64, 3, 3), torch.rand(8, 64) * 9 + 1
    assert abs(float(ops.modulated_conv2d(x, w, s).std()) - 1) < 0.02


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grid_sample(layout):
    x = image(2, 3, 5, 4, layout=layout)
    grid = torch.rand(2, 6, 7, 2, dtype=torch.float64) * 2.6 - 1.3
    want = F.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(ops.grid_sample(x, grid), want)
    check(lambda x: ops.grid_sample(x, grid), x)
    grid.requires_grad_()
    assert not torch.autograd.grad(ops.grid_sample(x, grid).sum(), grid, allow_unused=True)[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scatter_in_order_is_the_adjoint(dtype):
    torch.manual_seed(0)
    dy, grid = torch.randn(3, 5, 9, 7).to(dtype), torch.rand(3, 9, 7, 2) * 2.6 - 1.3
    x = torch.zeros(3, 5, 6, 11, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(
        F.grid_sample(x, grid.double(), align_corners=False), x, dy.double()
    )
    found = scatter_in_order(dy, grid, 6, 11)
    assert found.dtype == dtype and found.is_contiguous()
    limit = {torch.float64: 1e-6, torch.float32: 1e-6, torch.bfloat16: 3e-3}[dtype]
    assert (found.double() - want).norm() < limit * want.norm()


def test_third_derivatives():
    """A penalty on the gradient of a penalty: each order is made of the same operators."""
    x, w = image(1, 2, 6, 6), image(2, 2, 3, 3)
    b = torch.randn(2, dtype=torch.float64, requires_grad=True)

    def slope(x, w, b):
        y = ops.bias_act(ops.conv2d_resample(x, w, ops.BINOMIAL, up=2, padding=1), b)
        y = ops.downsample2d(y, ops.BINOMIAL).pow(3).sum()
        return torch.autograd.grad(y, x, create_graph=True)[0]

    check(slope, x, w, b)


@pytest.mark.parametrize("which", ["aten", "ours"])
def test_no_convolution_with_an_image_as_its_kernel(which):
    """PyTorch's second derivative does one; should it stop, `largegan::conv` has lost a reason."""
    x, w = (
        torch.randn(2, 3, 16, 16, requires_grad=True),
        torch.randn(4, 3, 3, 3, requires_grad=True),
    )
    function = F.conv2d if which == "aten" else ops.conv2d
    with torch.profiler.profile(record_shapes=True) as profile:
        y = function(x, w, padding=1)
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        torch.autograd.grad(g.square().sum(), w)
    shapes = [
        event.input_shapes[1]
        for event in profile.events()
        if "conv" in event.name
        and len(event.input_shapes) > 1
        and len(event.input_shapes[1]) == 4
        and "backward" not in event.name
        and "weight" not in event.name
    ]
    assert shapes
    assert any(shape[2] > 3 for shape in shapes) == (which == "aten")


def test_gradients_that_nobody_asks_for_are_not_computed():
    """R1 asks for the images' gradient alone: no gradient of weights or biases on the way."""
    x, w = image(1, 2, 6, 6), image(2, 2, 3, 3)
    b = torch.randn(2, dtype=torch.float64, requires_grad=True)
    y = ops.bias_act(ops.conv2d(x, w), b, act="lrelu")
    with torch.profiler.profile() as profile:
        torch.autograd.grad(y, x, torch.ones_like(y))
    names = [event.name for event in profile.events()]
    assert "largegan::conv" in names and "largegan::leaky_slope" in names
    assert "largegan::conv_weight_gradient" not in names and "aten::sum" not in names
