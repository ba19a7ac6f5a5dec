"""Registered operators under PyTorch's own checks: schema, fake strides, tracing, gradients."""

from functools import cache

import pytest
import torch
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

from largegan.ops.bias_act import operators as activation
from largegan.ops.conv import operators as conv
from largegan.ops.filtered_lrelu import operators as filtered
from largegan.ops.fir import operators as fir
from largegan.ops.fir_act import operators as fir_activation
from largegan.ops.fir_act import sloped as fir_sloped
from largegan.ops.grid_sample import operators as grid
from largegan.ops.modulate import operators as modulated
from largegan.ops.norm import operators as norm
from largegan.ops.runtime import backend
from largegan.ops.table import TABLE
from tests.ops import emulator
from tests.ops.test_gradients import LAYOUTS, image
from tests.ops.test_table import derivatives
from tests.ops.test_table import image as image_of

TAPS = [0.5, 1.0, -0.25]
FILTER = (TAPS, TAPS, [3, 3], [2, 1, 1, 1], [1, 2, 1, 1], False, 2.0)  # doubles the width
SECOND = ([1.0, 0.5], [1.0, 0.5], [2, 2], [1, 1, 2, 2], [0, 1, 0, 0], True, 1.0)
LEAKY = (0.2, 1.5, 1.0)
NOTHING = (None, None, None)  # no noise, strength or bias
CALLS = {
    "fir": lambda x: (fir.fir, (x, TAPS, TAPS, [3, 3], [2, 1, 1, 3], [1, 2, 0, 1], False, 2.0)),
    "fir of rows": lambda x: (
        fir.fir,
        (x, TAPS * 2, [], [3, 2], [1, 1, 2, 2], [-1, 2, 0, 1], True, 1.0),
    ),
    "long fir": lambda x: (
        fir.fir,
        (x, TAPS * 3, TAPS * 3, [9, 9], [2, 2, 1, 1], [8] * 4, False, 1.0),
    ),
    "leaky": lambda x: (activation.leaky, (x, torch.randn(8).to(x.dtype)[::2], 1, 0.2, 1.5, 1.0)),
    "relu": lambda x: (activation.leaky, (x, None, 1, 0.0, 1.5, -1.0)),
    "leaky_slope": lambda x: (activation.leaky_slope, (x, x.detach().clone(), 0.2, 1.5, 1.0)),
    "leaky_slope_sum": lambda x: (
        activation.leaky_slope_sum,
        (x.detach(), x.detach().clone(), 1, 0.2, 1.5, 1.0),
    ),
    "fir_act": lambda x: (
        fir_activation.fir_then_act,
        (x, beside(x), noise(x), strength(x), beside(x)[0], *FILTER, *LEAKY),
    ),
    "fir_act with bits": lambda x: (
        fir_activation.fir_then_act,
        (x, None, None, None, beside(x)[0], *FILTER, *LEAKY),
    ),
    "act_fir": lambda x: (fir_activation.act_then_fir, (x, beside(x)[0], *FILTER, *LEAKY)),
    "fir_sloped": lambda x: (
        fir_sloped.fir_sloped,
        (x, x.detach().clone(), beside(x), True, *FILTER, *LEAKY),
    ),
    "fir_sloped behind bits": lambda x: (
        fir_sloped.fir_sloped,
        (x, bits(x), None, False, *FILTER, *LEAKY),
    ),
    "fir_sloped_sums": lambda x: (
        fir_sloped.fir_sloped_sums,
        (*[t.detach() for t in (x, x.clone(), beside(x))], *NOTHING, True, *FILTER, *LEAKY),
    ),
    "filtered_lrelu": lambda x: (
        filtered.between_filters,
        (x, beside(x)[0], True, *FILTER, *SECOND, *LEAKY),
    ),
    "filtered_lrelu without bits": lambda x: (
        filtered.between_filters,
        (x.detach(), None, False, *FILTER, *SECOND, *LEAKY),
    ),
    "filtered_slopes": lambda x: (
        filtered.slopes_between,
        (x, bits(x)[:, :, :2], *FILTER, *SECOND, *LEAKY),
    ),
    "modulate": lambda x: (modulated.modulated, (x, beside(x))),
    "modulate_grad": lambda x: (
        modulated.modulated_grad,
        (x.detach(), x.detach().mT.contiguous().mT, beside(x).detach()),
    ),
    "conv": lambda x: (conv.conv, (x, weight(x, 6, 2), [2, 1], [1, 0], False, [0, 0], 2)),
    "transposed": lambda x: (conv.conv, (x, weight(x, 4, 3), [2, 2], [1, 1], True, [1, 0], 2)),
    "conv_weight": lambda x: (
        conv.conv_weight,
        (image(2, 6, 4, 3).to(x.dtype), x, [6, 4, 3, 3], [1, 1], [0, 0], False, [0, 0], 1),
    ),
    "norm_act": lambda x: (norm.norm_act, (x, *affine(x, 2, 4), False, 1e-5, 0.2)),
    "norm_act of images": lambda x: (norm.norm_act, (x, None, None, True, 1e-5, 0.0)),
    "norm_act_backward": lambda x: (
        norm.norm_act_backward,
        (x.detach(), x.detach(), *affine(x, 4), *affine(x, 2, 4), 1e-5, 0.2),
    ),
    "gather": lambda x: (grid.gather, (x, places(x))),
    "scatter": lambda x: (grid.scatter, (x, places(x), 3, 5)),
}


