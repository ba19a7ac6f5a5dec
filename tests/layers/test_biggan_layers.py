"""Attention, folded resampling, orthogonal weights, truncated latents: each by its definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradgradcheck

from largegan.layers import fold
from largegan.layers.attention import SelfAttention
from largegan.layers.latents import resampled
from largegan.layers.orthogonal import init_weights, orthogonal_penalty
from largegan.layers.spectral_norm import SNConv2d

SIZES = [(4, 4), (5, 3), (1, 2)]


def pair(layer: nn.Module, x: torch.Tensor, plain, folded):
    """Output, input gradient and weight gradient of both forms, in float64."""
    found = []
    for form in (plain, folded):
        x = x.detach().requires_grad_()
        y = form(x)
        slope = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view_as(y)
        found.append((y, *torch.autograd.grad((y * slope).sum(), [x, layer.weight, layer.bias])))
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("up", [True, False])
def test_folding_changes_nothing(size, kernel, up):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 2, kernel, 1, kernel // 2).double()
    height, width = size if up else (2 * size[0], 2 * size[1])
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    if up:
        plain = lambda x: conv(F.interpolate(x, scale_factor=2))  # noqa: E731
        form = fold.up_conv
    else:
        plain = lambda x: F.avg_pool2d(conv(x), 2)  # noqa: E731
        form = fold.conv_down
    for by_hand, way in ((plain, True), (plain, False)):
        for a, b in zip(
            *pair(conv, x, by_hand, lambda x, w=way: form(conv, x, fold=w)), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_folding_takes_the_normalised_weight_and_iterates_once():
    conv, twin = SNConv2d(2, 2, 3, 1, 1), SNConv2d(2, 2, 3, 1, 1)
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(
        fold.up_conv(conv, x), twin(F.interpolate(x, scale_factor=2)), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(conv.u, twin.u)


@pytest.mark.parametrize("second_order", [True, False])
def test_attention_position_by_position(second_order):
    torch.manual_seed(0)
    layer = SelfAttention(8, second_order=second_order)
    x = torch.randn(2, 8, 4, 6)
    assert torch.equal(layer(x), x), "gamma starts at 0"
    nn.init.constant_(layer.gamma, 0.7)
    keys = F.max_pool2d(layer.phi(x), 2).flatten(2)  # [N, 1, 6]
    values = F.max_pool2d(layer.g(x), 2).flatten(2)
    out = torch.zeros(2, 4, 4, 6)
    for n, i, j in ((n, i, j) for n in range(2) for i in range(4) for j in range(6)):
        scores = layer.theta(x)[n, :, i, j] @ keys[n]
        out[n, :, i, j] = values[n] @ scores.softmax(0)
    torch.testing.assert_close(layer(x), x + 0.7 * layer.o(out), rtol=1e-4, atol=1e-5)


def test_attention_written_out_has_a_second_derivative():
    torch.manual_seed(0)
    layer = SelfAttention(8, second_order=True).double()
    nn.init.constant_(layer.gamma, 0.7)
    x = torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (3, 2, 2, 2)])
def test_orthogonal_penalty_has_the_published_gradient(shape):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    loss = orthogonal_penalty([weight, torch.ones(3)])
    loss.backward()
    rows = weight.detach().flatten(1)
    between = rows @ rows.T * (1 - torch.eye(shape[0]))
    torch.testing.assert_close(loss.detach(), between.square().sum() / 2)
    torch.testing.assert_close(weight.grad.flatten(1), 2 * between @ rows)


def test_orthogonal_start_needs_no_regularisation():
    net = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Linear(6, 4))
    init_weights(net, "orthogonal")
    assert orthogonal_penalty(net.parameters()) < 1e-10
    init_weights(net, "normal")
    assert orthogonal_penalty(net.parameters()) > 1e-10


def test_resampled_latents_are_a_truncated_normal():
    random = torch.Generator().manual_seed(0)
    z = torch.randn(400, 50, generator=random)
    cut = resampled(z, 0.8, random)
    assert cut.abs().max() <= 0.8
    kept = z.abs() <= 0.8
    assert torch.equal(cut[kept], z[kept]), "what was within stays"
    density = math.exp(-0.32) / math.sqrt(2 * math.pi)
    inside = math.erf(0.8 / math.sqrt(2))
    variance = 1 - 2 * 0.8 * density / inside
    assert abs(cut.var().item() - variance) < 0.01 and abs(cut.mean().item()) < 0.01
    tiny = resampled(z[:1], 0.04, torch.Generator().manual_seed(1))
    assert tiny.abs().max() <= 0.04
