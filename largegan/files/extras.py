"""Packages that are not needed by everybody: imported where they are used, named when missing."""

import importlib
from types import ModuleType

from largegan.errors import ConfigError


def extra(package: str, purpose: str) -> ModuleType:
    """The module of an optional package. Raises ConfigError where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as fault:
        raise ConfigError(
            f"{purpose} needs the package {package}, which is not installed; pip install {package}"
        ) from fault
