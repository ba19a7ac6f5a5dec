"""What a GPU may do to numbers: how coarse its products are, and whether sums come in one order."""

import os

import torch

from largegan.errors import EnvironmentFault
from largegan.ops.runtime import backend, cubins


def choose_arithmetic(device: torch.device, precision: str, *, deterministic: bool) -> None:
    """For this process, from now on.

    TF32 is allowed in "tf32" and in "bf16", whose phases in sixteen bits are coarser still; in
    "fp32" it is not, though torch allows convolutions to use it. A deterministic GPU gives the same
    bits every time, as a CPU does anyhow; otherwise cuDNN may try which algorithm is fastest.
    """
    if device.type != "cuda":
        return
    coarse = precision != "fp32"
    torch.set_float32_matmul_precision("high" if coarse else "highest")
    torch.backends.cudnn.allow_tf32 = coarse
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at cuBLAS's first use
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, changes nothing
        torch.use_deterministic_algorithms(True)


def first_use(device: torch.device) -> list[str]:
    """What to say where the first iteration will take long."""
    if device.type != "cuda" or backend.mode() == "eager" or cubins.any_kept():
        return []
    return [
        "fused kernels are compiled as they are first used: up to half a minute, once; they are "
        f"kept in {cubins.folder()}"
    ]


def check_kernels(device: torch.device) -> None:
    """Raises EnvironmentFault for training on a CPU where LARGEGAN_OPS asks for kernels."""
    if device.type != "cuda" and backend.mode() == "require":
        raise EnvironmentFault(
            f"LARGEGAN_OPS is require, and training is on {device.type}, where there are no "
            "fused kernels; unset it, or train on an NVIDIA GPU"
        )
