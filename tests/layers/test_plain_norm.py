"""Norms of the translation networks: right in every memory format, forward and backward."""

import pytest
import torch

from largegan.layers.plain_norm import norm2d

FORMATS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}


def transposed(x: torch.Tensor) -> torch.Tensor:
    """The same numbers as a sequence of pixels leaves them that was transposed back."""
    return x.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).unflatten(2, x.shape[2:])


LAYOUTS = {
    "rows": torch.Tensor.contiguous,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": transposed,
    "part of a wider image": lambda x: torch.cat([x, x], 3)[..., : x.shape[3]],
    "part of more channels": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "columns": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("gradients", LAYOUTS)
@pytest.mark.parametrize("inputs", FORMATS)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_gradients_do_not_depend_on_the_memory_format(norm, inputs, gradients, images):
    """Against the formula in float64."""
    torch.manual_seed(0)
    layer = norm2d(norm, 3)
    x = torch.randn(images, 3, 5, 4).to(memory_format=FORMATS[inputs]).requires_grad_()
    weight = torch.randn(images, 3, 5, 4)
    y = layer(x)
    (got,) = torch.autograd.grad(y, x, LAYOUTS[gradients](weight))
    exact = x.detach().double().requires_grad_()
    over = (2, 3) if norm == "instance" else (0, 2, 3)
    var, mean = torch.var_mean(exact, over, correction=0, keepdim=True)
    want = (exact - mean) / (var + layer.eps).sqrt()
    torch.testing.assert_close(y.double(), want, rtol=0, atol=1e-5)
    (slope,) = torch.autograd.grad(want, exact, weight.double())
    torch.testing.assert_close(got.double(), slope, rtol=0, atol=1e-5)
