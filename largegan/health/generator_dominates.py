"""The generator dominates: the discriminator takes what it makes for real, for long (courses: the
generator's score is near 1), so nothing tells it what to do better.
"""

from largegan.health.verdicts import Finding, Line, above, gets_better, mean

FOOLED = 0.75  # of generated images are taken for real,
ORDER = 0.35  # and in so few pairs the real image has the larger output;
REVERSED = 0.1  # so few alone say that whatever it tells the generator is wrong
LINES = 6  # of critics a step behind that is so, too, while samples get better


def found(window: list[Line]) -> Finding | None:
    """Ill when it is fooled and prefers generated images, or prefers nearly all of them."""
    fooled, order = 1 - mean(window, "health/accuracy_fake", 1), mean(window, "health/auc", 1)
    if order > ORDER or (fooled < FOOLED and order > REVERSED) or gets_better(window, LINES):
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
