"""A trained translation in Python: images in, images of the other domain out, in the same form."""

from typing import Any

import torch
from torch import Tensor, nn

from largegan.api.pictures import Form, take
from largegan.api.precision import Precision
from largegan.errors import ConfigError
from largegan.restore import Restored
from largegan.restore.exported import Exported, channels_of, choose_direction
from largegan.translation import memory
from largegan.translation.tiles import Box
from largegan.translation.tiling import Tiler

LEAST_SIDE = 8  # pixels


class Translator:
    """What `largegan.load` returns for a recipe that translates.

    Attributes:
        recipe: its name in the table of recipes.
        nimg: images seen in training; 0 if that is not known.
        directions: what it can do, such as a_to_b and b_to_a.
        device: where it computes.
        nets: the translating networks, averaged, by their directions.
    """

    def __init__(
        self,
        recipe: str,
        nimg: int,
        nets: dict[str, nn.Module],
        device: torch.device,
        precision: Precision,
    ):
        self.recipe, self.nimg, self.device = recipe, nimg, device
        self.nets = {
            direction: net.to(device).eval().requires_grad_(False)
            for direction, net in nets.items()
        }
        self.directions = tuple(nets)
        self._precision = precision
        self._costs: dict[str, float] = {}  # bytes a pixel, by direction

    @staticmethod
    def of_recipe(found: Restored, device: torch.device, precision: Precision) -> "Translator":
        """Of a run, a checkpoint or a published model."""
        nets = {way: found.recipe.translator(way) for way in found.recipe.directions}
        return Translator(found.name, found.nimg, nets, device, precision)

    @staticmethod
    def of_network(found: Exported, device: torch.device, precision: Precision) -> "Translator":
        """Of an exported folder, which has one direction."""
        way = found.direction or ""  # an exported translator has one
        return Translator(found.recipe, 0, {way: found.net}, device, precision)

    def __repr__(self) -> str:
        return f"<{self.recipe} translator {', '.join(self.directions)}, on {self.device}>"

    @torch.no_grad()
    def translate(
        self, images: Any, *, direction: str | None = None, to: Form | None = None
    ) -> Any:
        """Pictures of one domain as the other would show them.

        Args:
            images: one picture, a list or a batch, of any size from 8 pixels on; see
                `api.pictures` for what they may be.
            direction: one of `directions`; None for the first.
            to: "numpy", "pil" or "torch"; None for the form they came in.

        Returns:
            One translation for one picture, else as many as there were; `scale` times as large
            where the recipe enlarges. What does not fit into memory at once is translated in
            tiles, with the norms' statistics of a reduced image.

        Raises:
            ConfigError: not in this direction. DataError: a picture that cannot be used.
        """
        way = choose_direction(direction, self.directions, f"the {self.recipe}") or ""
        given = take(images, channels_of(self.nets[way]))
        for image in given.images:
            if min(image.shape[1:]) < LEAST_SIDE:
                raise ConfigError(
                    f"a picture of {image.shape[2]}x{image.shape[1]} pixels is too small; from "
                    f"{LEAST_SIDE} on they can be translated"
                )
        return given.answer([self._translated(way, image) for image in given.images], to)

    def _translated(self, way: str, image: Tensor) -> Tensor:
        """float `[C', H', W']`; whole, or in tiles where memory ends."""
        net, channels = self.nets[way], len(image)
        bits = "fp32" if self._precision.autocast is None else "bf16"
        if way not in self._costs:
            self._costs[way] = memory.bytes_per_pixel(net, channels=channels, precision=bits)
        height, width = image.shape[1:]
        if memory.fits((height, width), self._costs[way], self.device):
            with self._precision.on(self.device):
                return net(image[None].to(self.device))[0].float()
        tiler = Tiler(net, channels=channels, precision=bits)
        return in_tiles(tiler, image, self.device)


def in_tiles(tiler: Tiler, image: Tensor, device: torch.device) -> Tensor:
    """`[C, H, W]` -> float `[C', H', W']` on the host, by `Tiler`'s thumbnail mode."""
    made: list[Tensor] = []
    height, width = image.shape[1:]

    def read(box: Box) -> Tensor:
        return image[None, :, box.top : box.bottom, box.left : box.right].to(device)

    def write(box: Box, part: Tensor) -> None:
        if not made:
            made.append(torch.empty(part.shape[1], tiler.scale * height, tiler.scale * width))
        made[0][:, box.top : box.bottom, box.left : box.right] = part[0].float().cpu()

    tiler.run("thumbnail", (height, width), read, write)
    return made[0]
