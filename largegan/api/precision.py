"""In how many bits a model computes."""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch

from largegan.errors import ConfigError

SIXTEEN = (torch.bfloat16, torch.float16)


class Precision(NamedTuple):
    """float32, or autocast to sixteen bits; weights and results are float32 in either."""

    autocast: torch.dtype | None = None

    @staticmethod
    def of(dtype: torch.dtype | None) -> "Precision":
        """Raises ConfigError for other types."""
        if dtype not in (None, torch.float32, *SIXTEEN):
            raise ConfigError(
                f"dtype is {dtype}; give torch.float32, torch.bfloat16 or torch.float16"
            )
        return Precision(dtype if dtype in SIXTEEN else None)

    def on(self, device: torch.device) -> AbstractContextManager:
        """Within it networks compute so."""
        kind = self.autocast or torch.bfloat16  # unused unless enabled
        return torch.autocast(device.type, kind, enabled=self.autocast is not None)
