"""The kernels' own text on a CPU, under a small emulator, against PyTorch's operations in float64.

Public functions are called as on a GPU, with memory that is NaN until somebody writes it. The
sizes are odd, one row or one column of pixels, or more than a block.
"""

import random
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from largegan import ops
from largegan.ops.fir import plan as fir_plan
from largegan.ops.fir.filter import Filter, resampling
from largegan.ops.runtime import backend
from tests.ops import bands, emulator

pytestmark = pytest.mark.skipif(emulator.compiler is None, reason="needs g++")
SIZES = ((1, 3), (7, 5), (9, 12))
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
PENALTY_TOLERANCE = 1e-5
NHWC, NCHW = torch.channels_last, torch.contiguous_format
BINOMIAL = ops.BINOMIAL


class Launches(list):
    """Plans that were launched; kernels found wanting are an error."""

    def __call__(self, plan, device) -> bool:
        self.append(plan)
        return emulator.launch(plan)

    def macros(self, source: str = "fir.cu") -> list[dict[str, int]]:
        plans = [plan for plan in self if plan.source == source]
        return [{name: int(value) for name, value in plan.defines} for plan in plans]


@pytest.fixture
def launches(monkeypatch):
    """The ops take their kernels; all but float64 does."""
    launches = Launches()
    monkeypatch.setattr(backend, "usable", lambda x: x.dtype in TOLERANCE and x.numel() > 0)
    monkeypatch.setattr(backend, "launch", launches)
    torch.set_deterministic_debug_mode("warn")  # fills empty memory with NaN
    torch.manual_seed(0)
    yield launches
    torch.set_deterministic_debug_mode("default")


def image(*shape: int, dtype=torch.float32, form=NHWC) -> Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=form).requires_grad_()


def assert_near(found: Tensor, want: Tensor, tolerance: float) -> None:
    """In the norm; NaN and infinity are not near anything."""
    assert found.shape == want.shape
    error, size = (found.detach().double() - want.detach()).norm(), want.detach().norm()
    assert error <= tolerance * size, float(error / size)


