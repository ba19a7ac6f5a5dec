"""Networks whose norms and ReLUs are one kernel (run by the emulator) are the same networks."""

import copy

import pytest
import torch
from torch import Tensor, nn

from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import ConditionalBatchNorm2d, activated, frozen_statistics
from largegan.nets import biggan, biggan_deep
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.ops import backend
from tests.ops import emulator


class Count:
    launches = 0

    def __call__(self, plan) -> None:
        self.launches += plan.source == "norm.cu"
        emulator.launch(plan) if plan.source == "norm.cu" else None


def both(net: nn.Module, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor], int]:
    """Results, gradients and buffers without and with kernels; and how many were launched."""
    found, count = [], Count()
    for fused in (False, True):
        copied = copy.deepcopy(net)
        launcher = count if fused else (lambda plan: None)
        with backend.redirected(launcher), backend.using("require" if fused else "eager"):
            y = copied(*inputs)
            probe = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
            gradients = torch.autograd.grad((y * probe).sum(), list(copied.parameters()))
        found.append([y, *gradients, *(b.float() for b in copied.buffers())])
    return *found, count.launches


def generator(module, **options) -> nn.Module:
    return module.Generator(16, channels=4, num_classes=3, z_dim=12, **options)


@pytest.mark.parametrize("module", [biggan, biggan_deep], ids=["biggan", "biggan_deep"])
def test_biggan(module):
    torch.manual_seed(0)
    net = generator(module)
    eager, fused, launches = both(net, torch.randn(3, net.z_dim), torch.tensor([0, 2, 1]))
    norms = sum(isinstance(m, BatchNorm2d) for m in net.modules())
    assert launches == 6 * norms
    for a, b in zip(eager, fused, strict=True):
        # Biases of convolutions before a norm have no gradient: what is there is rounding.
        assert (a - b).norm() <= 1e-4 * a.norm() + 1e-4


def test_cyclegan():
    torch.manual_seed(0)
    net = ResnetGenerator(channels=4, blocks=1)
    eager, fused, launches = both(net, torch.randn(2, 3, 16, 16))
    assert launches == 6 * (1 + 2 + 2 + 2)
    for a, b in zip(eager, fused, strict=True):
        assert (a - b).norm() <= 1e-4 * a.norm() + 1e-3  # the same


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
