"""Layers that do not learn."""

from torch import nn


def freeze(layer: nn.Module) -> None:
    """Turns the layer's own parameters into buffers: the same names in files, no optimizer."""
    for name, parameter in list(layer.named_parameters(recurse=False)):
        delattr(layer, name)
        layer.register_buffer(name, parameter.data)
