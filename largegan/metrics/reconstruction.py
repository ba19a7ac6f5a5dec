"""How far images are from what a network makes of their own codes."""

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.metrics.side import Reconstructs, Settings, Side

BATCH = 64


def squared_errors(made: Tensor, real: Tensor) -> Tensor:
    """`[N]`: the mean square over pixels of uint8 images `[N, C, H, W]`, as if in [-1, 1]."""
    return ((made.double() - real.double()) / 127.5).square().flatten(1).mean(1)


def reconstruction(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """The mean error of all reference images, through the encoder of the generated side."""
    drawn = generated.images
    if not isinstance(drawn, Reconstructs) or reference.images is None:
        raise ConfigError(
            "the metric reconstruction sends images through a checkpoint with an encoder (ali, "
            "bigan): give images first and such a checkpoint second"
        )
    images, errors = reference.images, []
    for first in range(0, images.count, BATCH):
        real = images.read(first, min(first + BATCH, images.count))
        made = drawn.reconstructed(real)
        # Gray images of a color network and the reverse: what is compared is what was encoded.
        real = [image.expand(3, -1, -1) if len(image) == 1 else image for image in real]
        made = made.expand(-1, 3, -1, -1) if made.shape[1] == 1 else made
        errors.append(squared_errors(made, torch.stack(real)))
    found = torch.cat(errors)
    error = float(found.std() / len(found) ** 0.5) if len(found) > 1 else 0.0
    return {"reconstruction": float(found.mean()), "reconstruction_error": error}
