"""Networks whose norms and ReLUs are one kernel (run by the emulator) are the same networks."""

import copy

import pytest
import torch
from torch import Tensor, nn

from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import ConditionalBatchNorm2d, activated, frozen_statistics
from largegan.nets import biggan, biggan_deep
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.ops.runtime import backend
from tests.ops import emulator


class Count:
    launches = 0

    def __call__(self, plan) -> None:
        self.launches += plan.source == "norm.cu"
        emulator.launch(plan) if plan.source == "norm.cu" else None


def compare(net: nn.Module, *inputs: Tensor) -> int:
    """Result, gradients and buffers with kernels against those in float64; launches.

    A convolution's bias in front of a norm has no effect, and so no gradient: what is found there
    is rounding, and is held to a part of the gradient of the same convolution's weights.
    """
    count, net = Count(), net.train()
    with backend.redirected(count), backend.using("require"):
        found = results(copy.deepcopy(net), *inputs)
    doubles = [x.double() if x.is_floating_point() else x for x in inputs]
    with backend.using("eager"):
        exact = results(copy.deepcopy(net).double(), *doubles)
    vanish = 0
    for name, want in exact.items():
        weight = f"{name.rpartition('.')[0]}.weight"
        zero = name.endswith(".bias") and want.norm() < 1e-9 * exact[weight].norm()
        vanish += zero
        scale = exact[weight] if zero else want
        assert (found[name] - want).norm() <= 1e-5 * scale.norm(), name
    assert vanish
    return count.launches


def results(net: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """By name: the result, gradients of all parameters, and buffers afterwards."""
    y = net(*inputs)
    probe = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    parameters = dict(net.named_parameters())
    gradients = torch.autograd.grad((y * probe).sum(), list(parameters.values()))
    found = {"": y} | dict(zip(parameters, gradients, strict=True)) | dict(net.named_buffers())
    return {name: t.to(y.dtype) for name, t in found.items()}


def generator(module, **options) -> nn.Module:
    return module.Generator(
        16, module.GeneratorOptions(channels=4, num_classes=3, z_dim=12, **options)
    )


@pytest.mark.parametrize("module", [biggan, biggan_deep], ids=["biggan", "biggan_deep"])
def test_biggan(module):
    torch.manual_seed(0)
    net = generator(module)
    launches = compare(net, torch.randn(3, net.z_dim), torch.tensor([0, 2, 1]))
    assert launches == 6 * sum(isinstance(m, BatchNorm2d) for m in net.modules())


def test_cyclegan():
    torch.manual_seed(0)
    net = ResnetGenerator(channels=4, blocks=1)
    assert compare(net, torch.randn(2, 3, 16, 16)) == 6 * (1 + 2 + 2 + 2)


def test_where_the_kernel_does_not_stand_for_the_norm():
    """Evaluation, a batch over several ranks, another activation, a norm of another kind."""
    x, relu = torch.randn(2, 4, 4, 4), nn.functional.relu
    norm = BatchNorm2d(4)

    def refuse(plan):
        raise AssertionError("no kernel here")

    with backend.redirected(refuse):
        activated(norm, x, activation=torch.tanh)
        activated(nn.BatchNorm2d(4), x, activation=relu)
        activated(nn.Identity(), x, activation=relu)
        plain = ConditionalBatchNorm2d(4, 2, normalize=False)
        activated(plain, x, torch.eye(2), activation=relu)
        norm.mean_over_ranks = lambda mean: mean
        activated(norm, x, activation=relu)
        norm.mean_over_ranks = None
        activated(norm.eval(), x, activation=relu)


def test_frozen_statistics_stay_frozen():
    norm = BatchNorm2d(4)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with backend.redirected(emulator.launch), frozen_statistics(norm):
        activated(norm, torch.randn(2, 4, 4, 4), activation=nn.functional.relu)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
