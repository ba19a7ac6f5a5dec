"""Pre-trained networks of timm as parts of losses: frozen, and no part of a recipe's state."""

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.metrics import features, weights

RANDOM = "random:"
STRIDES = (4, 8, 16, 32)


class Backbone:
    """A timm network's maps at 1/4, 1/8, 1/16 and 1/32 of an image's size.

    It is a constant that lies in a file: no checkpoint holds it, and a run is sampled from
    without it. `open` loads it when training begins; the table's files are checked by sha256, so
    that every start finds the same numbers. `random:NAME` is the network without its weights, the
    same on every rank and at every start.
    """

    def __init__(self, name: str):
        self.name = name
        self.network: nn.Module | None = None
        with torch.device("meta"):
            plan = architecture(name)
        found = {row["reduction"]: i for i, row in enumerate(plan.feature_info)}
        if not set(STRIDES) <= set(found) or not hasattr(plan, "forward_intermediates"):
            raise ConfigError(
                f"recipe.backbone {name} has no maps at 1/4, 1/8, 1/16 and 1/32 of the image's "
                "size; choose a convolutional network, such as efficientnet_lite0 or resnet18"
            )
        self.indices = [found[stride] for stride in STRIDES]
        self.channels = [plan.feature_info[i]["num_chs"] for i in self.indices]

    def open(self, device: torch.device) -> None:
        """Raises `EnvironmentFault` when the weights are not here, `DataError` for wrong ones."""
        if self.network is not None:
            return
        if device.type == "meta":  # a dry run asks for shapes only
            network = architecture(self.name)
        elif self.name.startswith(RANDOM):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = architecture(self.name)
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
        self.network = network.eval().requires_grad_(False)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Images `[N, 1 or 3, H, W]` in [-1, 1] -> four maps `[N, channels, H / 4, W / 4]`, ..."""
        x = images.expand(-1, 3, -1, -1)
        if any(s != 1 for s in self.scale) or any(self.shift):
            scale, shift = (x.new_tensor(t).view(3, 1, 1) for t in (self.scale, self.shift))
            x = x * scale + shift
        return self.network.forward_intermediates(
            x, indices=self.indices, intermediates_only=True, stop_early=True
        )


def architecture(name: str) -> nn.Module:
    """The timm network of that name, without its weights."""
    import timm

    plain = name.removeprefix(RANDOM)
    found = f"tf_{plain}" if plain in weights.TABLE else plain
    if not timm.is_model(found):
        raise ConfigError(
            f"recipe.backbone {plain!r} is no network: give efficientnet_lite0 or a model of timm "
            "(timm.list_models() names them)"
        )
    return timm.create_model(found, pretrained=False)