def double(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.detach().double().requires_grad_(t.requires_grad)


class Leaky(NamedTuple):
    """In float64, and clamped exactly where the result in `dtype` says so."""

    dtype: torch.dtype
    alpha: float
    gain: float
    clamp: float

    def __call__(self, z: Tensor) -> Tensor:
        y = torch.where(z > 0, z, self.alpha * z) * self.gain
        edge = torch.tensor(self.clamp).to(self.dtype)
        return torch.where(
            y.detach().to(self.dtype).abs() >= edge, y.detach().sign() * self.clamp, y
        )


class Resampling(NamedTuple):
    """The arguments of `upfirdn2d` and a layout."""

    fx: tuple
    fy: tuple
    up: tuple[int, int]
    down: tuple[int, int]
    padding: tuple[int, int, int, int]
    dtype: torch.dtype = torch.float32
    form: torch.memory_format = NHWC
    channels: int = 8


LONG = tuple(random.Random(0).gauss(0, 1) for _ in range(13))
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
RESAMPLINGS = {
    "up": Resampling(BINOMIAL, (1.0, 2.0, -1.0), (2, 2), (1, 1), (2, 1, 1, 2), BF16, channels=16),
    "down": Resampling(BINOMIAL, BINOMIAL, (1, 1), (2, 2), (1, 2, 3, 1), F16, channels=24),
    "mixed": Resampling((1.0, 3.0, 3.0, 1.0, 2.0), (1.0, -1.0), (4, 1), (1, 2), (3, -1, 0, 4)),
    "four down": Resampling((1.0,), (1.0, 2.0), (1, 2), (4, 4), (2, 4, 5, 0), channels=3),
    "long": Resampling(LONG, LONG[:9], (2, 1), (1, 1), (7, 6, -1, 12), form=NCHW, channels=3),
}  # fmt: skip


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_upfirdn2d(name, launches):
    case = RESAMPLINGS[name]
    fx, fy, up, down, padding, dtype, form, channels = case
    for size, flip in zip((*SIZES, (33, 70)), (False, True, True, False), strict=True):
        x = image(2, channels, *size, dtype=dtype, form=form)
        call = {"up": up, "down": down, "padding": padding, "flip": flip, "gain": 0.37}
        found, want = ops.upfirdn2d(x, fx, fy, **call), bands.upfirdn2d(x, fx, fy, **call)
        assert found.is_contiguous(memory_format=form)
        assert_near(found, want, TOLERANCE[dtype])
    assert len(launches) == 4


def test_an_address_that_16_bytes_do_not_divide(launches):
    """It is copied first: the emulator refuses plans that a GPU would."""
    x = torch.randn(2 * 8 * 5 * 7 + 1)[1:].view(2, 5, 7, 8).permute(0, 3, 1, 2).requires_grad_()
    assert x.data_ptr() % 16
    assert_near(ops.filter2d(x, BINOMIAL), ops.filter2d(x.double(), BINOMIAL), 1e-6)
    assert_near(ops.bias_act(x), ops.bias_act(x.double()), 1e-6)
    y = ops.modulate(x, torch.full((2, 8), 2.0))
    assert_near(y, 2 * x.double(), 1e-6)
    y.sum().backward()
    assert len(launches) == 4


def test_taps_in_rows_and_images_far_apart(launches):
    """A filter that does not separate; many blocks; a batch with gaps."""
    rows = ((1.0, 2.0, -0.5), (0.3, 0.0, 1.0))
    x = image(5, 4, 9, 40)
    for part in (x, x[::2], x[:, :, :, 3:]):
        found = ops.upfirdn2d(part, rows, up=2, padding=(2, 1, 0, 3))
        want = ops.upfirdn2d(part.double(), rows, up=2, padding=(2, 1, 0, 3))
        assert_near(found, want, TOLERANCE[torch.float32])
    assert len(launches) == 3


class Layer(NamedTuple):
    """`fir_act` or `act_fir` as one of the networks' layers calls it."""

    name: str
    beside: str  # scale, noise, bias
    call: dict
    dtype: torch.dtype
    form: torch.memory_format = NHWC
    channels: int = 16
    act: str = "lrelu"
    alpha: float = 0.2
    clamp: float = 1.3  # which no type of 16 bits has


BLUR, UP = {"f": BINOMIAL, "padding": 2}, {"f": BINOMIAL, "up": 2, "padding": (2, 1, 2, 1)}
LAYERS = {
    "generator": Layer("fir_act", "snb", BLUR, torch.bfloat16),
    "no filter": Layer("fir_act", "snb", {"f": (1.0,)}, torch.float16),
    "doubled": Layer("fir_act", "nb", UP, torch.float32),
    "planes": Layer("fir_act", "snb", UP, torch.float16, NCHW, channels=3),
    "discriminator": Layer("act_fir", "b", BLUR, torch.bfloat16),
    "halved": Layer("act_fir", "b", {**BLUR, "down": 2}, torch.float32, channels=8),
    "many channels": Layer("act_fir", "b", BLUR, torch.float32, channels=268),
    "colors": Layer("act_fir", "b", BLUR, torch.float32, channels=3, act="relu", alpha=0.0),
}


def leaves_of(layer: Layer, size: tuple[int, int]) -> dict[str, Tensor | None]:
    """x, and what the layer has beside it for a result of this size."""
    x = image(2, layer.channels, *size, dtype=layer.dtype, form=layer.form)
    leaves, f = {"x": x}, {k: v for k, v in layer.call.items() if k != "f"}
    h, w = ops.upfirdn2d(x.detach().double(), layer.call["f"], **f).shape[2:]
    if "s" in layer.beside:
        leaves["scale"] = (torch.rand(layer.channels, 2) + 0.5).t().requires_grad_()
    if "n" in layer.beside:
        leaves["noise_strength"] = torch.tensor(0.3, requires_grad=True)
        leaves["noise"] = torch.randn((h, w) if h % 2 else (2, 1, h, w))
    if "b" in layer.beside:
        leaves["bias"] = (0.2 * torch.randn(layer.channels)).requires_grad_()
    return leaves


def kernel(layer: Layer, leaves: dict) -> Tensor:
    function = getattr(ops, layer.name)
    act = {"act": layer.act, "clamp": layer.clamp}
    return function(
        leaves["x"], **layer.call, **{k: v for k, v in leaves.items() if k != "x"}, **act
    )


def plain(layer: Layer, leaves: dict) -> Tensor:
    f, resample = layer.call["f"], {k: v for k, v in layer.call.items() if k != "f"}
    # With a scale, or noise too large to tell, the kernel reads slopes from the rounded result;
    # else from what it computes, in float32.
    rounds = "s" in layer.beside
    act = Leaky(layer.dtype if rounds else torch.float32, layer.alpha, 2**0.5, layer.clamp)
    x, bias = leaves["x"], leaves["bias"][:, None, None]
    if layer.name == "act_fir":
        return ops.upfirdn2d(act(x + bias), f, **resample)
    z = ops.upfirdn2d(x, f, **resample)
    z = z * leaves["scale"][:, :, None, None] if "scale" in leaves else z
    z = z + leaves["noise"] * leaves["noise_strength"] if "noise" in leaves else z
    return act(z + bias)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients(name, launches):
    layer = LAYERS[name]
    for size in (*SIZES, (20, 34)):
        leaves = leaves_of(layer, size)
        exact = {key: double(t) for key, t in leaves.items()}
        found, want = kernel(layer, leaves), plain(layer, exact)
        assert_near(found, want, TOLERANCE[layer.dtype])
        assert found.is_contiguous(memory_format=layer.form)
        dy = torch.randn_like(want).to(layer.dtype)
        keys = [key for key, t in leaves.items() if t.requires_grad]
        got = torch.autograd.grad(found, [leaves[key] for key in keys], dy)
        right = torch.autograd.grad(want, [exact[key] for key in keys], dy.double())
        for key, g, r in zip(keys, got, right, strict=True):
            assert g.dtype == leaves[key].dtype
            assert_near(g, r, TOLERANCE[layer.dtype] * (1 if key == "x" else 3))
    assert len(launches) == 8  # one forward, one backward each


@pytest.mark.parametrize("name", ["doubled", "halved"])
def test_layers_differentiated_twice(name, launches):
    layer = LAYERS[name]
    leaves = leaves_of(layer, (7, 5))

    def penalty(function, leaves):
        y = function(layer, leaves)
        (g,) = torch.autograd.grad(y.pow(3).sum(), leaves["x"], create_graph=True)
        return torch.autograd.grad(
            g.square().sum() + y.square().sum(), [t for t in leaves.values() if t.requires_grad]
        )

    found = penalty(kernel, leaves)
    want = penalty(plain, {key: double(t) for key, t in leaves.items()})
    for g, r in zip(found, want, strict=True):
        assert_near(g, r, PENALTY_TOLERANCE)
    assert {m["BEFORE"] & 16 or m["AFTER"] & 64 for m in launches.macros()} >= {16, 64}


@pytest.mark.parametrize("padding", [(7, 9, 6, 8), (-1, 2, -2, 1), (-2, -1, 0, -1)])
def test_results_that_nothing_reads_count_in_the_sums(padding, launches):
    """Far outside x there is nothing but noise and bias; far inside x there is no result."""
    layer = LAYERS["doubled"]._replace(call={**UP, "padding": padding}, clamp=3.0)
    leaves = leaves_of(layer, (4, 6))
    exact = {key: double(t) for key, t in leaves.items()}
    keys = [key for key, t in leaves.items() if t.requires_grad]
    found, want = kernel(layer, leaves), plain(layer, exact)
    got = torch.autograd.grad(found.square().sum(), [leaves[key] for key in keys])
    right = torch.autograd.grad(want.square().sum(), [exact[key] for key in keys])
    for g, r in zip(got, right, strict=True):
        assert_near(g, r, 2e-6)


POINTWISE = [(torch.bfloat16, NHWC, 24), (torch.float32, NCHW, 3)]


@pytest.mark.parametrize("dtype, form, channels", POINTWISE)
def test_bias_act(dtype, form, channels, launches):
    for n, *size in ((1, 1, 1), (2, 1, 3), (2, 7, 5), (2, 12, 36)):
        x = image(n, channels, *size, dtype=dtype, form=form)
        b = (0.3 * torch.randn(channels)).to(dtype).requires_grad_()
        xe, be = double(x), double(b)
        found, act = ops.bias_act(x, b, clamp=1.3), Leaky(dtype, 0.2, 2**0.5, 1.3)
        want = act(xe + be[:, None, None])
        assert_near(found, want, TOLERANCE[dtype])
        dy = torch.randn_like(want).to(dtype)
        got = torch.autograd.grad(found, (x, b), dy)
        for g, r in zip(got, torch.autograd.grad(want, (xe, be), dy.double()), strict=True):
            assert_near(g, r, TOLERANCE[dtype])
    assert [plan.source for plan in launches] == ["bias_act.cu"] * 8


def test_what_clamping_left_in_memory_has_no_slope():
    """PyTorch's operations, too: 1.3 is 1.296875 in bfloat16."""
    x = torch.linspace(-5, 5, 101).bfloat16().view(1, 1, 1, -1).requires_grad_()
    y = ops.bias_act(x, act="lrelu", alpha=1.0, gain=1.0, clamp=1.3)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slope == 0, x.abs() >= 1.296875) and set(slope.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("form", [NHWC, NCHW])
def test_bits_of_kernels_are_those_of_pytorch(form, launches):
    """Either may read what the other left."""
    x, b = image(2, 8, 7, 5, form=form).detach(), 0.3 * torch.randn(8)
    for name, nothing in (("act_fir", []), ("fir_act", [None] * 3)):
        operator = getattr(torch.ops.largegan, name)
        constants = *resampling(BINOMIAL, padding=2).arguments(), 0.2, 2**0.5, 1.3
        _, bits = operator(x, *nothing, b, *constants)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "usable", lambda x: False)
            _, want = operator(x, *nothing, b, *constants)
        assert len(bits.unique()) > 2 and bits.shape == want.shape and torch.equal(bits, want)
    assert len(launches) == 2


