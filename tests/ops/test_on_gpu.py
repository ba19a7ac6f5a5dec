"""The ops on a CUDA device: values and second derivatives of the CPU in float64, and opcheck."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.library import opcheck

from largegan import ops
from largegan.augment import augment
from largegan.nets.stylegan2 import Synthesis, SynthesisOptions
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.ops.runtime import backend
from tests.augment.test_ada import QUANTILES
from tests.ops import test_kernels
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
    "fir_act": lambda x, w, s: ops.fir_act(
        x, F, up=2, padding=2, scale=s + 9, bias=s[0], clamp=30.0
    ),
    "act_fir": lambda x, w, s: ops.act_fir(x, F, down=2, padding=1, bias=s[0], clamp=2.0),
    "modulate": lambda x, w, s: ops.modulate(x, s),
    "filtered_lrelu": lambda x, w, s: ops.filtered_lrelu(
        x, F, F, s[0], up=2, down=2, padding=3, clamp=2.0
    ),
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # with kernels, and without
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name, dtype):
    torch.manual_seed(0)
    with torch.device("cuda"):
        x = torch.randn(2, 4, 6, 5, dtype=dtype).to(memory_format=torch.channels_last)
        x.requires_grad_()
        operator, arguments = CALLS[name](x)
        arguments = [a.cuda() if isinstance(a, torch.Tensor) else a for a in arguments]
        with torch.backends.cudnn.flags(allow_tf32=False):
            opcheck(operator.registered, arguments)


LAYERS = test_kernels.LAYERS


@pytest.fixture
def kernels():
    """An error where one cannot be had."""
    with backend.using("require"):
        yield


def on_device(leaves: dict) -> dict:
    return {key: t.detach().cuda().requires_grad_(t.requires_grad) for key, t in leaves.items()}


@pytest.mark.parametrize("dtype", test_kernels.TOLERANCE)
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_fused_layers(name, form, dtype, kernels):
    """Forward and backward of every layer of the CPU's tests, in every type and layout."""
    layer = LAYERS[name]._replace(dtype=dtype, form=form)
    torch.manual_seed(0)
    for size in ((7, 5), (64, 96)):
        leaves = test_kernels.leaves_of(layer, size)
        exact = {key: test_kernels.double(t) for key, t in leaves.items()}
        leaves = on_device(leaves)
        found, want = test_kernels.kernel(layer, leaves), test_kernels.plain(layer, exact)
        dy = torch.randn_like(want).to(dtype)
        keys = [key for key, t in leaves.items() if t.requires_grad]
        got = torch.autograd.grad(found, [leaves[key] for key in keys], dy.cuda())
        right = torch.autograd.grad(want, [exact[key] for key in keys], dy.double())
        limit = test_kernels.TOLERANCE[dtype]
        test_kernels.assert_near(found.cpu(), want, limit)
        for g, r in zip(got, right, strict=True):
            test_kernels.assert_near(g.cpu(), r, 3 * limit)


def filtered(x, f, *, padding, bias):
    return ops.filtered_lrelu(x, f, f, bias, up=2, down=2, padding=padding - 1)


@pytest.mark.parametrize("function", [ops.fir_act, ops.act_fir, filtered])
def test_second_derivatives_of_kernels(function, kernels):
    """By differences of the kernels' own first derivatives, in float32 and therefore coarsely."""
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 5, device="cuda").to(memory_format=torch.channels_last)
    x, b = x.requires_grad_(), torch.randn(8, device="cuda", requires_grad=True)

    def smooth(x, b):  # far from the kink, where differences would see it
        return function(x, F, padding=1, bias=b + 20).sin()

    inputs, how = (x, b), {"eps": 1e-2, "atol": 2e-2, "rtol": 2e-2, "nondet_tol": 1e-5}
    assert torch.autograd.gradcheck(smooth, inputs, **how, fast_mode=True)
    assert torch.autograd.gradgradcheck(smooth, inputs, **how, fast_mode=True)


@pytest.mark.parametrize("name", ["generator", "halved"])
def test_a_penalty_through_kernels(name, kernels):
    """Double backward as R1 and path length take it, against float64."""
    layer = LAYERS[name]._replace(dtype=torch.float32)
    torch.manual_seed(0)
    leaves = test_kernels.leaves_of(layer, (16, 12))
    exact = {key: test_kernels.double(t) for key, t in leaves.items()}

    def gradients(function, leaves):
        wanted = [t for t in leaves.values() if t.requires_grad]
        y = function(layer, leaves)
        g = torch.autograd.grad(y.pow(3).sum(), wanted, create_graph=True)
        return torch.autograd.grad(sum(t.square().sum() for t in g), wanted)

    found = gradients(test_kernels.kernel, on_device(leaves))
    for g, r in zip(found, gradients(test_kernels.plain, exact), strict=True):
        test_kernels.assert_near(g.cpu(), r, 1e-4)


