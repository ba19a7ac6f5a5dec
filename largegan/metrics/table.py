"""The table of metrics: one row each, which everything else reads.

A new metric is one function in this folder and one row here: command lines, settings, evaluation
while training, the best checkpoint, curves, JSON and help know it then. Nothing is imported until
a metric is computed, so that settings can be checked without torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from largegan.errors import ConfigError

if TYPE_CHECKING:
    from largegan.metrics.side import Settings, Side

PREFIX = "score/"  # of scores in metrics.jsonl
Better = Literal["lower", "higher"]
# What a row may ask of both sides, besides their mean and covariance.
Need = Literal["features", "labels", "images"]


@dataclass(frozen=True)
class Metric:
    """One row.

    `function` is `module:function` of this folder and takes the reference, the generated side and
    the settings. `scores` are the numbers it gives, and which way is better; `errors` and
    `deviations` name the number that is a score's standard error, or its standard deviation over
    parts. `needs` is asked of both sides, `classifier` of the generated one: its logits.
    """

    about: str
    function: str
    scores: Mapping[str, Better]
    needs: frozenset[Need] = frozenset()
    classifier: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)
    deviations: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)  # as people write them, if otherwise


TABLE: dict[str, Metric] = {
    "fid": Metric(
        "Fréchet distance, with its standard error and its limit for many images",
        "frechet:fid",
        {"fid": "lower"},
        errors={"fid": "fid_error"},
        titles={"fid": "FID"},
    ),
    "kid": Metric(
        "kernel distance over all pairs, with its standard error",
        "kid:kid",
        {"kid": "lower"},
        frozenset({"features"}),
        errors={"kid": "kid_error"},
        titles={"kid": "KID"},
    ),
    "mind": Metric(
        "Monge distance: sliced transport of features; 5,000 images are enough",
        "mind:mind",
        {"mind": "lower"},
        frozenset({"features"}),
        titles={"mind": "MIND"},
    ),
    "mmd": Metric(
        "maximum mean discrepancy of features, over all pairs",
        "mmd:mmd",
        {"mmd": "lower"},
        frozenset({"features"}),
        titles={"mmd": "MMD²"},
    ),
    "mmd_pixels": Metric(
        "maximum mean discrepancy of raw pixels at 32x32, by GMMN's kernels",
        "mmd:mmd_pixels",
        {"mmd_pixels": "lower"},
        frozenset({"images"}),
        titles={"mmd_pixels": "MMD² of pixels"},
    ),
    "reconstruction": Metric(
        "mean squared error of reference images through a checkpoint's encoder and back",
        "reconstruction:reconstruction",
        {"reconstruction": "lower"},
        frozenset({"images"}),
        errors={"reconstruction": "reconstruction_error"},
        titles={"reconstruction": "reconstruction error"},
    ),
    "eqt": Metric(
        "equivariance to shifts by whole pixels, in dB (needs stylegan3: an input that moves)",
        "equivariance:eqt",
        {"eqt": "higher"},
        frozenset({"images"}),
        titles={"eqt": "EQ-T"},
    ),
    "eqt_frac": Metric(
        "equivariance to shifts between pixels, in dB (needs stylegan3)",
        "equivariance:eqt_frac",
        {"eqt_frac": "higher"},
        frozenset({"images"}),
        titles={"eqt_frac": "EQ-T_frac"},
    ),
    "eqr": Metric(
        "equivariance to rotations, in dB (needs stylegan3)",
        "equivariance:eqr",
        {"eqr": "higher"},
        frozenset({"images"}),
        titles={"eqr": "EQ-R"},
    ),
    "prdc": Metric(
        "precision, recall, density, coverage",
        "prdc:prdc",
        {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"},
        frozenset({"features"}),
    ),
    "ifid": Metric(
        "Fréchet distance within each class, and its mean (needs classes on both sides)",
        "frechet:ifid",
        {"ifid": "lower"},
        frozenset({"features", "labels"}),
        titles={"ifid": "intra-class FID"},
    ),
    "is": Metric(
        "inception score of the generated images (needs weights with a classifier)",
        "inception_score:is_",
        {"is": "higher"},
        classifier=True,
        deviations={"is": "is_deviation"},
        titles={"is": "IS"},
    ),
    "cas": Metric(
        "accuracy on real images of a classifier trained on generated ones (needs classes)",
        "classification:cas",
        {"cas": "higher"},
        frozenset({"labels", "images"}),
        titles={"cas": "CAS"},
    ),
}


def rows(names: Iterable[str], setting: str = "--metrics") -> dict[str, Metric]:
    """The rows of these metrics. Raises `ConfigError` for a name that is not in the table."""
    found = {}
    for name in names:
        if name not in TABLE:
            raise ConfigError(
                f"{setting}: there is no metric {name!r}; choose of {', '.join(TABLE)}"
            )
        found[name] = TABLE[name]
    return found


def needs(names: Iterable[str]) -> set[Need]:
    """What any of these metrics asks of both sides."""
    return set().union(*(TABLE[name].needs for name in names))


def needs_classifier(names: Iterable[str]) -> bool:
    """Whether any of these metrics looks at the classes that a network sees."""
    return any(TABLE[name].classifier for name in names)


def given_by(names: Iterable[str]) -> list[str]:
    """The scores that these metrics give."""
    return [score for name in names for score in TABLE[name].scores]


def better(score: str) -> Better:
    """Which way a score of the table, or a class's part of one, is better."""
    base = score.split("/")[0]
    return next(row.scores[base] for row in TABLE.values() if base in row.scores)


def is_score(name: str) -> bool:
    """Whether a computed number is a score, and not the spread or a part of one."""
    return any(name in row.scores for row in TABLE.values())


def error_of(score: str) -> str | None:
    """The name of a score's standard error, if it has one."""
    return next((row.errors[score] for row in TABLE.values() if score in row.errors), None)


def deviation_of(score: str) -> str | None:
    """The name of a score's standard deviation over parts of the images, if it has one."""
    return next((row.deviations[score] for row in TABLE.values() if score in row.deviations), None)


def title(score: str) -> str:
    """A score as people write it."""
    return next((row.titles[score] for row in TABLE.values() if score in row.titles), score)


def compute(
    reference: "Side", generated: "Side", names: Iterable[str], settings: "Settings"
) -> dict[str, float]:
    """The chosen scores, by name. Heavy sums in float64 on the host; one process is enough."""
    values: dict[str, float | None] = {}
    for name in names:
        module, function = TABLE[name].function.split(":")
        calculate = getattr(import_module(f"largegan.metrics.{module}"), function)
        values |= calculate(reference, generated, settings)
    return {name: value for name, value in values.items() if value is not None}