def test_bias_act_of_vectors(launches):
    x, b = torch.randn(37, 20, requires_grad=True), torch.randn(20, requires_grad=True)
    want = ops.bias_act(double(x), double(b), act="relu")
    found = ops.bias_act(x, b, act="relu")
    assert_near(found, want, 1e-6)
    dx, db = torch.autograd.grad(found.square().sum(), (x, b))
    assert_near(dx, 2 * want * (want > 0) * 2**0.5, 1e-6)
    assert_near(db, dx.double().sum(0), 1e-6)
    assert len(launches) == 2


@pytest.mark.parametrize("dtype, form, channels", POINTWISE)
def test_modulate(dtype, form, channels, launches):
    for size in ((1, 3), (7, 5), (12, 36)):
        x = image(3, channels, *size, dtype=dtype, form=form)
        s = torch.randn(channels, 3).t().requires_grad_()
        xe, se = double(x), double(s)
        found, want = ops.modulate(x, s), xe * se[:, :, None, None]
        assert_near(found, want, TOLERANCE[dtype])
        dy = torch.randn_like(want).to(dtype)
        got = torch.autograd.grad(found, (x, s), dy, retain_graph=True)
        right = torch.autograd.grad(want, (xe, se), dy.double(), create_graph=True)
        for g, r in zip(got, right, strict=True):
            assert_near(g, r, TOLERANCE[dtype])
    assert [plan.source for plan in launches] == ["modulate.cu"] * 6


