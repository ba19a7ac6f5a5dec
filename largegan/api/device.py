"""Where to compute: the device that a person names, tried before anything is opened."""

from typing import TYPE_CHECKING

from largegan.errors import EnvironmentFault

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None, default: "torch.device | None" = None) -> "torch.device":
    """The device called `name`, tried; without a name `default`, or a GPU if there is one.

    Raises EnvironmentFault.
    """
    import torch

    if name is None:
        return default or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # meta holds no numbers
    except (RuntimeError, AssertionError) as fault:  # a torch without CUDA asserts
        first = str(fault).splitlines()[0]
        raise EnvironmentFault(f"--device {name} cannot be used: {first}; try cpu") from fault
    return device
