"""torch.compile where the ops take their kernels: the emulator stands in for the driver.

Compiled graphs hold the operators, which launch when the graph runs, as on a GPU.
"""

import pytest
import torch
from torch import nn

from largegan import ops
from largegan.ops.runtime import backend
from tests.ops import emulator
from tests.ops.test_compile import adversarial_and_r1, assert_exact, compile, compiler

__all__ = ["compiler"]  # a fixture
F = ops.BINOMIAL
KERNELS = {"fir.cu", "filtered_lrelu.cu", "norm.cu", "modulate.cu", "bias_act.cu"}
OPERATORS = {"fir", "fir_act", "act_fir", "filtered_lrelu", "norm_act", "modulate", "leaky"}


class Critic(nn.Module):
    """Every operator that has a kernel."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(8, 3, 3, 3))
        self.colors = nn.Parameter(torch.randn(3))
        self.b = nn.ParameterList([torch.randn(8) for _ in range(3)])
        self.style = nn.Parameter(torch.rand(4, 8) + 0.5)
        self.strength = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):  # [4, 3, 8, 8] -> [4]
        x = ops.filtered_lrelu(x, F, F, self.colors, up=2, down=2, padding=3)
        x = ops.conv2d(x, self.w, padding=1).contiguous(memory_format=torch.channels_last)
        x = ops.act_fir(x, F, down=2, padding=1, bias=self.b[0])
        x = ops.modulate(ops.instance_norm_act(x, act="lrelu"), self.style)
        noise = torch.linspace(-1, 1, 64, device=x.device).view(8, 8)
        x = ops.fir_act(
            x, F, up=2, padding=(2, 1), fir_gain=4.0, scale=self.style + 0.1,
            noise=noise, noise_strength=self.strength, bias=self.b[1],
        )  # fmt: skip
        x = ops.bias_act(ops.downsample2d(x, F), self.b[2], clamp=2.0)
        return x.square().mean([1, 2, 3])


@pytest.mark.skipif(emulator.compiler is None, reason="needs g++")
@pytest.mark.parametrize("loss", [lambda net, x: net(x).sum(), adversarial_and_r1])
def test_one_graph_with_kernels_in_it(loss, compiler):
    critic, launched, seen = Critic(), set(), set()
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def launch(plan) -> None:
        launched.add(plan.source)
        emulator.launch(plan)

    def note(graph, inputs):
        names = (str(node.target) for node in graph.graph.nodes)
        seen.update(name.split(".")[1] for name in names if name.startswith("largegan."))
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    with backend.redirected(launch), backend.using("require"):
        compiled = compile(loss, note)
        compiled(critic, x).backward()
        assert launched == KERNELS and seen >= OPERATORS
        critic.zero_grad(set_to_none=True)
        assert_exact(critic, lambda: compiled(critic, x), lambda: loss(critic, x))


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [lambda net, x: net(x).sum(), adversarial_and_r1])
def test_inductor_on_a_gpu(loss, compiler):
    import torch._inductor.config as inductor

    critic, x = Critic().cuda(), torch.randn(4, 3, 8, 8, device="cuda").requires_grad_()
    compiled = compile(loss, "inductor")
    with inductor.patch(force_disable_caches=True), backend.using("require"):
        assert_exact(critic, lambda: compiled(critic, x), lambda: loss(critic, x))
