"""`filtered_lrelu` against the published implementation, and its derivatives."""

import pytest
import torch

from largegan import ops
from largegan.ops.filtered_lrelu import operators as filtered
from tests.golden import goldcheck
from tests.ops.test_gradients import LAYOUTS, check, image

CASE = "ops_nvlabs_sg3"


def taps(f: torch.Tensor):
    return tuple(map(tuple, f.tolist())) if f.ndim == 2 else tuple(f.tolist())


def golden() -> goldcheck.Case:
    folder = goldcheck.folder()
    found = CASE in goldcheck.manifest(folder)
    return goldcheck.Case(folder if found else goldcheck.HERE / "data", CASE)


def compare(case: goldcheck.Case) -> None:
    x, b = case.input("x"), case.input("b")
    fu, fd, square = (taps(case.input(name)) for name in ("fu", "fd", "fd2"))
    y = ops.filtered_lrelu(x, fu, fd, b, up=4, down=2, padding=[11, 10, 9, 12], clamp=1.5)
    case.check("up4_down2", y)
    call = {"up": 2, "down": 2, "padding": 8, "gain": 1.3, "slope": 0.1}
    case.check("up2_down2_rect", ops.filtered_lrelu(x, fu, square, b, **call))
    y = ops.filtered_lrelu(x, fu, None, up=2, padding=[6, 5, 6, 5], flip=True)
    case.check("up2_down1_flip", y)
    leaves = [x.clone().requires_grad_(), b.clone().requires_grad_()]
    y = ops.filtered_lrelu(leaves[0], fu, fd, leaves[1], up=2, down=2, padding=11)
    probe = case.input("probe")
    h, w = (min(a, b) for a, b in zip(y.shape[2:], probe.shape[2:], strict=True))
    loss = (y[:, :, :h, :w] * probe[:, :, :h, :w]).sum()
    for name, gradient in zip("xb", torch.autograd.grad(loss, leaves), strict=True):
        case.check(f"grad_{name}", gradient)
    assert len(case.checked) == 5 and not case.failures, "\n".join(case.failures)


def test_it_is_the_published_one():
    compare(golden())


@pytest.fixture
def operators(monkeypatch):
    """The public function takes the operators that a GPU would, which have no kernel here."""
    monkeypatch.setattr(filtered, "fused", lambda x, constants: True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives(layout):
    x, b = image(2, 3, 6, 5, layout=layout), torch.randn(3, dtype=torch.float64).requires_grad_()
    f = (0.25, -0.5, 1.0, 0.75)
    check(lambda x, b: ops.filtered_lrelu(x, f, f, b, up=2, down=2, padding=4, clamp=0.8), x, b)


CALLS = [
    {"up": 2, "down": 2, "padding": 4, "clamp": 0.8},
    {"up": 1, "down": 2, "padding": (-1, 3, 4, 2)},
    {"up": 4, "down": 1, "padding": (2, 0, 5, -1), "flip": True, "slope": 0.0},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", CALLS)
def test_derivatives_of_the_operators(call, layout, operators):
    """What the kernel is registered with, and what is computed where it cannot be had."""
    x, b = image(2, 3, 6, 5, layout=layout), torch.randn(3, dtype=torch.float64).requires_grad_()
    fu, fd = (0.25, -0.5, 1.0, 0.75), (0.5, 1.0, -0.25)
    check(lambda x, b: ops.filtered_lrelu(x, fu, fd, b, **call), x, b)
    check(lambda x: ops.filtered_lrelu(x, fu, fd, **call), x)
