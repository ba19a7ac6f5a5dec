"""Super-resolution networks by name, and how images of a recipe pass through them."""

from typing import Literal

from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.resample import pad_to_multiple
from largegan.nets.msrresnet import MSRResNet
from largegan.nets.rrdb import RRDBNet
from largegan.nets.srresnet import Discriminator, SRResNet
from largegan.nets.unet_discriminator import UNetDiscriminator
from largegan.nets.vgg_discriminator import VGGDiscriminator

Generator = Literal["srresnet", "msrresnet", "rrdb"]
Judge = Literal["srgan", "vgg", "unet"]
BLOCKS = {"srresnet": 16, "msrresnet": 16, "rrdb": 23}


def upscaler(
    name: Generator,
    *,
    image_channels: int,
    channels: int,
    blocks: int | None,
    scale: int,
    norm: str,
) -> nn.Module:
    """A network `[N, C, H, W]` -> `[N, C, scale H, scale W]` on images in [0, 1].

    `blocks` None: as published. `norm` is that of "srresnet"; the others have none.
    """
    shape = {"image_channels": image_channels, "channels": channels, "scale": scale}
    shape["blocks"] = blocks or BLOCKS[name]
    if name == "srresnet":
        return SRResNet(**shape, norm=norm)
    if name == "msrresnet":
        return MSRResNet(**shape)
    return RRDBNet(**shape, growth=max(channels // 2, 1))


def judge(
    name: Judge, *, size: tuple[int, int], image_channels: int, channels: int, norm: str
) -> nn.Module:
    """A discriminator of high-resolution images `[N, C, *size]`."""
    shape = {"image_channels": image_channels, "channels": channels}
    if name == "unet":
        if any(side % 8 for side in size):
            raise ConfigError(
                f"the unet discriminator needs sides that are multiples of 8, not "
                f"{size[0]}x{size[1]}; set data.crop, or another recipe.discriminator"
            )
        return UNetDiscriminator(**shape)
    if size[0] != size[1]:
        raise ConfigError(
            f"the {name} discriminator needs square images, not {size[0]}x{size[1]}; set "
            "data.crop, or recipe.discriminator unet"
        )
    return {"srgan": Discriminator, "vgg": VGGDiscriminator}[name](size[0], **shape, norm=norm)


def check_scale(scale: int, size: tuple[int, int]) -> None:
    """Raises `ConfigError` unless images of `size` can be made smaller by `scale`."""
    if scale < 2:
        raise ConfigError(f"recipe.scale {scale} enlarges nothing; use 2, 3 or 4")
    if any(side % scale for side in size):
        raise ConfigError(
            f"recipe.scale {scale} does not divide images of {size[0]}x{size[1]}; set data.crop to "
            f"a multiple of {scale}"
        )


class Upscaler(nn.Module):
    """A network for images in [0, 1], on images in [-1, 1], clamped: what `translator` returns.

    `scale` is how many times larger the result is; `multiple` and `halo` count input pixels. Sides
    that are no multiples are continued by their mirror image, and the result is cut.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.scale, self.image_channels = net, net.scale, net.to_image.out_channels
        self.multiple = net.multiple
        self.halo = -(-net.halo // self.multiple) * self.multiple

    def forward(self, images: Tensor) -> Tensor:
        h, w = (self.scale * side for side in images.shape[-2:])
        whole = pad_to_multiple((images + 1) / 2, self.multiple)
        return (self.net(whole)[..., :h, :w] * 2 - 1).clamp(-1, 1)
