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
        return self.network((images.expand(-1, 3, -1, -1) - self.mean) / self.std)


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
            self.network = without_weights(self.name.removeprefix(RANDOM)).to(device)
        else:
            self.network = feature_network(self.name).to(device)

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """Of images `[N, C, H, W]` in [0, 1]; no gradient flows into `real`."""
        with torch.no_grad():
            wanted = self.network(real)
        return self.weight * self.distance(self.network(fake), wanted)


class Maps(nn.Module):
    """The maps that a timm model makes on its way: the deepest with a stride up to 8, if any."""

    def __init__(self, model: nn.Module, side: int):
        super().__init__()
        self.model, self.last = model.eval(), None
        with torch.no_grad():
            found = self._intermediates(torch.zeros(1, 3, side, side, device=device_of(model)))
        sides = [map.shape[-1] for map in found]
        fine = [i for i, width in enumerate(sides) if width * LARGEST_STRIDE >= side]
        self.last = max(fine, default=0)

    def _intermediates(self, x: Tensor) -> list[Tensor]:
        indices = None if self.last is None else [self.last]
        return self.model.forward_intermediates(
            x, indices=indices, stop_early=True, intermediates_only=True
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._intermediates(x)[-1]


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def feature_network(name: str) -> Features:
    """`vgg19`, a timm model with local weights, or `random:NAME`: the same without its weights."""
    if name.startswith(RANDOM):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # alike on all ranks and after a resume
            return without_weights(name.removeprefix(RANDOM))
    if name != "vgg19":
        return _timm(name, load=True)
    network, path = vgg19(CONV5_4), weights.require(name)[1]
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({k: state[f"features.{k}"] for k in network.state_dict()})
    return Features(network)


def without_weights(name: str) -> Features:
    return Features(vgg19(CONV5_4)) if name == "vgg19" else _timm(name, load=False)


def _timm(name: str, *, load: bool) -> Features:
    import timm

    architecture = f"tf_{name}" if name in weights.TABLE else name
    if not timm.is_model(architecture):
        raise ConfigError(
            f"recipe.content {name!r} is no network: give vgg19, efficientnet_lite0 or a model of "
            "timm (timm.list_models() names them)"
        )
    if load:
        model, _ = features.timm_model(name)
    else:
        model = timm.create_model(architecture, pretrained=False)
    if not hasattr(model, "forward_intermediates"):
        raise ConfigError(f"recipe.content {name} gives no maps of features; choose another model")
    data = timm.data.resolve_model_data_config(model)
    return Features(Maps(model, data["input_size"][-1]), data["mean"], data["std"])


def vgg19(last: int) -> nn.Sequential:
    """VGG19's convolutional layers up to the `last`, counted as torchvision counts them."""
    from torchvision.models import vgg19

    layers = vgg19(weights=None).features[: last + 1]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # whoever keeps the map before it would find it changed
    return layers
