"""Which implementation an op uses: a kernel or PyTorch's operations, and why.

`LARGEGAN_OPS`, as it is when the package is imported, chooses: `auto` (default) takes kernels where
they can be had and says once why not, `require` makes that an error, `eager` takes PyTorch's
operations. Tensors that are on no NVIDIA GPU take those under every choice.

All of these are operators of this package, in whose inside no graph looks. An exporter needs what
every program knows: `using("plain")` leaves the operators out.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from largegan.errors import ConfigError, EnvironmentFault
from largegan.ops.runtime.choice import Mode, chosen, plain, using
from largegan.ops.runtime.plan import Plan

__all__ = ["Mode", "connect", "launch", "mode", "plain", "redirected", "usable", "using"]

MODES = ("require", "auto", "eager")  # that the environment may ask for
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# Read once: a compiled graph must not depend on the environment of its every call.
_environment = os.environ.get("LARGEGAN_OPS") or "auto"
_launcher: Callable[[Plan, torch.device], None] | None = None  # of GPUs: see `connect`
_redirection: Callable[[Plan], None] | None = None
_said: set[str] = set()


def connect(launcher: Callable[[Plan, torch.device], None]) -> None:
    """Makes `launcher` run the plans from now on.

    The package does so with `loader.launch` when it is imported; ops need not know the loader.
    """
    global _launcher
    _launcher = launcher


def mode() -> Mode:
    """What `LARGEGAN_OPS` says, or `using`."""
    if (by_hand := chosen()) is not None:
        return by_hand
    if _environment not in MODES:
        raise ConfigError(f"LARGEGAN_OPS is {_environment!r}; set it to one of {', '.join(MODES)}")
    return _environment


@contextmanager
def redirected(launcher: Callable[[Plan], None]) -> Iterator[None]:
    """Within it, plans go to `launcher` and tensors of every device count as usable.

    So kernels are compiled, or run by an emulator, on machines without a GPU.
    """
    global _redirection
    before, _redirection = _redirection, launcher
    try:
        yield
    finally:
        _redirection = before


def usable(x: Tensor) -> bool:
    """Whether an op on `x` should try its kernel: on an NVIDIA GPU, in 32 or 16 bits, not empty."""
    if mode() in ("eager", "plain"):  # asked first: a word that is none must not pass
        return False
    here = _redirection is not None or (x.is_cuda and torch.version.hip is None)
    return here and x.dtype in DTYPES and x.numel() > 0


def launch(plan: Plan, device: torch.device) -> bool:
    """Queues a kernel on torch's current stream of `device`.

    False where it cannot be had: then nothing has run and the caller uses PyTorch's operations.
    The reason is said once in a warning; with `LARGEGAN_OPS=require` it is raised as
    EnvironmentFault. A first use inside a CUDA-graph capture raises RuntimeError.
    """
    if _redirection is not None:
        _redirection(plan)
        return True
    try:
        _launcher(plan, device)
    except EnvironmentFault as fault:
        if mode() == "require":
            raise
        _say(f"{plan.source}: {fault}")
        return False
    return True


def _say(reason: str) -> None:
    if reason not in _said:
        _said.add(reason)
        warnings.warn(
            f"a fused kernel is not used, PyTorch's operations are: {reason} "
            "(python -m largegan.ops doctor says more; LARGEGAN_OPS=eager silences this)",
            stacklevel=4,
        )
