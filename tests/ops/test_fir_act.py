"""`fir_act`, `act_fir`, `modulate`: the operators behind them against what they are made of.

In float64, by differences, as PyTorch's operations compute them; test_kernels.py has the kernels.
"""

import pytest
import torch
from torch import Tensor

from largegan import ops
from largegan.ops.fir_act import operators as fir_act_operators
from tests.ops.test_gradients import LAYOUTS, check, image

FILTERS = {
    "blur": {"f": ops.BINOMIAL, "padding": (1, 2, 2, 0)},
    "double": {"f": (1.0, 2.0, -0.5), "up": 2, "padding": (2, 1, -1, 3), "fir_gain": 0.7},
    "rows": {"f": ((1.0, 0.5), (0.2, -1.0), (0.3, 0.1)), "padding": 1},
    "none": {"f": (1.0,)},
}
ACTS = {
    "lrelu": {"clamp": 1.1},
    "relu": {"act": "relu", "gain": 1.3},
    "linear": {"act": "linear", "clamp": 0.9, "gain": 0.8},
}
PAIRS = [("blur", "lrelu"), ("double", "relu"), ("rows", "linear"), ("none", "lrelu")]


@pytest.fixture
def operators(monkeypatch):
    """Public functions take the operators that a GPU would, which have no kernel here."""
    monkeypatch.setattr(fir_act_operators, "fused", lambda x, f: True)


def beside(y: Tensor, names: str) -> dict[str, Tensor]:
    """What stands beside an image of the size of y; letters: scale, noise, bias."""
    n, c, h, w = y.shape
    call = {}
    if "s" in names:
        call["scale"] = torch.rand(c, n, dtype=torch.float64).add_(0.5).t().requires_grad_()
    if "n" in names:
        shape = (n, 1, h, w) if "b" in names else (h, w)
        call["noise"] = torch.randn(shape, dtype=torch.float64)
        call["noise_strength"] = torch.randn((), dtype=torch.float64, requires_grad=True)
    if "b" in names:
        call["bias"] = torch.randn(c, dtype=torch.float64, requires_grad=True)
    return call


def plain_fir_act(x, f, *, up=1, padding=0, fir_gain=1.0, act="lrelu", gain=None, clamp=None, **by):
    y = ops.upfirdn2d(x, f, up=up, padding=padding, gain=fir_gain)
    y = y * by["scale"][:, :, None, None] if "scale" in by else y
    y = y + by["noise"] * by["noise_strength"] if "noise" in by else y
    return ops.bias_act(y, by.get("bias"), act=act, gain=gain, clamp=clamp)


@pytest.mark.parametrize("names", ["", "snb", "nb", "sb", "sn"])
@pytest.mark.parametrize("filtering, act", PAIRS)
def test_fir_act(filtering, act, names, operators):
    call = FILTERS[filtering] | ACTS[act]
    x = image(2, 4, 4, 3, layout=LAYOUTS[len(names)])
    by = beside(plain_fir_act(x, **call), names)
    torch.testing.assert_close(ops.fir_act(x, **call, **by), plain_fir_act(x, **call, **by))
    leaves = [name for name in by if name != "noise"]

    def function(x, *values):
        return ops.fir_act(x, **call, **(by | dict(zip(leaves, values, strict=True))))

    check(function, x, *(by[name] for name in leaves))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    "filtering, act", [("blur", "lrelu"), ("rows", "relu"), ("none", "linear")]
)
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_act_fir(filtering, act, biased, layout, operators):
    filtering, act = FILTERS[filtering], ACTS[act]
    x = image(2, 4, 5, 6, layout=layout)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True) if biased else None
    for call in ({**filtering, "down": 2}, filtering):
        y = ops.act_fir(x, **call, bias=b, **act)
        f, resample = call["f"], {k: v for k, v in call.items() if k != "f"}
        torch.testing.assert_close(y, ops.upfirdn2d(ops.bias_act(x, b, **act), f, **resample))
        leaves = (x,) if b is None else (x, b)
        check(lambda x, b=None, call=call: ops.act_fir(x, **call, bias=b, **act), *leaves)
