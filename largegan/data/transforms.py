"""From the loader's bytes to what a network eats, on the device."""

import torch


def to_device(
    batch: dict[str, torch.Tensor], device: torch.device | str
) -> dict[str, torch.Tensor]:
    """Move a micro-batch; images become float32 [n, C, H, W] in [-1, 1], channels-last memory.

    Images travel as bytes, a quarter of the size, and are mirrored where ``batch["flip"]`` is set;
    "flip" itself is used up. Whatever else the batch holds ("x", "label", "index") passes through.
    """
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    flip = moved.pop("flip", None)
    if "image" in moved:
        image = moved["image"]
        if flip is not None:
            image = torch.where(flip[:, None, None, None], image.flip(3), image)
        image = image.to(torch.float32, memory_format=torch.channels_last)
        moved["image"] = image.div_(127.5).sub_(1)
    return moved
