"""Distance between images in the features of a frozen, pre-trained network."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.metrics import features, weights

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}
CONV5_4 = 34  # its place among torchvision's features; 35 is the ReLU behind it
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGEST_STRIDE = 8  # of the maps of other networks: deeper ones know little about places
RANDOM = "random:"


class Features(nn.Module):
    """Images `[N, C, H, W]` in [0, 1], C 1 or 3 -> the features `[N, F, h, w]` of `network`."""

    def __init__(self, network: nn.Module, mean=IMAGENET[0], std=IMAGENET[1]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        found = self.network((images.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return found[-1] if isinstance(found, list) else found


class ContentLoss:
    """`weight` times the distance of two images' features; no part of a recipe's state.

    The network is a constant that lies in a file, so no checkpoint needs it, and a run is sampled
    from or translated by without it. `open` loads it when training begins.
    """

    def __init__(self, name: str, *, distance: str = "l1", weight: float = 1.0):
        self.name, self.distance, self.weight = name, DISTANCES[distance], weight
        self.network: nn.Module | None = None

    def open(self, device: torch.device) -> None:
        """Raises `EnvironmentFault` when the weights are not here, `ConfigError` for no network."""
        if not self.weight or self.network is not None:
            return
        if device.type == "meta":
            self.network = _architecture(self.name.removeprefix(RANDOM))
        else:
            self.network = feature_network(self.name).to(device)

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """Of images `[N, C, H, W]` in [0, 1]; no gradient flows into `real`."""
        with torch.no_grad():
            wanted = self.network(real)
        return self.weight * self.distance(self.network(fake), wanted)


def feature_network(name: str) -> Features:
    """`vgg19`, a timm model with local weights, or `random:NAME`: the same without its weights."""
    if name.startswith(RANDOM):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # alike on all ranks and after a resume
            return _architecture(name.removeprefix(RANDOM))
    found = _architecture(name)
    if name == "vgg19":
        path = weights.require(name)[1]
        state = torch.load(path, map_location="cpu", weights_only=True)
        part = {k.removeprefix("features."): v for k, v in state.items()}
        found.network.load_state_dict({k: part[k] for k in found.network.state_dict()})
    else:
        model, _ = features.timm_model(name)
        wrapped = found.network.state_dict()
        found.network.load_state_dict({k: v for k, v in model.state_dict().items() if k in wrapped})
    return found


def _architecture(name: str) -> Features:
    if name == "vgg19":
        return Features(vgg19(CONV5_4))
    import timm

    architecture = f"tf_{name}" if name in weights.TABLE else name
    if not timm.is_model(architecture):
        raise ConfigError(
            f"recipe.content {name!r} is no network: give vgg19, efficientnet_lite0 or a model of "
            "timm (timm.list_models() names them)"
        )
    maps = timm.create_model(architecture, features_only=True, pretrained=False)
    strides = maps.feature_info.reduction()
    last = max((i for i, s in enumerate(strides) if s <= LARGEST_STRIDE), default=0)
    maps = timm.create_model(architecture, features_only=True, out_indices=(last,))
    data = timm.data.resolve_model_data_config(maps)
    return Features(maps, data["mean"], data["std"])


def vgg19(last: int) -> nn.Sequential:
    """VGG19's convolutional layers up to the `last`, counted as torchvision counts them."""
    from torchvision.models import vgg19

    layers = vgg19(weights=None).features[: last + 1]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # whoever keeps the map before it would find it changed
    return layers
