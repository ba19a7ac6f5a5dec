"""The table of signals: cheap numbers that say how the players of a GAN stand to each other.

`real` and `fake` are the discriminator's outputs in its own steps; where a recipe has several
discriminators, the mean over them. Names are stable: people script against them.
"""

from typing import NamedTuple

PREFIX = "health/"  # of the names in metrics.jsonl


class Signal(NamedTuple):
    """A row: what the number says, the range it lies in, and where it is for a healthy run."""

    meaning: str
    low: float | None  # None: no bound
    high: float | None
    often: bool = True  # on every line of the log; else when samples are looked at


SIGNALS: dict[str, Signal] = {
    # From the steps of the discriminator, without a pass of their own.
    "health/score_real": Signal("mean sigmoid(D) on training images; by sign for critics", 0, 1),
    "health/score_fake": Signal("mean sigmoid(D) on generated images; by sign for critics", 0, 1),
    "health/score_d": Signal("discriminator's score: half of score_real + 1 - score_fake", 0, 1),
    "health/score_g": Signal("generator's score: score_fake, under the name of courses", 0, 1),
    "health/accuracy_real": Signal("share of training images that D takes for real", 0, 1),
    "health/accuracy_fake": Signal("share of generated images that D takes for generated", 0, 1),
    "health/auc": Signal("share of pairs (real, fake) of a batch that D has in order", 0, 1),
    "health/logit_real": Signal("mean output of D on training images", None, None),
    "health/logit_fake": Signal("mean output of D on generated images", None, None),
    "health/logit_spread": Signal("standard deviation of D's outputs, both kinds", 0, None),
    "health/grad_norm_d": Signal("norm of D's gradient, before clipping", 0, None),
    "health/grad_norm_g": Signal("norm of G's gradient, before clipping", 0, None),
    "health/grad_ratio": Signal("grad_norm_g / grad_norm_d", 0, None),
    "health/skipped_steps": Signal("steps that were not finite, since the run began", 0, None),
    # With spectral norm.
    "health/singular_max": Signal("largest singular value of a normalized layer", 0, None),
    # With held-out images (data.held_out), once a line, all three in the same moment.
    "health/accuracy_seen": Signal("the share of accuracy_real, of as many as are held out", 0, 1),
    "health/accuracy_held_out": Signal("share of held-out images that D takes for real", 0, 1),
    "health/overfit": Signal(
        "r_v: D's drop from training to held-out images, in units of its drop to fakes", None, None
    ),
    # Of averaged samples, in a small space of features, every health.look_every_nimg.
    # diversity is there for each class that is asked for, too: health/diversity/CLASS.
    "health/diversity": Signal("mean distance of samples, of real images 1", 0, None, False),
    "health/duplicates": Signal("share of samples that have a twin among the samples", 0, 1, False),
    "health/coverage": Signal(
        "share of training images with a sample among their nearest neighbors (Naeem et al., 2020)",
        0,
        1,
        False,
    ),
    "health/copies": Signal(
        "share of samples that are nearly a training image, beyond chance", 0, 1, False
    ),
    "health/distance": Signal(
        "energy distance of samples and real images, that of their mean image is 1", 0, None, False
    ),
    "health/class_entropy": Signal(
        "entropy of the classes that samples look like, that of real images is 1", 0, None, False
    ),
    "health/diversity_worst_class": Signal(
        "diversity within the class that has least, classes asked for", 0, None, False
    ),
}  # fmt: skip


def short(name: str) -> str:
    """`health/auc` -> `auc`."""
    return name.removeprefix(PREFIX)
