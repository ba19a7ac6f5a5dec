"""The table of ops: public function, specification and kernel agree, by name, to the second order.

Also what a row promises: one signature, a folder, a kernel that is launched and is in the wheel.
"""

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from largegan import ops
from largegan.ops.runtime import backend, cubins
from largegan.ops.table import TABLE
from tests.ops import emulator

ROOT = Path(__file__).parents[2]
NHWC, NCHW = torch.channels_last, torch.contiguous_format
EXACT = 1e-11
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
COARSE = {"grid_sample"}  # PyTorch's own, whose places have only as many digits as the image
NO_OPS = {"BINOMIAL", "taps"}  # public names that are none
CALLS = [(name, example) for name, op in TABLE.items() for example in op.examples]
TYPED = [
    (*call, dtype)
    for call in CALLS
    for dtype in TOLERANCE
    if dtype is torch.float32 or call[0] not in COARSE
]
# The doctor's and the benchmarks'; each takes a second or two to compile.
QUICK = [
    (name, example)
    for name, example in CALLS
    if TABLE[name].source
    and (example == next(iter(TABLE[name].examples)) or TABLE[name].examples[example].cost)
]


def image(dtype: torch.dtype, form: torch.memory_format, channels: int = 8) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, 9, 12, generator=draw).bfloat16()
    return x.to(dtype, memory_format=form).requires_grad_()


def derivatives(function, name: str, example: str, x: Tensor) -> dict[str, Tensor]:
    """The result, gradients by the names of arguments, and those of a penalty on gradients."""
    call = TABLE[name].examples[example]
    leaves = {key: t.requires_grad_() for key, t in call.tensors(x).items()}
    y = call.of(function, x, **leaves)
    probe = torch.linspace(-1, 1, y.numel()).bfloat16().to(y).view(y.shape)
    leaves = {"x": x, **leaves}
    first = torch.autograd.grad((y * probe).sum(), list(leaves.values()), retain_graph=True)
    slopes = torch.autograd.grad((y * y * probe).sum(), list(leaves.values()), create_graph=True)
    penalty = sum(slope.square().sum() for slope in slopes)
    second = torch.autograd.grad(penalty, list(leaves.values()), allow_unused=True)
    found = {"y": y} | {f"d{key}": g for key, g in zip(leaves, first, strict=True)}
    found |= {f"dd{key}": g for key, g in zip(leaves, second, strict=True) if g is not None}
    return {key: t.detach() for key, t in found.items()}


def assert_agree(found: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """In the norm; NaN agrees with nothing. Second derivatives are sums of larger numbers."""
    assert list(found) == list(want)
    for key, t in found.items():
        assert t.shape == want[key].shape, key
        error = (t.double() - want[key]).norm() / want[key].norm()
        assert error <= tolerance * (10 if key.startswith("dd") else 1), (key, float(error))


@pytest.mark.parametrize("form", [NHWC, NCHW], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("name, example", CALLS)
def test_the_public_function_is_its_specification(name, example, form):
    x, op = image(torch.float64, form), TABLE[name]
    found = derivatives(op.public, name, example, x)
    assert_agree(found, derivatives(op.reference, name, example, x), EXACT)


class Operators(TorchDispatchMode):
    """Within it, `seen` collects the namespaces of the operators that run: aten, largegan."""

    def __init__(self):
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.namespace)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", [NHWC, NCHW], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("name, example", CALLS)
def test_plain_ops_are_of_pytorchs_operators_alone(name, example, form):
    """What exporters are shown: no graph looks into operators of ours, or runs where we are not."""
    x, op = image(torch.float64, form), TABLE[name]
    with torch.no_grad(), backend.using("plain"), Operators() as operators:
        found = op.examples[example](op.public, x)
    assert operators.seen == {"aten"}
    torch.testing.assert_close(found, op.examples[example](op.reference, x), atol=1e-11, rtol=1e-11)


def test_operators_of_ours_are_noticed():
    with Operators() as operators:
        ops.bias_act(image(torch.float64, NHWC), None)
    assert "largegan" in operators.seen


def compare_kernel(name: str, example: str, dtype: torch.dtype, form, channels: int) -> set[str]:
    """The kernels that were launched, in the emulator, with memory that is NaN until written."""
    launched, op = set(), TABLE[name]

    def launch(plan) -> None:
        launched.add(plan.source)
        emulator.launch(plan)

    torch.set_deterministic_debug_mode("warn")
    try:
        with backend.redirected(launch), backend.using("require"):
            found = derivatives(op.public, name, example, image(dtype, form, channels))
    finally:
        torch.set_deterministic_debug_mode("default")
    x = image(torch.float64, form, channels)
    want = derivatives(op.reference, name, example, x)
    if dtype is not torch.float32:  # where rounding decides about a sign, the slope is another
        found, want = ({"y": tensors["y"]} for tensors in (found, want))
    assert_agree(found, want, TOLERANCE[dtype])
    return launched


needs_gcc = pytest.mark.skipif(emulator.compiler is None, reason="needs g++")


@needs_gcc
@pytest.mark.parametrize("name, example", QUICK)
def test_the_kernel_is_the_specification(name, example):
    assert TABLE[name].source in compare_kernel(name, example, torch.float32, NHWC, 8)


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("form, channels", [(NHWC, 8), (NCHW, 3)], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("name, example, dtype", TYPED)
def test_every_example_with_kernels(name, example, form, channels, dtype):
    compare_kernel(name, example, dtype, form, channels)


@pytest.mark.parametrize("name", TABLE)
def test_public_function_and_specification_have_one_signature(name):
    op = TABLE[name]
    assert inspect.signature(op.public) == inspect.signature(op.reference)
    assert op.public is getattr(ops, name) and op.public is not op.reference
    assert op.public.__doc__ and op.reference.__doc__.startswith(
        f"The specification of `ops.{name}`"
    )


def test_every_op_has_a_row_and_every_kernel_an_op():
    assert set(TABLE) == set(ops.__all__) - NO_OPS
    kernels = sorted(path.name for path in cubins.KERNELS.rglob("*.cu"))
    assert len(kernels) == len(set(kernels))  # a plan names its file without the folder
    assert {op.source for op in TABLE.values() if op.source} == set(kernels)
    folders = {path.parent.name for path in cubins.KERNELS.glob("*/reference.py")}
    assert {op.public.__module__.split(".")[2] for op in TABLE.values()} == folders


def test_a_wheel_has_all_kernels():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = text["tool"]["setuptools"]["package-data"]["largegan.ops"]
    packed = {path for pattern in patterns for path in cubins.KERNELS.glob(pattern)}
    assert packed == set(cubins.KERNELS.rglob("*.cu*")) - set(cubins.KERNELS.rglob("*.pyc"))


def test_a_disagreement_is_noticed():
    """Another slope below zero is not the specification."""
    x = image(torch.float64, NHWC)
    want = derivatives(TABLE["bias_act"].reference, "bias_act", "lrelu", x)

    def other(x, b, *, act, clamp):
        return ops.bias_act(x, b, act=act, clamp=clamp, alpha=0.2001)

    found = derivatives(other, "bias_act", "lrelu", x)
    with pytest.raises(AssertionError, match="'y'"):
        assert_agree(found, want, EXACT)
