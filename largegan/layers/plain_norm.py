"""Normalization as image translation uses it, chosen by name."""

from itertools import zip_longest
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.ops import instance_norm_act
from largegan.ops.runtime import backend

Norm = Literal["instance", "batch", "none"]


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm, by the quickest of torch's operators that is right.

    Not torch's own: in torch 2.15 its backward pass on a CPU is wrong when the gradient arrives in
    channels-last memory, without a word (`tests/layers/test_plain_norm.py` would show it). A group
    norm with one channel a group is the same thing, and so is batch norm of one image, which on a
    CPU takes a quarter of the time in channels-last memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        if backend.usable(x):
            return instance_norm_act(x, act="linear", eps=self.eps)
        if x.device.type != "cpu" or not is_channels_last(x) or backend.plain():
            return F.group_norm(x, self.num_features, eps=self.eps)
        images = [
            F.batch_norm(image, None, None, training=True, eps=self.eps) for image in x.split(1)
        ]
        return in_own_layout(images[0] if len(images) == 1 else torch.cat(images))


def is_channels_last(x: Tensor) -> bool:
    """Whether memory is laid out so, and in no other way."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def in_own_layout(y: Tensor) -> Tensor:
    """`y`, whose gradient will arrive laid out as `y` is.

    On a CPU torch 2.15's batch norm of a single image takes a gradient of another layout for one
    of its own: it returns wrong numbers, without a word.
    """
    if y.requires_grad:
        stride = y.stride()  # the hook must not hold y
        y.register_hook(lambda dy: dy if dy.stride() == stride else _like(dy, stride))
    return y


def _like(dy: Tensor, stride: tuple[int, ...]) -> Tensor:
    return torch.empty_strided(dy.shape, stride, dtype=dy.dtype, device=dy.device).copy_(dy)


def rectified(norm: nn.Module, x: Tensor) -> Tensor:
    """`norm(x).relu()`, in one op where that is an instance norm and a kernel does it."""
    if type(norm) is InstanceNorm2d and backend.usable(x):
        return instance_norm_act(x, act="relu", eps=norm.eps)
    return F.relu_(norm(x))  # in place: neither a norm nor a convolution needs its result


def run(layers: nn.Sequential, x: Tensor) -> Tensor:
    """`layers(x)`, with norms and the ReLUs behind them as `rectified`."""
    done = False
    for layer, after in zip_longest(layers, layers[1:]):
        if done:  # this ReLU
            done = False
        elif type(layer) is InstanceNorm2d and type(after) is nn.ReLU:
            x, done = rectified(layer, x), True
        else:
            x = layer(x)
    return x


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that can normalize each image by itself when it is not training.

    `own_statistics` makes that choice. Isola et al. (2017, section 3.4) translate one image at a
    time by the statistics of that image, not by running averages; so an image's translation is
    the same in every batch.
    """

    own_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.own_statistics:
            return (
                in_own_layout(super().forward(x)) if x.device.type == "cpu" else super().forward(x)
            )
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def norm2d(norm: Norm, features: int) -> nn.Module:
    """Instance norm has neither weights nor running statistics; batch norm has both."""
    if norm == "batch":
        return BatchNorm2d(features)
    return InstanceNorm2d(features) if norm == "instance" else nn.Identity()


def has_bias(norm: Norm) -> bool:
    """Whether a convolution before this norm has a bias, as published: only before instance norm
    (which takes it away again; batch norm has its own)."""
    return norm == "instance"


def use_own_statistics(net: nn.Module) -> nn.Module:
    """Lets every batch norm of `net` see one image at a time in evaluation mode; see there."""
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.own_statistics = True
    return net


def init_weights(net: nn.Module, *, xavier: bool = False) -> None:
    """Convolutions and linear maps from N(0, 0.02), or Glorot-normal with gain 0.02; no biases.

    Gains of batch norm start at N(1, 0.02) (Isola et al., 2017, and Park et al., 2020).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if xavier:
                nn.init.xavier_normal_(module.weight, gain=0.02)
            else:
                nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
