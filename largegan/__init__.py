"""largegan: one trainer for image GANs. Importing it is cheap; torch loads with what needs it."""

from pathlib import Path
from typing import TYPE_CHECKING

from largegan.files.version import VERSION

if TYPE_CHECKING:
    import torch

    from largegan.api.generator import Generator
    from largegan.api.translator import Translator

__version__ = VERSION
__all__ = ["load"]


def load(
    source: "str | Path",
    *,
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
    download: bool = False,
) -> "Generator | Translator":
    """Opens a trained model: `largegan.load("runs/faces").sample(8)`.

    Args:
        source: a run, one of its checkpoints, a folder that `largegan publish` or `largegan
            export` wrote, or OWNER/NAME of a model on the Hugging Face hub.
        device: where to compute; None for a GPU if there is one.
        dtype: None or torch.float32, or torch.bfloat16 or torch.float16 for autocast.
        download: whether a model of the hub may be fetched; without it the hub's cache on this
            machine is looked into and nothing connects.

    Returns:
        A `Generator`, or a `Translator` where the recipe translates. Nothing that is read is
        executed or unpickled.

    Raises:
        largegan.errors.ConfigError: nothing is there, or what it is cannot be used here.
        largegan.errors.DataError: it is damaged.
    """
    from largegan.api.load import open_model

    return open_model(source, device=device, dtype=dtype, download=download)