def test_more_than_2_to_the_31_elements(kernels):
    """The last image of 65537 is where 32-bit offsets from the first would not reach."""
    x = torch.empty(65537, 8, 64, 64, dtype=torch.bfloat16, device="cuda")
    x = torch.empty_like(x, memory_format=torch.channels_last).zero_()
    x[-1].normal_()
    want = ops.act_fir(x[-1:].float().clone(), F, down=2, padding=1)
    found = ops.act_fir(x, F, down=2, padding=1)
    test_kernels.assert_near(found[-1:].cpu(), want.cpu().double(), 8e-3)
    assert not found[0].any()
    want = ops.modulate(x[-1:].float().clone(), torch.full((1, 8), 2.0, device="cuda"))
    found = ops.modulate(x, torch.full((65537, 8), 2.0, device="cuda"))
    test_kernels.assert_near(found[-1:].cpu(), want.cpu().double(), 8e-3)


def test_images_with_gaps_between_pixels(kernels):
    x = torch.randn(3, 16, 20, 34, device="cuda").to(memory_format=torch.channels_last)
    for part in (x[::2], x[:, 8:], x[:, :, 1:, 3:], x.mT, x[:, 1:]):
        found, want = ops.fir_act(part, F, padding=1), part.cpu().double()
        test_kernels.assert_near(found.cpu(), ops.fir_act(want, F, padding=1), 1e-5)


def step(leaves: dict) -> list[torch.Tensor]:
    layer = LAYERS["generator"]
    y = test_kernels.kernel(layer, leaves)
    wanted = [t for t in leaves.values() if t.requires_grad]
    return [y, *torch.autograd.grad(y, wanted, torch.ones_like(y))]


def test_another_stream_and_another_thread(kernels):
    """Kernels go to the current stream; autograd's own threads have no context of their own."""
    torch.manual_seed(0)
    leaves = on_device(test_kernels.leaves_of(LAYERS["generator"], (64, 96)))
    want = step(leaves)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # what ran on the default stream would overtake this
        leaves["x"].data.mul_(1.0)
        found = step(leaves)
    stream.synchronize()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(step, leaves).result()
    torch.cuda.synchronize()
    for a, b, c in zip(want, found, again, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_a_captured_graph_repeats_the_kernels(kernels):
    torch.manual_seed(0)
    leaves = on_device(test_kernels.leaves_of(LAYERS["generator"], (32, 48)))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step(leaves)  # compiles and loads, which a capture must not
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(leaves)
    with torch.no_grad():
        leaves["x"].normal_()
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(found, step(leaves), strict=True):
        assert torch.equal(a, b)


def penalties(synthesis, discriminator) -> torch.Tensor:
    """Gradients of a path length and of R1, of all weights."""
    torch.manual_seed(1)
    ws = torch.randn(4, synthesis.num_ws, 64, device="cuda", requires_grad=True)
    images = synthesis(ws, noise="const")
    (slope,) = torch.autograd.grad((images * images.detach().cos()).sum(), ws, create_graph=True)
    slope.square().sum().backward()
    images = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    slope.square().sum().backward()
    weights = [*synthesis.parameters(), *discriminator.parameters()]
    found = [p.grad.clone() for p in weights if p.grad is not None]
    for p in weights:
        p.grad = None
    return torch.cat([g.flatten() for g in found])


def test_stylegan2_uses_the_kernels(kernels, monkeypatch):
    """With second derivatives: as with PyTorch's operations, up to rounding."""
    launched, launch = set(), backend.launch
    monkeypatch.setattr(
        backend, "launch", lambda plan, device: launched.add(plan.source) or launch(plan, device)
    )
    torch.manual_seed(0)
    nets = (
        Synthesis(32, 32, SynthesisOptions(w_dim=64, channel_base=1024)),
        Discriminator(32, 32, DiscriminatorOptions(channel_base=1024)),
    )
    nets = [net.cuda().to(memory_format=torch.channels_last) for net in nets]
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = penalties(*nets)
        assert launched == {"fir.cu", "bias_act.cu", "modulate.cu"}
        with backend.using("eager"):
            want = penalties(*nets)
    assert (found - want).norm() < 1e-3 * want.norm()
