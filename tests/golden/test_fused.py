"""The StyleGAN2 cases once more, with the fused kernels: on a GPU, and in the emulator."""

import contextlib

import pytest
import torch
from torch import Tensor

from largegan.ops.runtime import backend
from tests.golden import goldcheck, nvlabs_ops, stylegan2
from tests.golden.test_golden import CASES, FOLDER, SLACK, family
from tests.ops import emulator

CHECKS = {
    "stylegan2-ada": stylegan2.check,
    "ops NVlabs/stylegan2-ada-pytorch": nvlabs_ops.check,
}
NAMES = [name for name, meta in CASES.items() if family(meta) in CHECKS]


class CaseOn(goldcheck.Case):
    """A case whose tensors are on a device."""

    def __init__(self, name: str, device: str):
        super().__init__(FOLDER, name, slack=SLACK)
        self.device = device

    def input(self, name: str) -> Tensor:
        return super().input(name).to(self.device)

    def expected(self, name: str) -> Tensor:
        return super().expected(name).to(self.device)


@contextlib.contextmanager
def kernels_in(device: str, launched: set[str]):
    """New tensors are on the device, and the ops' kernels are used, or it is an error."""
    launch = backend.launch

    def note(plan, where) -> bool:
        launched.add(plan.source)
        return launch(plan, where)

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.device(device))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        stack.enter_context(backend.using("require"))
        # Sums in another order put a pixel on the other side of an activation's bend now and then.
        torch.use_deterministic_algorithms(device == "cuda")
        stack.callback(torch.use_deterministic_algorithms, False)
        if device == "cpu":
            stack.enter_context(backend.redirected(emulator.launch))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(backend, "launch", note)
        yield


EMULATED = pytest.mark.skipif(emulator.compiler is None, reason="needs g++")


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cuda", marks=pytest.mark.gpu),
        pytest.param("cpu", marks=[pytest.mark.slow, EMULATED]),  # minutes each
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_case_with_fused_ops(name, device):
    case, launched = CaseOn(name, device), set()
    with kernels_in(device, launched):
        CHECKS[family(CASES[name])](case)
    assert launched >= {"fir.cu", "bias_act.cu", "modulate.cu"}
    assert case.checked == case.outputs()
    assert not case.failures, "\n".join(case.failures)
