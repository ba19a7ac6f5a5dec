"""Feedback is random: the discriminator is at chance for long, and samples are not good."""

from largegan.health.verdicts import Finding, Line, above, gets_better, mean

CHANCE = 0.08  # as near to one half
LINES = 10  # oscillations pass through chance, and go on
FAR = 0.2  # distance of samples that are not good yet


def found(window: list[Line]) -> Finding | None:
    """Ill when pairs are ordered by chance while samples are bad and get no better."""
    if len(window) < LINES or gets_better(window, LINES) is not False:
        return None
    off = abs(mean(window, "health/auc", LINES) - 0.5)
    distance = window[-1]["health/distance"]
    if off > CHANCE or distance < FAR:
        return None
    order = mean(window, "health/auc", LINES)
    return Finding(
        above(CHANCE - off, 0.0, CHANCE),
        {"health/auc": order, "health/distance": distance},
        f"it orders {order:.0%} of pairs rightly, which is chance, and samples are {distance:.2f} "
        "away from real images",
    )
