"""Penalties on gradients under torch.compile: what is exact, and the canaries that must raise.

Compiled regions that differentiate twice need `torch._dynamo.config.trace_autograd_ops`, a
private flag: nothing in the package depends on it, and here one sees when it moves. The rules are
that `autograd.grad(..., create_graph=True)` and the penalty are inside the compiled function and
that `requires_grad_()` is called outside.
"""

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn

from largegan import ops

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def compiler():
    """Fresh, with the flag; its cache does not see that an operator's fake kernel has changed."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        yield
    torch._dynamo.reset()


class Critic(nn.Module):
    """Two convolutions, one of which makes the image smaller, and every kind of operator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.ParameterList([torch.randn(4, 3, 3, 3), torch.randn(4, 4, 3, 3)])
        self.b = nn.ParameterList([torch.randn(4), torch.randn(4)])
        self.out = nn.Linear(4 * 16, 1)

    def forward(self, x):  # [N, 3, 8, 8] -> [N]
        x = ops.bias_act(ops.conv2d(x, self.w[0], padding=1), self.b[0], clamp=256.0)
        x = ops.conv2d_resample(x, self.w[1], ops.BINOMIAL, down=2, padding=1)
        x = ops.bias_act(x, self.b[1])
        return self.out(x.flatten(1)).squeeze(1)


class Synthesis(nn.Module):
    """A styled layer that makes the image larger."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.start = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.w, self.b = nn.Parameter(torch.randn(3, 6, 3, 3)), nn.Parameter(torch.randn(3))
        self.style = nn.Linear(5, 6)

    def forward(self, w):  # [N, 5] -> [N, 3, 8, 8]
        x = self.start.expand(len(w), -1, -1, -1)
        call = {"up": 2, "padding": 1, "f": ops.BINOMIAL, "flip_weight": False}
        x = ops.modulated_conv2d(x, self.w, self.style(w), **call)
        return ops.bias_act(x, self.b)


def r1(critic, x):
    (g,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return g.square().sum([1, 2, 3]).mean()


def adversarial_and_r1(critic, x):
    scores = critic(x)
    (g,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return F.softplus(-scores).mean() + g.square().sum([1, 2, 3]).mean()


def r1_step(critic, x):
    """The whole step inside."""
    loss = r1(critic, x)
    loss.backward()
    return loss.detach()


def path_length(synthesis, w):
    images = synthesis(w)
    noise = torch.cos(torch.arange(images.numel(), dtype=images.dtype)).view_as(images)
    (g,) = torch.autograd.grad((images * noise).sum(), w, create_graph=True)
    return (g.square().sum(1).sqrt() - 1).square().mean()


def images(channels_last: bool = False) -> torch.Tensor:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    return x.requires_grad_()


def gradients(net: nn.Module) -> torch.Tensor:
    flat = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    net.zero_grad(set_to_none=True)
    return flat


def assert_exact(net, compiled, eager, *, backward=True) -> None:
    """Same value, and the same gradient of every parameter."""
    (eager() if not backward else eager().backward())
    want = gradients(net)
    (compiled() if not backward else compiled().backward())
    got = gradients(net)
    assert want.norm() > 0 and float((got - want).norm() / want.norm()) < TOLERANCE


def compile(function, backend="aot_eager"):
    return torch.compile(function, backend=backend, fullgraph=True)


@pytest.mark.parametrize("channels_last", [False, True])
def test_first_order_is_one_graph(channels_last):
    critic, x = Critic(), images(channels_last)
    compiled = compile(critic)
    assert_exact(critic, lambda: compiled(x).sum(), lambda: critic(x).sum())


@pytest.mark.parametrize("penalty", [r1, adversarial_and_r1])
@pytest.mark.parametrize("channels_last", [False, True])
def test_penalty_inside_and_backward_outside(penalty, channels_last):
    critic, x = Critic(), images(channels_last)
    compiled = compile(penalty)
    assert_exact(critic, lambda: compiled(critic, x), lambda: penalty(critic, x))


def test_the_whole_step_inside():
    critic, x = Critic(), images()
    compiled = compile(r1_step)
    eager = (lambda: compiled(critic, x)), (lambda: r1_step(critic, x))
    assert_exact(critic, *eager, backward=False)


def test_path_length_inside_and_backward_outside():
    synthesis, w = Synthesis(), torch.randn(4, 5).requires_grad_()
    compiled = compile(path_length)
    assert_exact(synthesis, lambda: compiled(synthesis, w), lambda: path_length(synthesis, w))


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["r1", "path_length"])
def test_inductor(penalty):
    """With a C++ compiler, the code it writes; strides of fake kernels show here."""
    import torch._inductor.config as inductor

    net, x = (Critic(), images()) if penalty == "r1" else (Synthesis(), torch.randn(4, 5))
    x = x.detach().requires_grad_()
    function = r1 if penalty == "r1" else path_length
    compiled = compile(function, "inductor")
    with inductor.patch(force_disable_caches=True):
        assert_exact(net, lambda: compiled(net, x), lambda: function(net, x))


def test_a_compiled_network_differentiated_twice_outside_raises():
    critic, x = Critic(), images()
    compiled = compile(critic)
    with pytest.raises(RuntimeError, match="double backward"):
        r1(compiled, x).backward()


def test_requires_grad_inside_is_refused():
    critic, x = Critic(), images().detach()

    def penalty(critic, x):
        return r1(critic, x.requires_grad_())

    with pytest.raises(Exception, match="requires_grad"):
        compile(penalty)(critic, x).backward()


def test_functional_derivatives_of_operators_are_refused():
    """`torch.func` has no rule for custom operators: an error, in eager mode too."""
    critic, x = Critic(), images().detach()
    with pytest.raises(RuntimeError):
        torch.func.grad(lambda x: critic(x).sum())(x)


class Slope(torch.autograd.Function):
    """3 x^2 by a kernel that autograd cannot see, and its derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return raw_slope(x)

    @staticmethod
    def backward(ctx, dy):
        return dy * 6 * ctx.saved_tensors[0]


class Cube(torch.autograd.Function):
    """What one must not write: right in eager mode, to the second order."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return raw_cube(x)

    @staticmethod
    def backward(ctx, dy):
        return dy * Slope.apply(ctx.saved_tensors[0])


@torch.library.custom_op("canary::cube", mutates_args=())
def raw_cube(x: torch.Tensor) -> torch.Tensor:
    return x.pow(3)


@torch.library.custom_op("canary::slope", mutates_args=())
def raw_slope(x: torch.Tensor) -> torch.Tensor:
    return 3 * x.square()


raw_cube.register_fake(torch.empty_like)
raw_slope.register_fake(torch.empty_like)


class Cubic(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.5, 2.0, -1.0]).reshape(3, 1, 1))

    def forward(self, x):
        return Cube.apply(x * self.w).sum([1, 2, 3])


def test_a_function_around_raw_kernels_is_silently_wrong():
    """Its second derivative is lost: the reason why there is none in `largegan.ops`."""
    net, x = Cubic(), images()
    compiled = compile(r1)
    with pytest.raises(AssertionError):
        assert_exact(net, lambda: compiled(net, x), lambda: r1(net, x))
