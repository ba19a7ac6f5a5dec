"""How close a projection is: in pixels, or as a feature network of timm sees it."""

from pathlib import Path

from torch import Tensor

from largegan.metrics.features import timm_model
from largegan.viz.inversion import Distance, FeatureDistance, PixelDistance


def distance_from(target: Tensor, features: str, weights_dir: Path | None) -> Distance:
    """The distance of images from `target` `[1, C, H, W]` in [-1, 1].

    `features` is "pixels" or a timm model, whose weights are looked for in `weights_dir` first.
    Raises ConfigError for a model that is not known, EnvironmentFault without its weights.
    """
    if features == "pixels":
        return PixelDistance(target)
    import timm

    model, _ = timm_model(features, weights_dir)
    data = timm.data.resolve_model_data_config(model)
    return FeatureDistance(model, target, mean=data["mean"], std=data["std"])
