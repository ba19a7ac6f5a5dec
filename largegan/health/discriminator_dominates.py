"""The discriminator dominates: it tells both kinds apart without an error, and has nothing left to
learn, or samples do not get better (courses: the generator's score is near 0, D's near 1).

Early in training, and with losses that only compare (critics), a discriminator is often without an
error while the generator learns well from it: that is no illness.
"""

from largegan.health.verdicts import Finding, Line, above, gets_better

SURE = 0.97  # of both kinds it takes for what they are, of pairs it orders, and its score
RECENT = 4  # lines on which that is so
SATURATED = 50.0  # times its gradient is that of the generator: its loss is as good as 0
LINES = 16  # generators stand still for a while, and go on
PERFECT = ("health/accuracy_real", "health/accuracy_fake", "health/auc", "health/score_d")


def found(window: list[Line]) -> Finding | None:
    """Ill when it is as good as never wrong, and nothing comes of it."""
    recent = window[-RECENT:]
    worst = min(line[name] for line in recent for name in PERFECT)
    if len(recent) < RECENT or worst < SURE:
        return None
    spent = all(saturated(line) for line in recent)
    if not spent and gets_better(window, LINES):
        return None
    newest = window[-1]
    names = (*PERFECT, "health/score_g", "health/grad_norm_d", "health/grad_norm_g")
    real, fake = newest[PERFECT[0]], newest[PERFECT[1]]
    why = "its gradient has vanished" if spent else "samples do not come nearer to real images"
    return Finding(
        above(worst, SURE, 1.0),
        {name: newest[name] for name in names if name in newest},
        f"it takes {real:.0%} of real and {fake:.0%} of generated images for what they are, and "
        f"{why}",
    )


def saturated(line: Line) -> bool:
    """Whether it has as good as nothing to learn, while the generator is told a lot."""
    d, g = line.get("health/grad_norm_d"), line.get("health/grad_norm_g", 0.0)
    return d is not None and g > SATURATED * d