def test_two_launches_give_the_same_bits(launches):
    """Sums over blocks are added in one order."""
    layer = LAYERS["generator"]
    leaves = leaves_of(layer, (20, 34))
    dy = torch.randn(2, 16, 21, 35).to(layer.dtype)
    keys = ("x", "scale", "noise_strength", "bias")
    grads = [
        torch.autograd.grad(kernel(layer, leaves), [leaves[k] for k in keys], dy) for _ in range(2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_what_has_no_kernel_is_computed_all_the_same(monkeypatch):
    """A launch that fails, a factor of three, an empty batch: PyTorch's operations."""
    monkeypatch.setattr(backend, "usable", lambda x: x.dtype in TOLERANCE and x.numel() > 0)
    monkeypatch.setattr(backend, "launch", lambda plan, device: False)
    for name in ("generator", "halved"):
        layer = LAYERS[name]._replace(dtype=torch.float32)
        leaves = leaves_of(layer, (7, 5))
        y = kernel(layer, leaves)
        assert_near(y, plain(layer, {key: double(t) for key, t in leaves.items()}), 1e-5)
        y.sum().backward()
    x = image(2, 8, 7, 5)
    assert_near(ops.upsample2d(x, BINOMIAL, 3), ops.upsample2d(x.double(), BINOMIAL, 3), 1e-6)
    assert ops.upsample2d(x[:0], BINOMIAL).shape == (0, 8, 14, 10)


@pytest.mark.parametrize("seed", range(40))
def test_every_sample_belongs_to_one_strip(seed):
    """Sums and bits would miss it, or have it twice."""
    draw = random.Random(seed)
    u, d, n, pad = (
        draw.choice([1, 2, 4]),
        draw.choice([1, 2, 4]),
        draw.randint(1, 9),
        draw.randint(-5, 9),
    )
    k = draw.randint(1, 6)
    f = Filter((1.0,) * k, (1.0,), (k, 1), (u, 1, d, 1), (pad, 9, 0, 0), False, 1.0)
    outputs = f.output_size(1, n)[1] if n * u + pad + 9 >= k else 1
    s, _ = fir_plan.strip_pixels(f, True)
    first, count = fir_plan.strips(n, outputs, s, d, u, pad, True)
    low = min((j * d + (pad % u - j * d) % u - pad % u) // u for j in range(s))
    owned = [
        i * (s * d // u) - pad // u + low + j
        for i in range(first, first + count)
        for j in range(s * d // u)
    ]
    assert sorted(i for i in owned if 0 <= i < n) == list(range(n))
    assert first <= 0 and (first + count) * s >= outputs
