"""What `state.json` of a checkpoint holds, read through a schema."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from largegan.checkpoint.folders import OLDER, STATE
from largegan.errors import DataError
from largegan.files.documents import Count, Positive, checked, read_document

Side = Annotated[int, Meta(ge=1, le=1 << 16)]


class Spec(msgspec.Struct, forbid_unknown_fields=True):
    """A `DataSpec` in a file."""

    channels: Annotated[int, Meta(ge=1, le=1 << 12)]
    height: Side
    width: Side
    num_classes: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    channels_b: Annotated[int, Meta(ge=0, le=1 << 12)] = 0
    condition_dim: Annotated[int, Meta(ge=0, le=1 << 16)] = 0
    latent_scale: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


Shard = Annotated[str, Meta(pattern="^[0-9]{1,9}$")]


class Position(msgspec.Struct):
    """Where a stream of data was; without an identity, of data that were elsewhere (imports)."""

    position: Count
    seed: int
    identity: str | None
    count: Count | None = None  # images of the set
    learned: dict[Shard, Count] = {}  # samples of shards that have no index


class Positions(msgspec.Struct):
    """Where two streams were that know nothing of each other."""

    a: Position
    b: Position


class BadSteps(msgspec.Struct):
    """Steps that were skipped."""

    total: Count = 0
    in_a_row: dict[str, Count] = {}


class Sums(msgspec.Struct):
    """What happened since the last line of metrics.jsonl."""

    sums: dict[str, float]
    counts: dict[str, Positive]


class HealthSums(msgspec.Struct):
    """Signals since the last line of the log, by phase: sums, and how often."""

    scores: dict[str, list[float]] = {}
    norms: dict[str, list[float]] = {}


class Named(msgspec.Struct):
    """The group `recipe` of a configuration."""

    name: str


class State(msgspec.Struct):
    """What has to be in `state.json`; the configuration is checked by who builds from it."""

    config: dict[str, dict[str, Any]]
    spec: Spec
    class_names: list[str] = []
    label_counts: list[Count] = []  # samples of each class in the training data


class Resumable(State, kw_only=True):
    """What a run needs besides, to go on."""

    step: Count
    nimg: Count
    data: dict[str, Any]
    bad_steps: BadSteps
    micro_batch_size: Positive
    tally: Sums | None = None  # checkpoints of before have none
    health: HealthSums = msgspec.field(default_factory=HealthSums)


def read_state(path: Path) -> dict:
    """The `state.json` of a checkpoint, as it is; see `check_state`. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    try:
        return read_document(path / STATE, dict[str, Any], **about)
    except FileNotFoundError:
        raise DataError(f"checkpoint {path} lacks {STATE}; {OLDER}") from None


def check_resumable(path: Path, state: dict) -> dict:
    """The state of the checkpoint `path`, if a run can go on from it. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    where = str(path / STATE)
    found = checked(check_state(path, state), Resumable, where=where, **about)
    checked(found.data, Positions if "a" in found.data else Position, where=where, **about)
    if found.tally and found.tally.sums.keys() != found.tally.counts.keys():
        raise DataError(f"{where} counts other numbers than it sums; {OLDER}")
    return state


def check_state(path: Path, state: dict) -> dict:
    """The state of the checkpoint `path`, if a recipe can be built from it. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    where = str(path / STATE)
    found = checked(state, State, where=where, **about)
    checked(found.config.get("recipe", {}), Named, where=where, **about)
    if found.class_names and len(found.class_names) < found.spec.num_classes:
        raise DataError(f"{where} names {len(found.class_names)} of its classes; {OLDER}")
    if found.label_counts and len(found.label_counts) != found.spec.num_classes:
        raise DataError(f"{where} counts the samples of {len(found.label_counts)} classes; {OLDER}")
    return state
