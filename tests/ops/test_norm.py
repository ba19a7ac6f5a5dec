"""Normalization and activation: derivatives of the formula, and its kernel run on the CPU."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops import batch_norm_act, instance_norm_act
from largegan.ops.runtime import backend, cubins
from tests.ops import emulator
from tests.ops.test_gradients import LAYOUTS, check, image

CASES = ["batch", "batch by image", "batch plain", "instance", "instance affine"]
LIMITS = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def case(name: str, n: int, c: int, dtype=torch.float64) -> tuple:
    """The function and its gain and bias."""
    shape = {"batch": [c], "batch by image": [n, c], "instance affine": [c]}.get(name)
    affine = [torch.randn(shape, dtype=dtype).requires_grad_() for _ in range(2)] if shape else []
    if name.startswith("instance"):
        return instance_norm_act, affine
    return (lambda *a, **options: batch_norm_act(*a, **options)[0]), affine


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives(name, layout):
    torch.manual_seed(0)
    function, affine = case(name, 2, 3)
    check(lambda *a: function(*a, act="lrelu"), image(2, 3, 4, 5, layout=layout), *affine)


def plain(name: str, x: Tensor, gamma=None, beta=None, alpha=0.0) -> Tensor:
    """In PyTorch's own words."""
    if name.startswith("instance"):
        y = F.instance_norm(x, eps=1e-5)
    else:
        y = F.batch_norm(x, None, None, training=True, eps=1e-5)
    if gamma is not None:
        y = y * gamma[..., None, None] + beta[..., None, None]
    return F.leaky_relu(y, alpha)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_usual_chain(name):
    torch.manual_seed(0)
    function, affine = case(name, 3, 4)
    x = torch.randn(3, 4, 6, 5, dtype=torch.float64) * 3 + 7
    torch.testing.assert_close(function(x, *affine), plain(name, x, *affine))
    y, mean, variance = batch_norm_act(x)
    torch.testing.assert_close(mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(variance, x.var((0, 2, 3), correction=0))
    assert y.requires_grad is False and not mean.requires_grad


def test_wrong_shapes_and_activations():
    x = torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"\[3\] or \[2, 3\].*not \[3, 2\]"):
        batch_norm_act(x, torch.ones(3, 2))
    with pytest.raises(ValueError, match="act is 'tanh'"):
        instance_norm_act(x, act="tanh")


# The kernel, in the emulator


def poisoned(monkeypatch) -> None:
    """What a kernel leaves out is NaN."""
    new_empty = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda *a, **k: new_empty(*a, **k).fill_(torch.nan))
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: empty_like(*a, **k).fill_(torch.nan))


def run(function, x: Tensor, affine: list[Tensor], dy: Tensor) -> list[Tensor]:
    y = function(x, *affine, act="lrelu", alpha=0.3)
    return [y, *torch.autograd.grad(y, [x, *affine], dy)]


def exact(function, x: Tensor, affine: list[Tensor], dy: Tensor) -> list[Tensor]:
    leaves = [t.detach().double().requires_grad_() for t in (x, *affine)]
    return run(function, leaves[0], leaves[1:], dy.double())


# Words of 16 bytes and single elements, blocks that end early, several blocks of an image.
SHAPES = {
    torch.contiguous_format: [(2, 3, 8, 16), (1, 3, 1, 3), (5, 2, 33, 5)],
    torch.channels_last: [(2, 16, 7, 5), (3, 40, 33, 16), (1, 3, 1, 3)],
}
SOME = [
    (torch.float32, torch.contiguous_format, SHAPES[torch.contiguous_format][:1]),
    (torch.bfloat16, torch.channels_last, SHAPES[torch.channels_last][:2]),
]
ALL = [(d, f, s) for d in LIMITS for f, s in SHAPES.items()]  # 60 compilations
SLOW = [pytest.param(*row, marks=pytest.mark.slow) for row in ALL]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype, layout, shapes", [*SOME, *SLOW])
def test_kernel(name, dtype, layout, shapes, monkeypatch):
    torch.manual_seed(1)
    for shape in shapes:
        function, affine = case(name, *shape[:2], dtype=torch.float32)
        x, dy = (torch.randn(shape).to(dtype, memory_format=layout) for _ in range(2))
        x = (x * 2 + 3).requires_grad_()
        plans = []
        with monkeypatch.context() as patch, backend.redirected(noting(plans)):
            poisoned(patch)
            found = run(function, x, affine, dy)
        assert [dict(p.defines)["STAGE"] for p in plans] == list("012345")
        assert found[0].stride() == found[1].stride() == x.stride()
        size = uncancelled(name, x.detach(), affine, dy)
        assert_close(found, exact(function, x, affine, dy), size)


def uncancelled(name: str, x: Tensor, affine: list[Tensor], dy: Tensor) -> Tensor:
    """The norm of dx before the means are subtracted: of few pixels nearly all of it goes."""
    over = (2, 3) if name.startswith("instance") else (0, 2, 3)
    std = (x.double().var(over, correction=0, keepdim=True) + 1e-5).sqrt()
    return (dy / std * (affine[0].detach()[..., None, None] if affine else 1)).norm()


def assert_close(found: list[Tensor], exact: list[Tensor], size: Tensor) -> None:
    """Result and dx, whose terms are of `size`, are rounded to the type; sums are not."""
    for i, (got, want) in enumerate(zip(found, exact, strict=True)):
        error = (got.double() - want).norm() / (max(want.norm(), size) if i == 1 else want.norm())
        assert error < (LIMITS[found[0].dtype] if i < 2 else 3e-5), (got.shape, i, error)


def noting(plans: list):
    def launch(plan) -> None:
        plans.append(plan)
        emulator.launch(plan)

    return launch


# The kernel, compiled for GPUs


ALL_KINDS = [(d, f) for d in LIMITS for f in SHAPES]


@pytest.mark.parametrize(
    "architecture",
    [90, pytest.param(80, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "dtype, layout",
    [
        pytest.param(*kind, marks=[] if kind == SOME[1][:2] else pytest.mark.slow)
        for kind in ALL_KINDS
    ],
)
def test_machine_code(architecture, dtype, layout):
    """No spills, no local memory, whole words where the layout has them; few registers."""
    x = torch.randn(2, 16, 8, 8).to(dtype, memory_format=layout).requires_grad_()
    plans = []
    with backend.redirected(plans.append):
        instance_norm_act(x).sum().backward()
    for plan in plans:
        what = plan.source, plan.defines
        _, log = cubins.compiled(*what, f"sm_{architecture}", "--ptxas-options=-v")
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
        registers = int(re.search(r"Used (\d+) registers", log)[1])
        ptx = cubins.compiled(*what, f"compute_{architecture}")[0].decode()
        words = {v: re.findall(rf"{v}\.global\S*\.v4", ptx) for v in ("ld", "st")}
        stage = int(dict(plan.defines)["STAGE"])
        print(stage, registers, "registers;", {k: len(v) for k, v in words.items()}, "16-byte")
        assert ".local" not in ptx and registers <= (64 if stage in (1, 4) else 128)
        assert bool(words["ld"]) == (stage not in (1, 4)) and bool(words["st"]) == (stage in (2, 5))
