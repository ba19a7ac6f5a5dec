"""How a score was made, and whether two scores may be compared."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from largegan.errors import ConfigError, DataError
from largegan.files.documents import read_document
from largegan.metrics.weights import TABLE

# Three published files hold the one network that FID is named after: the same numbers.
SAME_NETWORK = {TABLE[name].sha256 for name in ("inception", "inception-pool3", "inception-logits")}
# What two scores must share before one may be called better; everything else is only recorded.
DECISIVE = (
    "backbone.name",
    "backbone.network",
    "backbone.resize",
    "backbone.precision",
    "reference.identity",
    "reference.count",
    "generated.count",
    "generated.weights",
    "generated.truncation",
    "generated.classes",
    "generated.standing_batches",
    "metrics",
)


class Network(msgspec.Struct):
    """What made the features of earlier scores."""

    name: str
    sha256: str
    resize: str | None = None
    precision: str | None = None


class Protocol(msgspec.Struct):
    """How earlier scores were made, as far as it decides; see `DECISIVE`."""

    backbone: Network
    reference: dict[str, Any] = {}
    generated: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


class Earlier(msgspec.Struct):
    """What `fid --json` writes. A score that is not finite is null."""

    scores: dict[str, float | None]
    protocol: Protocol


def read_scores(path: Path) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Scores and protocol of a file of scores. Raises DataError."""
    remedy = "measure again"
    try:
        found = read_document(path, Earlier, what="is not what --json writes", remedy=remedy)
    except FileNotFoundError as fault:
        raise DataError(f"there is no {path} to compare with; {remedy}") from fault
    about = structs.asdict(found.protocol)
    return found.scores, about | {"backbone": structs.asdict(found.protocol.backbone)}


def network_of(backbone: dict[str, Any]) -> str:
    """The hash of the weights, or one word for all files of FID's own network."""
    return "FID Inception-v3" if backbone["sha256"] in SAME_NETWORK else backbone["sha256"]


def lookup(protocol: dict[str, Any], key: str) -> Any:
    """ "a.b" -> protocol["a"]["b"], None where there is none."""
    if key == "backbone.network":
        return network_of(protocol["backbone"])
    value: Any = protocol
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """`key: this, that` for everything decisive in which two protocols differ."""
    found = []
    for key in DECISIVE:
        this, that = lookup(a, key), lookup(b, key)
        if this != that:
            found.append(f"{key}: {this} and {that}")
    return found


def refuse_unlike(a: dict[str, Any], b: dict[str, Any], *, names: tuple[str, str]) -> None:
    """Raises `ConfigError` that says why two scores cannot be compared."""
    unlike = differences(a, b)
    if unlike:
        raise ConfigError(
            f"{names[0]} and {names[1]} were not measured alike ({'; '.join(unlike)}); measure "
            "both in the same way before comparing them"
        )


def refuse_foreign(made: dict[str, Any], backbone: dict[str, Any], *, name: str) -> None:
    """Statistics made with another network or rule than the images they are to meet."""
    theirs = made.get("backbone")
    if theirs is None:
        return  # a foreign file, which does not say: the caller tells the user so
    for key in ("name", "network", "resize", "precision", "dim"):
        this = lookup({"backbone": theirs}, f"backbone.{key}")
        that = lookup({"backbone": backbone}, f"backbone.{key}")
        if this != that:
            raise DataError(
                f"{name} was made with {key} {this}, and the images here would be read with "
                f"{that}; make it again, or choose that network with --backbone"
            )
