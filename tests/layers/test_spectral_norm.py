"""Spectral norm against the singular value decomposition, finite differences, and its promises."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from largegan.layers.spectral_norm import SNConv2d, SNConvTranspose2d, SNEmbedding, SNLinear

LAYERS = {
    "linear": (lambda: SNLinear(5, 3), lambda: torch.randn(2, 5)),
    "conv": (lambda: SNConv2d(2, 3, 3, 1, 1), lambda: torch.randn(2, 2, 4, 4)),
    "conv transpose": (lambda: SNConvTranspose2d(2, 3, 4, 2, 1), lambda: torch.randn(2, 2, 3, 3)),
    "embedding": (lambda: SNEmbedding(4, 3), lambda: torch.tensor([0, 3])),
}
each_layer = pytest.mark.parametrize("make, data", LAYERS.values(), ids=LAYERS)


def matrix(layer):
    """The weight with its output dimension first, as the paper flattens it."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return weight.flatten(1)


@each_layer
def test_sigma_is_the_largest_singular_value(make, data):
    torch.manual_seed(0)
    layer, x = make(), data()
    for _ in range(100):
        layer(x)
    sigma = torch.linalg.matrix_norm(matrix(layer), 2)
    torch.testing.assert_close(layer.eval().normalized_weight(), layer.weight / sigma)


@each_layer
def test_evaluation_uses_the_stored_vectors(make, data):
    layer, x = make().eval(), data()
    before = layer.u.clone(), layer.v.clone()
    layer(x)
    assert torch.equal(layer.u, before[0]) and torch.equal(layer.v, before[1])
    layer.train()(x)
    assert not torch.equal(layer.v, before[1])


def test_one_iteration_is_the_papers():
    layer = SNLinear(5, 3)
    w, u = layer.weight.detach(), layer.u.clone()
    layer(torch.randn(2, 5))
    v = w.T @ u / (w.T @ u).norm()
    torch.testing.assert_close(layer.v, v)
    torch.testing.assert_close(layer.u, w @ v / (w @ v).norm())


@pytest.mark.parametrize("name", ["linear", "conv", "conv transpose"])
def test_exact_to_second_order(name):
    """In the weight and in the input, with sigma's dependence on the weight."""
    make, data = LAYERS[name]
    torch.manual_seed(0)
    layer, x = make().double().eval(), data().double().requires_grad_()

    def function(x, weight, bias):
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, parameters, (x,)).tanh()

    inputs = (x, layer.weight, layer.bias)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_a_penalty_after_more_forwards_uses_its_own_vectors():
    """Later forwards move u and v in place; an earlier graph must not notice."""
    torch.manual_seed(0)
    layer, x = SNLinear(4, 2), torch.randn(3, 4, requires_grad=True)
    twin = copy.deepcopy(layer)

    def penalty(net):
        (slope,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        return slope.square().sum()

    loss = penalty(layer)
    layer(x), layer(x)
    loss.backward()
    penalty(twin).backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad, rtol=0, atol=0)


def test_a_step_does_not_depend_on_how_its_batch_is_split():
    """Three forwards a micro-batch: one, two or four micro-batches see the same weights."""
    torch.manual_seed(0)
    start, data = SNLinear(4, 2), torch.randn(3, 4, 4)
    results = []
    for micro_batches in (1, 2, 4):
        layer = copy.deepcopy(start)
        for _ in range(2):  # phases
            layer.zero_grad()
            for i in range(micro_batches):
                layer.accumulating = i > 0
                for x in data:
                    layer(x.chunk(micro_batches)[i]).square().sum().backward()
        results.append((layer.u.clone(), layer.v.clone(), layer.weight.grad))
    for u, v, gradient in results[1:]:
        assert torch.equal(u, results[0][0]) and torch.equal(v, results[0][1])
        torch.testing.assert_close(gradient, results[0][2])


def test_state_and_copies():
    layer = SNConv2d(2, 3, 3)
    assert set(layer.state_dict()) == {"weight", "bias", "u", "v"}
    twin = copy.deepcopy(layer)
    layer(torch.randn(1, 2, 4, 4))
    assert not torch.equal(layer.u, twin.u)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(layer.u, twin.u)
    plain = nn.Conv2d(2, 3, 3)
    assert list(dict(plain.named_parameters())) == list(dict(layer.named_parameters()))


def test_autocast_leaves_sigma_in_float32():
    layer, x = SNLinear(64, 64), torch.randn(2, 64)
    exact = copy.deepcopy(layer)
    exact(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x)
    assert torch.equal(layer.u, exact.u)
