"""Feedback is random: the discriminator is at chance for long, and samples are not good."""

from largegan.health.verdicts import Finding, Line, above, mean

CHANCE = 0.08  # as near to one half
LINES = 4
FAR = 0.1  # distance of samples that are not good yet
GAIN = 0.9  # of an earlier distance counts as better


def found(window: list[Line]) -> Finding | None:
    """Ill when pairs are ordered by chance while samples are bad and do not improve."""
    if len(window) < LINES:
        return None
    off = max(abs(line["health/auc"] - 0.5) for line in window[-LINES:])
    distance, before = mean(window, "health/distance", 2), mean(window[:-2], "health/distance")
    if off > CHANCE or distance < FAR or distance < GAIN * before:
        return None
    order = mean(window, "health/auc", LINES)
    return Finding(
        above(CHANCE - off, 0.0, CHANCE),
        {"health/auc": order, "health/distance": distance},
        f"it orders {order:.0%} of pairs rightly, which is chance, and samples are {distance:.2f} "
        "away from real images",
    )
