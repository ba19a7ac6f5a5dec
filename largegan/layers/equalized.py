"""Equalized learning rate: weights start as N(0, 1) and are scaled where they are used.

So Adam, which moves all weights by the same amount, moves all of them by the same part of their
spread (Karras et al., 2018, Sec. 4.1). Bias, activation and clamp come with the layer.
"""

import torch
from torch import Tensor, nn

from largegan.ops import act_conv2d_down, bias_act, conv2d_resample
from largegan.ops.bias_act.activations import ACTIVATIONS


class EqualizedLinear(nn.Module):
    """`[N, inputs]` -> `[N, outputs]`: `act(x W^T * lr / sqrt(inputs) + b * lr)`.

    `lr_multiplier` slows the layer down: weights start as N(0, 1) / lr_multiplier.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.activation, self.bias_gain = activation, lr_multiplier
        self.weight_gain = lr_multiplier / inputs**0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias_init) / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        return bias_act(
            x @ weight.t(), (self.bias * self.bias_gain).to(x.dtype), act=self.activation
        )


class EqualizedConv2d(nn.Module):
    """Convolution that keeps the size, or halves or doubles it through the FIR filter `f`.

    `[N, inputs, H, W]` -> `[N, outputs, H', W']`. `clamp` bounds the result, times `gain`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        activation: str = "lrelu",
        bias: bool = True,
        up: int = 1,
        down: int = 1,
        f: tuple[float, ...] | None = None,
        clamp: float | None = None,
    ):
        super().__init__()
        self.activation, self.up, self.down, self.f, self.clamp = activation, up, down, f, clamp
        self.weight_gain = 1 / (inputs * kernel**2) ** 0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(
        self, x: Tensor, *, gain: float = 1.0, after: "EqualizedConv2d | None" = None
    ) -> Tensor:
        """`after`, with x its `convolve`: its bias and activation are one op with this filter."""
        y = self.convolve(x) if after is None else self.convolve_activated(x, after)
        return scaled_bias_act(y, self.bias, self.activation, gain=gain, clamp=self.clamp)

    def convolve_activated(self, x: Tensor, before: "EqualizedConv2d") -> Tensor:
        return act_conv2d_down(
            x,
            self.scaled_weight(x),
            self.f,
            down=self.down,
            padding=self.weight.shape[-1] // 2,
            bias=before.bias,
            **scaled_act(before.activation, gain=1.0, clamp=before.clamp),
        )

    def convolve(self, x: Tensor) -> Tensor:
        """Without bias and activation."""
        weight = self.scaled_weight(x)
        return conv2d_resample(
            x,
            weight,
            self.f,
            up=self.up,
            down=self.down,
            padding=weight.shape[-1] // 2,
            flip_weight=self.up == 1,
        )

    def scaled_weight(self, x: Tensor) -> Tensor:
        return (self.weight * self.weight_gain).to(x.dtype)


def scaled_bias_act(
    x: Tensor, bias: Tensor | None, activation: str, *, gain: float, clamp: float | None
) -> Tensor:
    """`bias_act` with `gain` on top of the activation's own, and a clamp that grows with it."""
    bias = None if bias is None else bias.to(x.dtype)
    return bias_act(x, bias, **scaled_act(activation, gain=gain, clamp=clamp))


def scaled_act(activation: str, *, gain: float, clamp: float | None) -> dict:
    """The arguments of `bias_act` for that."""
    gains = ACTIVATIONS[activation].gain * gain
    return {"act": activation, "gain": gains, "clamp": None if clamp is None else clamp * gain}
