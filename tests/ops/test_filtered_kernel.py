"""`filtered_lrelu.cu` in the emulator, against matrices in float64, to the second derivative.

Memory is NaN until somebody writes it; sizes are odd, less than a warp's columns, or more than a
tile.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from largegan import ops
from largegan.ops.bias_act.leaky import Leaky
from largegan.ops.filtered_lrelu import operators as filtered
from largegan.ops.filtered_lrelu import plan as filtered_plan
from largegan.ops.filtered_lrelu.constants import Sandwich
from largegan.ops.fir.filter import resampling
from largegan.ops.runtime import backend
from tests.ops import bands, emulator
from tests.ops.test_filtered import compare, golden
from tests.ops.test_kernels import (
    NCHW,
    NHWC,
    PENALTY_TOLERANCE,
    TOLERANCE,
    Launches,
    assert_near,
    double,
    image,
)  # fmt: skip

pytestmark = pytest.mark.skipif(emulator.compiler is None, reason="needs g++")


class Layer(NamedTuple):
    """The arguments of `filtered_lrelu`, numbers of taps in the place of taps."""

    up_taps: int
    down_taps: int
    up: int
    down: int
    padding: tuple[int, int, int, int]
    dtype: torch.dtype = torch.float32
    form: torch.memory_format = NCHW
    channels: int = 3
    clamp: float | None = 1.0
    flip: bool = False

    def call(self) -> dict:
        """Filters that nothing is symmetric in."""
        draw = torch.Generator().manual_seed(self.up_taps + 100 * self.down_taps)
        fu, fd = (
            tuple((torch.randn(k, generator=draw) / k**0.5).tolist())
            for k in (self.up_taps, self.down_taps)
        )
        call = {"up": self.up, "down": self.down, "padding": self.padding, "flip": self.flip}
        return {"fu": fu, "fd": fd, "gain": 1.3, "slope": 0.3, "clamp": self.clamp} | call


LAYERS = {
    "stylegan3": Layer(12, 12, 2, 2, (10, 11, 9, 12), torch.bfloat16),
    "four times": Layer(24, 12, 4, 2, (21, 23, 20, 22), torch.float16, flip=True),
    "uneven": Layer(5, 3, 2, 1, (-1, 4, 3, 2), form=NHWC, channels=4, clamp=None),
    "shrinks": Layer(2, 7, 1, 4, (11, 12, 14, 13)),
    "gaps": Layer(3, 2, 4, 4, (5, -2, -1, 2), torch.bfloat16),
    "long": Layer(15, 16, 2, 2, (-3, 25, 28, -2), flip=True),
}
SIZES = ((7, 5), (9, 12), (40, 70))


def slow_but(*names: str) -> list:
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in LAYERS]


@pytest.fixture
def launches():
    launches = Launches()
    torch.set_deterministic_debug_mode("warn")  # fills empty memory with NaN
    torch.manual_seed(0)
    with backend.redirected(lambda plan: launches(plan, None)):
        yield launches
    torch.set_deterministic_debug_mode("default")


def matrices(x: Tensor, b: Tensor, call: dict) -> Tensor:
    """In float64, by an independent implementation of the filters."""
    one, flip = (1, 1), call["flip"]
    up, down = (call["up"],) * 2, (call["down"],) * 2
    z = bands.upfirdn2d(
        x + b[:, None, None], call["fu"], call["fu"], up=up, down=one,
        padding=call["padding"], flip=flip, gain=call["up"] ** 2,
    )  # fmt: skip
    y = torch.where(z > 0, z, call["slope"] * z) * call["gain"]
    y = y if call["clamp"] is None else y.clamp(-call["clamp"], call["clamp"])
    still = {"up": one, "padding": (0,) * 4, "flip": flip, "gain": 1.0}
    return bands.upfirdn2d(y, call["fd"], call["fd"], down=down, **still)


def leaves_of(layer: Layer, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    x = image(2, layer.channels, *size, dtype=layer.dtype, form=layer.form)
    return x, (0.3 * torch.randn(layer.channels)).requires_grad_()


@pytest.mark.parametrize("name", slow_but("stylegan3", "four times", "uneven"))
def test_forward_and_backward(name, launches):
    layer = LAYERS[name]
    call, limit = layer.call(), TOLERANCE[layer.dtype]
    for size in SIZES:
        x, b = leaves_of(layer, size)
        exact = double(x), double(b)
        found, want = ops.filtered_lrelu(x, b=b, **call), matrices(*exact, call)
        assert found.is_contiguous(memory_format=layer.form)
        assert_near(found, want, limit)
        with torch.no_grad():
            assert torch.equal(found, ops.filtered_lrelu(x, b=b, **call))
        dy = torch.randn_like(want).to(layer.dtype)
        got = torch.autograd.grad(found, (x, b), dy)
        right = torch.autograd.grad(want, exact, dy.double())
        for g, r in zip(got, right, strict=True):
            assert_near(g, r, 3 * limit)
    macros = [(m["ACT"], m["KEEP"]) for m in launches.macros("filtered_lrelu.cu")]
    assert macros == [(1, 1), (1, 0), (0, 0)] * len(SIZES)


@pytest.mark.parametrize("name", slow_but("stylegan3", "uneven"))
def test_differentiated_twice(name, launches):
    """A penalty on the gradient, as R1 is, and a third order: x's part in the penalty is a sum."""
    layer = LAYERS[name]._replace(dtype=torch.float32)

    def penalty(function, x, b):
        y = function(x, b)
        (g,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        loss = g.square().sum() + y.square().sum()
        return torch.autograd.grad(loss, (x, b))

    for size in SIZES[:2]:
        x, b = leaves_of(layer, size)
        call = layer.call()
        found = penalty(lambda x, b, call=call: ops.filtered_lrelu(x, b=b, **call), x, b)
        want = penalty(lambda x, b, call=call: matrices(x, b, call), double(x), double(b))
        for g, r in zip(found, want, strict=True):
            assert_near(g, r, PENALTY_TOLERANCE)
    assert {m["ACT"] for m in launches.macros("filtered_lrelu.cu")} == {0, 1}


def test_bits_are_those_of_the_activation(launches):
    """Also of rows and columns that no result reads, and of the rows that the last byte lacks."""
    first = resampling((0.5, 1.0, -1.0), up=2, padding=(2, 4, 2, 3))
    second = resampling((1.0, 0.7), down=4)
    s = Sandwich(first, second, Leaky(0.2, 1.3, 1.0))
    for size in ((9, 10), (36, 71)):
        x, b = torch.randn(2, 3, *size), torch.randn(3)
        (h, w), _ = s.sizes(size)
        bits = filtered.between_filters(x, b, True, *s.arguments())[1]
        exact = filtered.between_filters(x.double(), b.double(), True, *s.arguments())[1]
        assert bits.shape == (2, 3, -(-h // 4), w) and h % 4 and torch.equal(bits, exact)
        flags = filtered._unpacked(exact, h) & 3
        assert set(flags.unique().tolist()) == {0, 1, 2, 3}
    assert len(launches) == 2


def test_padding_between_the_filters_is_zeros(launches):
    """Whatever the first filter has there; no public call pads there but backwards."""
    taps, x = (0.5, 1.0, -1.0, 0.7), image(2, 3, 9, 12)
    first = resampling(taps, up=2, padding=(0, 1, 1, 0))
    s = Sandwich(first, resampling(taps, padding=(3, 2, 1, 6), down=2), Leaky(0.2, 1.3, 1.0))
    h, w = s.sizes((9, 12))[0]
    bits = filtered._packed(torch.randint(0, 3, (2, 3, h, w), dtype=torch.uint8))
    found = filtered.slopes_between(x, bits, *s.arguments())
    assert_near(found, filtered.slopes_between(x.double(), bits, *s.arguments()), 2e-6)
    assert len(launches) == 1


def test_nan_stays_where_the_filters_carry_it(launches):
    layer = LAYERS["uneven"]
    x, b = leaves_of(layer, (24, 30))
    with torch.no_grad():
        x[0, 0, 5, 7] = torch.nan
        found = ops.filtered_lrelu(x, b=b, **layer.call())
        want = ops.filtered_lrelu(x.double(), b=b.double(), **layer.call())
    assert 0 < found.isnan().sum() < 100 and torch.equal(found.isnan(), want.isnan())


def test_it_is_the_published_one(launches):
    """One call of the golden case has a filter of rows, which the other ops' kernels filter."""
    compare(golden())
    sources = [plan.source for plan in launches]
    assert sources.count("filtered_lrelu.cu") == 4 and sources.count("fir.cu") == 2


@pytest.mark.parametrize("down", [1, 2, 4])
def test_tiles_are_as_wide_as_a_warp(down):
    for skip in range(4):
        for taps in range(1, 8 * down + 1):
            width, more = filtered_plan.widest(skip, taps, down), 4 // down
            columns = skip + (width - 1) * down + max(taps, down)
            assert width % more == 0 and columns <= 128 < columns + more * down


def test_what_has_no_kernel_is_computed_all_the_same(launches, monkeypatch):
    """Rows of taps, other factors, an empty batch; and a launch that fails."""
    x, rows = image(2, 3, 9, 7), ((0.2, 0.5), (0.1, 0.3))
    for call in (
        {"fu": (1.0, 2.0), "fd": rows, "up": 2, "padding": 1},
        {"fu": (1.0, 2.0, 1.0), "fd": (1.0, 0.5), "up": 3, "down": 2, "padding": 2},
        {"fu": (0.1,) * 9, "fd": None, "padding": 8},
    ):
        found = ops.filtered_lrelu(x, **call)
        assert_near(found, ops.filtered_lrelu(x.double(), **call), 1e-5)
    assert ops.filtered_lrelu(x[:0], (1.0, 1.0), None, up=2, padding=1).shape == (0, 3, 19, 15)
    assert "filtered_lrelu.cu" not in {plan.source for plan in launches}
    monkeypatch.setattr(backend, "launch", lambda plan, device: False)
    (x, b), call = leaves_of(LAYERS["uneven"], (9, 12)), LAYERS["uneven"].call()
    exact = double(x), double(b)
    found, want = ops.filtered_lrelu(x, b=b, **call), matrices(*exact, call)
    got = torch.autograd.grad(found.square().sum(), (x, b))
    right = torch.autograd.grad(want.square().sum(), exact)
    for g, r in zip((found, *got), (want, *right), strict=True):
        assert_near(g, r, 1e-5)
