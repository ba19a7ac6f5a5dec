"""The generator dominates: the discriminator takes what it makes for real, for long (courses: the
generator's score is near 1), so nothing tells it what to do better.
"""

from largegan.health.verdicts import Finding, Line, above, mean

FOOLED = 0.75  # of generated images are taken for real,
ORDER = 0.35  # and in so few pairs the real image has the larger output


def found(window: list[Line]) -> Finding | None:
    """Ill when it is fooled, and prefers generated images to real ones."""
    fooled, order = 1 - mean(window, "health/accuracy_fake", 1), mean(window, "health/auc", 1)
    if fooled < FOOLED or order > ORDER:
        return None
    evidence = {
        "health/accuracy_fake": 1 - fooled,
        "health/auc": order,
        "health/score_g": window[-1].get("health/score_g", 0.0),
    }
    return Finding(
        above(ORDER - order, 0.0, ORDER),
        evidence,
        f"{fooled:.0%} of generated images are taken for real, and in {1 - order:.0%} of pairs "
        "the generated one more than the real one",
    )
