"""Feature networks: from 8-bit images of any size to vectors that distances are computed from.

`inception` is FID's network behind clean-fid's resize rule. Any timm backbone is a second opinion;
its scores carry its name and are never called FID. Weights are local files, checked by hash.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.files.digests import sha256_of
from largegan.metrics import weights
from largegan.metrics.resize import as_rgb, device_resize, exact_products, host_resize

INCEPTION = "inception"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Backbone:
    """What decides the features of an image; two sets can be compared only if this is the same.

    `resize` says the rule, not where it ran: host and device agree to 6e-5 of 255.
    """

    name: str
    sha256: str
    dim: int
    size: int
    resize: str = "bicubic, anti-aliased, float32, clipped (clean-fid)"
    precision: str = "float32"

    def as_dict(self) -> dict:
        return asdict(self)

    def title(self, metric: str) -> str:
        """FID and KID only with FID's own network; else the distance is named after its network."""
        if self.name == INCEPTION:
            return metric
        renamed = {"FID": "FD", "KID": "KD"}.get(metric, metric)
        return f"{renamed}-{self.name}"


class Extractor:
    """Features of images: `extractor(images)` is float32 `[N, dim]` on its device.

    Args:
        backbone: name, hash and sizes.
        network: maps float32 `[N, 3, size, size]` in [0, 255] to `[N, dim]`.
        classifier: features to logits `[N, classes]`, where the weights have one.
        device: where the network runs.
        host: resize with Pillow on the host, exactly as clean-fid, and slower.
    """

    def __init__(
        self,
        backbone: Backbone,
        network: nn.Module,
        *,
        classifier: nn.Module | None = None,
        device: torch.device | str = "cpu",
        host: bool = False,
    ):
        self.backbone, self.device, self.host = backbone, torch.device(device), host
        self.network = network.to(self.device).eval()
        self.classifier = None if classifier is None else classifier.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """uint8 images `[N, C, H, W]`, or a list `[C, H, W]` of any sizes; C is 1, 3 or 4."""
        with exact_products(), torch.autocast(self.device.type, enabled=False):
            return self.network(self.prepare(images)).float()

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor | None:
        """Of features that this extractor made; None when its weights have no classifier."""
        if self.classifier is None:
            return None
        with exact_products():
            return self.classifier(features.to(self.device))

    def prepare(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """float32 `[N, 3, size, size]` in [0, 255] on the device."""
        if len(images) == 0:
            raise DataError("there are no images to compute features of")
        size = (self.backbone.size, self.backbone.size)
        if self.host:
            resized = [host_resize(_as_rows(image), size) for image in images]
            planes = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
            # Channels-last memory would choose other convolution kernels than clean-fid's.
            return planes.contiguous().to(self.device)
        if not isinstance(images, Tensor):
            if len({image.shape for image in images}) > 1:
                return torch.cat([self.prepare(image[None]) for image in images])
            images = torch.stack(list(images))
        return device_resize(as_rgb(images.to(self.device)), size)


def _as_rows(image: Tensor) -> np.ndarray:
    """uint8 `[H, W, 3]` on the host."""
    return as_rgb(image).permute(1, 2, 0).cpu().numpy()


def open_extractor(
    name: str = INCEPTION,
    *,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    host: bool = False,
    logits: bool = False,
) -> Extractor:
    """`inception`, or a timm model whose weights lie in a weights folder.

    Args:
        name: the network.
        folder: looked into before the usual places.
        device: where it runs.
        host: resize on the host.
        logits: insist on the classifier (inception score).

    Raises:
        EnvironmentFault: the weights are not here.
        ConfigError: no such network.
        DataError: the weights are not the published ones.
    """
    if name == INCEPTION:
        return _inception(folder, device=device, host=host, logits=logits)
    return _timm(name, folder, device=device, host=host)


def _inception(folder: Path | None, *, device, host: bool, logits: bool) -> Extractor:
    from largegan.metrics import inception

    names = ("inception", "inception-pool3", "inception-logits")
    if logits:
        names = ("inception-logits",)
    found, path = weights.require(*names, folder=folder)
    backbone = Backbone(INCEPTION, weights.TABLE[found].sha256, 2048, inception.SIZE)
    if found != "inception-logits":
        network = inception.script_network(path)
        return Extractor(backbone, network, device=device, host=host)
    whole = inception.state_dict_network(path)
    network, classifier = inception.Pool3(whole), inception.Classifier(whole)
    return Extractor(backbone, network, classifier=classifier, device=device, host=host)


class TimmFeatures(nn.Module):
    """A timm backbone before its classifier, with the normalization that it was trained with."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.model.forward_features((x - self.mean) / self.std)
        return self.model.forward_head(maps, pre_logits=True)


def timm_model(name: str, folder: Path | None = None) -> tuple[nn.Module, Path]:
    """A timm backbone with weights from a local file, and that file."""
    import timm

    architecture = f"tf_{name}" if name in weights.TABLE else name
    if not timm.is_model(architecture):
        raise ConfigError(
            f"there is no feature network {name!r}: give {INCEPTION}, efficientnet_lite0 or a "
            "model of timm (timm.list_models() names them)"
        )
    path = _timm_weights(name, folder)
    model = timm.create_model(architecture, pretrained=False)
    load_timm(model, path)
    return model, path


def _timm(name: str, folder: Path | None, *, device, host: bool) -> Extractor:
    import timm

    model, path = timm_model(name, folder)
    data = timm.data.resolve_model_data_config(model)
    with torch.no_grad():
        network = TimmFeatures(model, data["mean"], data["std"]).eval()
        size = data["input_size"][-1]
        dim = network(torch.zeros(1, 3, size, size)).shape[1]
    classifier = model.get_classifier()
    backbone = Backbone(name, sha256_of(path), dim, size)
    has_classes = isinstance(classifier, nn.Linear)
    return Extractor(
        backbone,
        network.requires_grad_(False),
        classifier=classifier if has_classes else None,
        device=device,
        host=host,
    )


def _timm_weights(name: str, folder: Path | None) -> Path:
    """The table's file, or one that the user staged as NAME.safetensors, NAME.pth, ..."""
    if name in weights.TABLE:
        return weights.require(name, folder=folder)[1]
    folders = weights.search_folders(folder)
    for candidate in (f / f"{name}{suffix}" for f in folders for suffix in SUFFIXES):
        if candidate.is_file():
            return candidate
    raise EnvironmentFault(
        f"the weights of {name} are not here; put {name}.safetensors (or .pth) into "
        f"{folders[0]}, as saved from timm.create_model({name!r}, pretrained=True)"
    )


def load_timm(model: nn.Module, path: Path) -> None:
    """Loads a state dict by name, or, under other names, by order when every shape agrees."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} cannot be read as weights ({error}); save it again") from error
    wanted = model.state_dict()
    if set(state) != set(wanted):
        shapes = [[v.shape for v in part.values()] for part in (state, wanted)]
        if shapes[0] != shapes[1]:
            missing = sorted(set(wanted) - set(state))[:1]
            raise DataError(
                f"{path} does not fit the network: it has {len(state)} tensors, the network "
                f"{len(wanted)}" + (f", and lacks {missing[0]}" if missing else "")
            )
        state = dict(zip(wanted, state.values(), strict=True))
    model.load_state_dict(state)