def weight(x: torch.Tensor, o: int, i: int) -> torch.Tensor:
    return torch.randn(3, 3, i, o, dtype=x.dtype).permute(3, 2, 0, 1).requires_grad_()


def affine(x: torch.Tensor, *shape: int) -> list[torch.Tensor]:
    return [torch.rand(shape, dtype=x.dtype) for _ in range(2)]


def beside(x: torch.Tensor) -> torch.Tensor:
    """`[N, C]`, a transposed view."""
    return (torch.rand(x.shape[1], x.shape[0], dtype=x.dtype) + 0.5).t().requires_grad_()


def noise(x: torch.Tensor) -> torch.Tensor:
    return torch.randn(2, 1, 6, 11, dtype=x.dtype)


def bits(x: torch.Tensor) -> torch.Tensor:
    return (noise(x) > 0).to(torch.uint8).expand(-1, 4, -1, -1).clone()


def strength(x: torch.Tensor) -> torch.Tensor:
    return torch.ones((), dtype=x.dtype, requires_grad=True)


def places(x: torch.Tensor) -> torch.Tensor:
    return torch.rand(2, 6, 5, 2, dtype=x.dtype) * 2 - 1


@pytest.mark.parametrize("layout", [*LAYOUTS, "expanded"])
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name, layout):
    operator, arguments = CALLS[name](image(2, 4, 6, 5, layout=layout))
    opcheck(operator.registered, arguments)


WITHOUT_KERNEL = {"conv", "transposed", "conv_weight", "gather", "scatter"}
QUICK = {"act_fir", "filtered_lrelu", "norm_act"}
KERNELS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in CALLS
    if name not in WITHOUT_KERNEL | {"fir"}  # which has a factor of 3
]


@pytest.mark.skipif(emulator.compiler is None, reason="needs g++")
@pytest.mark.parametrize(
    "layout", ["channels_last", pytest.param("sliced", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", KERNELS)
def test_opcheck_with_kernels(name, layout):
    """What the emulated kernels return has the strides that the fake kernels promise."""
    torch.manual_seed(0)
    x = image(2, 4, 6, 5, layout=layout).detach()
    x = torch.empty_strided(x.shape, x.stride()).copy_(x).requires_grad_()  # float32
    operator, arguments = CALLS[name](x)
    launched = []

    def launch(plan) -> None:
        launched.append(plan)
        emulator.launch(plan)

    with backend.redirected(launch), backend.using("require"):
        opcheck(operator.registered, arguments)
    assert launched


def test_every_operator_is_checked():
    names = {CALLS[name](image(2, 4, 6, 5))[0].registered._qualname for name in CALLS}
    assert names == {
        "largegan::fir",
        "largegan::leaky",
        "largegan::leaky_slope",
        "largegan::leaky_slope_sum",
        "largegan::fir_act",
        "largegan::act_fir",
        "largegan::fir_sloped",
        "largegan::fir_sloped_sums",
        "largegan::filtered_lrelu",
        "largegan::filtered_slopes",
        "largegan::modulate",
        "largegan::modulate_grad",
        "largegan::conv",
        "largegan::conv_weight_gradient",
        "largegan::norm_act",
        "largegan::norm_act_backward",
        "largegan::gather",
        "largegan::scatter",
    }
    registered = {name for name in torch._C._dispatch_get_all_op_names() if "largegan::" in name}
    assert registered == names | set(calls_of_examples())


class Notes(TorchDispatchMode):
    """The first call of every operator of ours."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "largegan":
            differentiated = torch.is_grad_enabled()
            leaves = tuple(leaf_of(a, differentiated) for a in args)
            self.calls.setdefault(function._schema.name, (function, leaves))
        return function(*args, **(kwargs or {}))


def leaf_of(argument, differentiated: bool):
    """A tensor by itself, which gets a gradient only where the call is to be differentiated.

    Of other numbers: what kernels that write nothing have left may be NaN.
    """
    if not isinstance(argument, torch.Tensor):
        return argument
    wanted = differentiated and argument.requires_grad
    leaf = argument.detach().clone()
    return (leaf.normal_() if leaf.is_floating_point() else leaf).requires_grad_(wanted)


@cache
def calls_of_examples() -> dict[str, tuple]:
    """Operators that the table's examples come to, forward and twice backward.

    In float32 as on a GPU, with kernels that write nothing.
    """
    notes = Notes()
    for dtype in (torch.float32, torch.float64):
        with notes, backend.redirected(lambda plan: None):
            for name, op in TABLE.items():
                for example in op.examples:
                    derivatives(op.public, name, example, image_of(dtype, torch.channels_last))
    return notes.calls


def test_opcheck_of_examples():
    """Operators as the examples of the table call them; so a new one is checked by its row."""
    for operator, arguments in calls_of_examples().values():
        opcheck(operator, arguments)
