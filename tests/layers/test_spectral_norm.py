"""Spectral norm against the singular value decomposition, finite differences, and its promises."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from largegan.layers.spectral_norm import (
    SNConv2d,
    SNConvTranspose2d,
    SNEmbedding,
    SNLinear,
    Spectral,
    normalized_once,
)

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
    w, u = layer.weight.detach(), layer.u[0].clone()
    layer(torch.randn(2, 5))
    v = w.T @ u / (w.T @ u).norm()
    torch.testing.assert_close(layer.v[0], v)
    torch.testing.assert_close(layer.u[0], w @ v / (w @ v).norm())
    torch.testing.assert_close(layer.sigma[0], layer.u[0] @ w @ v)


@each_layer
def test_several_singular_values(make, data):
    """The layer follows the top ones in order; how many does not change what it computes."""
    torch.manual_seed(0)
    layer, x = make(), data()
    layer = type(layer)(*shape_of(layer), spectral=Spectral(values=3, iterations=4))
    for _ in range(60):
        layer(x)
    wanted = torch.linalg.svdvals(matrix(layer))[:3]
    torch.testing.assert_close(layer.sigma, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.u @ layer.u.T, torch.eye(3), rtol=0, atol=1e-3)


def shape_of(layer) -> tuple:
    if isinstance(layer, nn.Embedding):
        return layer.num_embeddings, layer.embedding_dim
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0]


def test_more_iterations_are_more_of_the_same():
    torch.manual_seed(0)
    once, thrice = SNLinear(5, 3), SNLinear(5, 3, spectral=Spectral(iterations=3))
    thrice.load_state_dict(once.state_dict())
    thrice(torch.randn(2, 5))
    for _ in range(3):
        once(torch.randn(2, 5))
    torch.testing.assert_close(thrice.u, once.u)


def test_evaluation_may_refine_copies():
    """Averaged vectors are shorter than one; sigma would be too small, and weights too large."""
    torch.manual_seed(0)
    layer = SNLinear(5, 3, spectral=Spectral(refine_in_eval=True))
    for _ in range(100):
        layer(torch.randn(2, 5))
    exact = layer.eval().normalized_weight()
    layer.u.mul_(0.3), layer.v.mul_(0.3)
    before = layer.u.clone()
    torch.testing.assert_close(layer.normalized_weight(), exact)
    assert torch.equal(layer.u, before), "copies are refined"


def test_one_update_a_step_when_asked():
    layer, x = SNLinear(5, 3, spectral=Spectral(update="step")), torch.randn(2, 5)
    layer.accumulating = False
    layer(x)
    first = layer.u.clone()
    layer(x)
    assert torch.equal(layer.u, first)
    layer.accumulating = True  # the next micro-batch sees the same weights
    layer(x)
    assert torch.equal(layer.u, first)
    layer.accumulating = False
    layer(x)
    assert not torch.equal(layer.u, first)


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
    assert set(layer.state_dict()) == {"weight", "bias", "u", "v", "sigma"}
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


def test_a_network_that_is_normalized_once_computes_the_same():
    """In every layer, and whether vectors are refined in evaluation mode or not."""
    for refine in (False, True):
        spectral = Spectral(refine_in_eval=refine)
        net = nn.Sequential(
            SNConv2d(3, 4, 3, spectral=spectral),
            SNConvTranspose2d(4, 2, 2, spectral=spectral),
            nn.Flatten(),
            SNLinear(72, 5, spectral=spectral),
        )
        x = torch.randn(2, 3, 7, 7)
        net(x)  # a power iteration
        net.eval()
        once, before = normalized_once(net), net[0].weight.clone()
        assert torch.equal(once(x), net(x)) and torch.equal(net[0].weight, before)
        assert torch.equal(once[0].weight, net[0].normalized_weight())
        once[0].u.zero_()
        assert torch.equal(once(x), net(x)), "nothing is computed from the vectors any more"
