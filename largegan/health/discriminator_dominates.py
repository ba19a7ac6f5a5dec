"""The discriminator dominates: it tells both kinds apart without an error, and samples do not get
better (courses: the generator's score is near 0, the discriminator's near 1).
"""

from largegan.health.verdicts import Finding, Line, above, mean

SURE = 0.97  # of both kinds it takes for what they are, and of pairs it orders


def found(window: list[Line]) -> Finding | None:
    """Ill when it is as good as never wrong."""
    real, fake = mean(window, "health/accuracy_real", 1), mean(window, "health/accuracy_fake", 1)
    order = mean(window, "health/auc", 1)
    if min(real, fake, order) < SURE:
        return None
    evidence = {
        "health/accuracy_real": real,
        "health/accuracy_fake": fake,
        "health/auc": order,
        "health/score_d": window[-1].get("health/score_d", 0.0),
        "health/score_g": window[-1].get("health/score_g", 0.0),
    }
    return Finding(
        above(min(real, fake), SURE, 1.0),
        evidence,
        f"it takes {real:.0%} of real and {fake:.0%} of generated images for what they are",
    )
