"""The discriminator overfits: it knows training images by heart and takes others for generated.

Karras et al. (2020, "Training GANs with limited data"), section 3.1: r_v.
"""

from largegan.health.verdicts import Finding, Line, above, mean

DROP = 0.5  # r_v: as far from training images as half the way to generated ones
LINES = 3


def found(window: list[Line]) -> Finding | None:
    """Ill when held-out images fall behind by much, while training images are known."""
    if len(window) < LINES:
        return None
    drop = mean(window, "health/overfit", LINES)
    train = mean(window, "health/accuracy_seen", LINES)
    unseen = mean(window, "health/accuracy_held_out", LINES)
    if drop < DROP or train - unseen < 0.2:
        return None
    evidence = {
        "health/overfit": drop,
        "health/accuracy_seen": train,
        "health/accuracy_held_out": unseen,
    }
    return Finding(
        above(drop, DROP, 1.0),
        evidence,
        f"it takes {train:.0%} of training images for real and {unseen:.0%} of held-out ones",
    )
