"""What a GPU may do to numbers; asked without one, since only switches of torch are set."""

import pytest
import torch

from largegan.errors import EnvironmentFault
from largegan.ops.runtime import backend
from largegan.run.arithmetic import check_kernels, choose_arithmetic, first_use


@pytest.fixture(autouse=True)
def as_it_was():
    cudnn, precision = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.allow_tf32, cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_float32_matmul_precision(precision)
    cudnn.allow_tf32, cudnn.benchmark, fill = before
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("precision, coarse", [("fp32", False), ("tf32", True), ("bf16", True)])
def test_only_fp32_is_exact(precision, coarse):
    choose_arithmetic(torch.device("cuda"), precision, deterministic=False)
    assert torch.backends.cudnn.allow_tf32 is coarse
    assert torch.get_float32_matmul_precision() == ("high" if coarse else "highest")
    assert torch.backends.cudnn.benchmark and not torch.are_deterministic_algorithms_enabled()


def test_deterministic():
    choose_arithmetic(torch.device("cuda"), "fp32", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark


def test_a_cpu_is_left_alone():
    before = torch.backends.cudnn.allow_tf32
    choose_arithmetic(torch.device("cpu"), "tf32", deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.allow_tf32 is before


def test_kernels_that_are_required_and_cannot_be_had(monkeypatch):
    monkeypatch.setattr(backend, "_environment", "require")
    with pytest.raises(EnvironmentFault, match="unset it, or train on an NVIDIA GPU"):
        check_kernels(torch.device("cpu"))
    check_kernels(torch.device("cuda"))


def test_the_first_use_on_a_gpu_is_announced(monkeypatch, tmp_path):
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path))
    gpu = torch.device("cuda")
    with backend.using("auto"):
        assert str(tmp_path) in "".join(first_use(gpu)) and not first_use(torch.device("cpu"))
        (tmp_path / "kernels").mkdir()
        (tmp_path / "kernels" / "one.cubin").write_bytes(b"")
        assert not first_use(gpu)
