"""From the loader's bytes to what a network eats, on the device."""

import dataclasses

import torch
import torch.nn.functional as F

from largegan.errors import ConfigError

IMAGES = {
    # name: what belongs to it; the images of a pair share one flip and one place to cut
    "image": ("flip", "crop"),
    "image_a": ("flip_a", "crop_a"),
    "image_b": ("flip_b", "crop_b"),
}


@dataclasses.dataclass(frozen=True)
class Framing:
    """How images are brought to the size that is trained on.

    ``resize``: pixels of the shorter side, the longer one in proportion (bicubic, antialiased);
    ``crop``: side of the square that is then cut out. None leaves the step out.
    """

    resize: int | None = None
    crop: int | None = None

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) before the crop."""
        if self.resize is None:
            return height, width
        short = min(height, width)
        return round(height * self.resize / short), round(width * self.resize / short)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what is trained on; raises ConfigError when the crop is too large."""
        height, width = self.resized(height, width)
        if self.crop is None:
            return height, width
        if self.crop > min(height, width):
            raise ConfigError(
                f"data.crop {self.crop} is larger than the images, {height}x{width} (height x "
                "width) at that point; lower it or set data.resize"
            )
        return self.crop, self.crop

    def jitter(self, height: int, width: int) -> tuple[int, int] | None:
        """How far a crop can move (rows, columns); None when nothing is cut."""
        if self.crop is None:
            return None
        before, after = self.resized(height, width), self.size(height, width)
        return before[0] - after[0], before[1] - after[1]


def to_device(
    batch: dict[str, torch.Tensor],
    device: torch.device | str,
    framing: Framing = Framing(),
) -> dict[str, torch.Tensor]:
    """Move a micro-batch; images become float32 [n, C, H, W] in [-1, 1], channels-last memory.

    Images travel as bytes, a quarter of the size. They are mirrored where ``batch["flip"]`` is
    set, resized, and cut where ``batch["crop"]`` says (in the middle where it does not); these
    two are used up. Whatever else the batch holds ("x", "label", "index") passes through.
    """
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    notes = {name: moved.pop(name, None) for names in IMAGES.values() for name in names}
    for name, (flip, crop) in IMAGES.items():
        if name in moved:
            flips = notes[flip] if notes[flip] is not None else notes["flip"]
            places = notes[crop] if notes[crop] is not None else notes["crop"]
            moved[name] = _frame(moved[name], framing, places, flips)
    return moved


def _frame(
    image: torch.Tensor,
    framing: Framing,
    places: torch.Tensor | None,
    flips: torch.Tensor | None,
) -> torch.Tensor:
    """uint8 or uint16 [n, C, h, w] -> float32 [n, C, H, W] in [-1, 1].

    65535 of uint16 is as white as 255 of uint8. Latents are float32, and keep their numbers.
    """
    latents = image.is_floating_point()
    if image.dtype == torch.uint16:  # torch can do little else with it
        image = image.to(torch.float32, memory_format=torch.channels_last).div_(257)
    if flips is not None:
        image = torch.where(flips[:, None, None, None], image.flip(3), image)
    if latents:
        return image.to(memory_format=torch.channels_last)
    before = framing.resized(*image.shape[2:])
    if before != tuple(image.shape[2:]):
        image = image.to(torch.float32, memory_format=torch.channels_last)
        image = F.interpolate(image, before, mode="bicubic", antialias=True).clamp_(0, 255)
    if framing.crop is not None:
        image = _cut(image, framing.crop, places)
    image = image.to(torch.float32, memory_format=torch.channels_last)
    return image.div_(127.5).sub_(1)


def _cut(image: torch.Tensor, side: int, places: torch.Tensor | None) -> torch.Tensor:
    """Squares [n, C, side, side] at rows and columns ``places`` [n, 2]; None: in the middle."""
    n, _, height, width = image.shape
    if places is None:
        middle = torch.tensor([[(height - side) // 2, (width - side) // 2]], device=image.device)
        places = middle.expand(n, 2)
    along = torch.arange(side, device=image.device)
    rows = (places[:, 0, None] + along)[:, :, None]  # [n, side, 1]
    columns = (places[:, 1, None] + along)[:, None, :]  # [n, 1, side]
    each = torch.arange(n, device=image.device)[:, None, None]
    return image.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)
