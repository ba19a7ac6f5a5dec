"""Pre-trained networks of timm as parts of losses: frozen, and no part of a recipe's state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.metrics import features, weights
from largegan.ops.constants import constant

RANDOM = "random:"
STRIDES = (4, 8, 16, 32)


class Frozen:
    """A timm network that judges or teaches, and learns nothing.

    It is a constant that lies in a file: no checkpoint holds it, and a run is sampled from
    without it. `open` loads it when training begins; the table's files are checked by sha256, so
    that every start finds the same numbers. `random:NAME` is the network without its weights, the
    same on every rank and at every start. `setting` is what the user named it by.
    """

    setting = ""

    def __init__(self, name: str):
        self.name = name
        self.network: nn.Module | None = None

    def open(self, device: torch.device) -> None:
        """Raises `EnvironmentFault` when the weights are not here, `DataError` for wrong ones."""
        if self.network is not None:
            return
        if device.type == "meta":  # a dry run asks for shapes only
            network = architecture(self.name, self.setting)
        elif self.name.startswith(RANDOM):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = architecture(self.name, self.setting)
        else:
            network, _ = features.timm_model(self.name)
        self.use(network.to(device, memory_format=torch.channels_last))

    def use(self, network: nn.Module) -> None:
        """Takes a network, frozen and in evaluation mode from now on."""
        import timm

        data = timm.data.resolve_model_data_config(network)
        # From images in [-1, 1] to what the network was trained with; often nothing.
        self.scale = [0.5 / std for std in data["std"]]
        self.shift = [(0.5 - m) / s for m, s in zip(data["mean"], data["std"], strict=True)]
        self.size = data["input_size"][-1]
        self.network = network.eval().requires_grad_(False)

    def normalized(self, images: Tensor) -> Tensor:
        """Images `[N, 1 or 3, H, W]` in [-1, 1] -> what the network was trained with."""
        x = images.expand(-1, 3, -1, -1)
        if any(s != 1 for s in self.scale) or any(self.shift):
            scale, shift = (
                constant(tuple(t), device=x.device, dtype=x.dtype).view(3, 1, 1)
                for t in (self.scale, self.shift)
            )
            x = x * scale + shift
        return x


class Backbone(Frozen):
    """A convolutional network's maps at 1/4, 1/8, 1/16 and 1/32 of an image's size."""

    setting = "recipe.backbone"

    def __init__(self, name: str):
        super().__init__(name)
        with torch.device("meta"):
            plan = architecture(name, self.setting)
        found = {row["reduction"]: i for i, row in enumerate(plan.feature_info)}
        if not set(STRIDES) <= set(found) or not hasattr(plan, "forward_intermediates"):
            raise ConfigError(
                f"{self.setting} {name} has no maps at 1/4, 1/8, 1/16 and 1/32 of the image's "
                "size; choose a convolutional network, such as efficientnet_lite0 or resnet18"
            )
        self.indices = [found[stride] for stride in STRIDES]
        self.channels = [plan.feature_info[i]["num_chs"] for i in self.indices]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Images `[N, 1 or 3, H, W]` in [-1, 1] -> four maps `[N, channels, H / 4, W / 4]`, ..."""
        return self.network.forward_intermediates(
            self.normalized(images), indices=self.indices, intermediates_only=True, stop_early=True
        )


class Teacher(Frozen):
    """What a network says of an image and of its patches: of its class token, or the patches' mean.

    Images are resized to the side that it was trained with.
    """

    setting = "recipe.align"

    def __init__(self, name: str):
        super().__init__(name)
        with torch.device("meta"):
            self.dim = architecture(name, self.setting).num_features

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images `[N, 1 or 3, H, W]` in [-1, 1] -> `[N, dim]` and `[N, patches, dim]`."""
        size = (self.size, self.size)
        x = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
        found = self.network.forward_features(self.normalized(x.clamp(-1, 1)))
        if found.dim() == 4:  # [N, C, h, w], or [N, h, w, C]
            patches = found.flatten(2).mT if found.shape[1] == self.dim else found.flatten(1, 2)
            return patches.mean(1), patches
        before = self.network.num_prefix_tokens
        patches = found[:, before:]
        return found[:, 0] if before else patches.mean(1), patches


def architecture(name: str, setting: str) -> nn.Module:
    """The timm network of that name, without its weights."""
    import timm

    plain = name.removeprefix(RANDOM)
    found = f"tf_{plain}" if plain in weights.TABLE else plain
    if not timm.is_model(found):
        raise ConfigError(
            f"{setting} {plain!r} is no network: give efficientnet_lite0 or a model of timm "
            "(timm.list_models() names them)"
        )
    return timm.create_model(found, pretrained=False)
