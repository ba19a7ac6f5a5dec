"""Any tensor can be cut: shapes, strides, and more ranks than numbers."""

from functools import partial

import pytest
import torch
from torch import nn

from largegan.parallel.moments import continues, fields_of_weights
from largegan.parallel.pieces import Form, Window, cut, length, span

TENSORS = {
    "no dimensions": lambda: torch.tensor(3.0),
    "one element": lambda: torch.ones(1, 1),
    "fewer than ranks": lambda: torch.arange(3.0),
    "rows": lambda: torch.arange(24.0).view(4, 6),
    "transposed": lambda: torch.arange(24.0).view(4, 6).t(),
    "channels last": lambda: (
        torch.arange(120.0).view(2, 3, 4, 5).to(memory_format=torch.channels_last)
    ),
    "with gaps": lambda: torch.arange(48.0).view(4, 12)[:, ::2],
    "expanded": lambda: torch.arange(4.0)[:, None].expand(4, 6),
    "empty": lambda: torch.ones(0, 3),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_there_and_back(kind, ranks):
    """The pieces of all ranks, one after the other, are the tensor; no piece is longer than one."""
    tensor = TENSORS[kind]()
    form = Form(tensor)
    flat = form.flat(tensor)
    pieces = [cut(flat, rank, ranks) for rank in range(ranks)]
    assert all(len(piece) <= length(form.numel, ranks) for piece in pieces)
    starts, stops = zip(*(span(form.numel, rank, ranks) for rank in range(ranks)), strict=True)
    assert starts[0] == 0 and stops[-1] == form.numel and starts[1:] == stops[:-1]
    again = form.view(torch.cat(pieces))
    assert torch.equal(again, tensor) and again.shape == tensor.shape


def test_flat_memory_is_shared_where_it_can_be():
    """Dense tensors of any order of dimensions cost no copy; others are copied once."""
    for kind, make in TENSORS.items():
        tensor = make()
        shared = Form(tensor).flat(tensor).data_ptr() == tensor.data_ptr()
        assert shared == (kind not in ("with gaps", "expanded")), kind


def test_a_window_is_the_same_parameter_open_or_closed():
    parameter = nn.Parameter(torch.arange(6.0).view(2, 3).t())
    window, before = Window(parameter), parameter.detach().clone()
    flat = window.flat().clone()
    window.close()
    assert parameter.numel() == 0
    window.open(flat)
    assert torch.equal(parameter, before) and parameter.requires_grad
    (parameter * torch.arange(6.0).view(3, 2)).sum().backward()
    gradient = window.take_gradient()
    assert torch.equal(window.form.view(gradient), torch.arange(6.0).view(3, 2))
    assert parameter.grad is None and not window.take_gradient().any()
    with torch.no_grad():
        parameter.add_(1)
    assert torch.equal(window.form.view(flat), before + 1), "what it shows is not a copy"


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (torch.optim.Adam, {"exp_avg", "exp_avg_sq"}),
        (torch.optim.RMSprop, {"square_avg", "momentum_buffer"}),  # it may begin
        (lambda params: torch.optim.SGD(params, lr=0.1), {"momentum_buffer"}),
        (lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9), {"momentum_buffer"}),
    ],
)
def test_moments_are_told_from_counters(make, fields):
    """Also of a weight without dimensions, whose moments look like a counter of steps."""
    assert fields_of_weights(make) == fields


def test_another_optimizers_state_is_told():
    """Momentum may begin or end with a schedule; Adam and SGD have no use for each other's."""
    adam, sgd = torch.optim.Adam, partial(torch.optim.SGD, lr=0.1)
    moments, momentum = {"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"}
    assert continues(adam, moments) and not continues(adam, momentum)
    assert continues(sgd, momentum) and continues(partial(sgd, momentum=0.9), momentum)
    assert not continues(sgd, moments) and not continues(adam, moments - {"step"})
