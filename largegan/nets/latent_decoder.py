"""From latents that a generator makes to pictures: by an exported decoder, or as false colors."""

from pathlib import Path

import torch
from torch import Tensor

from largegan.errors import ConfigError, DataError, EnvironmentFault

FALSE_COLOR_RANGE = 3.0  # latents of unit variance are within this nearly always


class LatentDecoder:
    """Latents `[N, C, h, w]`, times `scale` as training sees them -> images `[N, 3, H, W]`.

    `file` is a program that `torch.export.save` wrote (.pt2), whose batch may vary: it takes
    latents as the encoder gave them, before the scale, and gives images in [-1, 1]. It is no part
    of a recipe's state. Without it the first three channels are shown as red, green and blue.
    """

    def __init__(self, file: str | None, *, scale: float):
        if file is not None and not file.endswith(".pt2"):
            raise ConfigError(
                f"recipe.decoder {file} is no .pt2; export the decoder with torch.export.save"
            )
        self.file, self.scale = file, scale
        self.program = None

    def open(self, device: torch.device) -> None:
        """Raises `EnvironmentFault` when the file is not here, `DataError` when it is damaged."""
        if self.file is None or self.program is not None:
            return
        if not Path(self.file).is_file():
            raise EnvironmentFault(
                f"the decoder {self.file} is not here; bring it, or say where it is with "
                "recipe.decoder"
            )
        try:
            self.program = torch.export.load(self.file).module().to(device)
        except Exception as fault:
            raise DataError(
                f"{self.file} cannot be read as an exported program ({fault}); export it again "
                "with torch.export.save"
            ) from fault

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        if self.file is None:
            colors = latents[:, [min(i, latents.shape[1] - 1) for i in range(3)]]
            return (colors / FALSE_COLOR_RANGE).clamp(-1, 1)
        self.open(latents.device)
        try:
            images = self.program(latents.float().contiguous() / self.scale)
        except (RuntimeError, ValueError, AssertionError, TypeError) as fault:
            raise ConfigError(
                f"the decoder {self.file} does not take latents of {list(latents.shape)} "
                f"({str(fault).splitlines()[0]}); export it for this shape and any batch"
            ) from fault
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise ConfigError(
                f"the decoder {self.file} gives {list(images.shape)} instead of images [N, 3, H, W]"
            )
        return images.float().clamp(-1, 1)
