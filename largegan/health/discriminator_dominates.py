"""The discriminator dominates: it tells both kinds apart without an error, and samples do not get
better (courses: the generator's score is near 0, the discriminator's near 1).

Early in training, and with losses that only compare (critics), a discriminator is often without an
error while the generator learns well from it: that is no illness.
"""

from largegan.health.verdicts import Finding, Line, above, gets_better

RECENT = 4  # lines on which it has no error
SURE = 0.95  # of both kinds it takes for what they are, and of pairs it orders
SCORE = 0.9  # of the discriminator; where it is only an opinion by sign, that of its accuracy
LINES = 16  # generators stand still for a while, and go on


def found(window: list[Line]) -> Finding | None:
    """Ill when it is as good as never wrong, all the time, and nothing comes of it."""
    if len(window) < RECENT:
        return None
    recent = window[-RECENT:]
    names = ("health/accuracy_real", "health/accuracy_fake", "health/auc")
    real, fake, order = (min(line[name] for line in recent) for name in names)
    score = min(line["health/score_d"] for line in recent)
    if min(real, fake, order) < SURE or score < SCORE or gets_better(window, LINES):
        return None
    newest = window[-1]
    evidence = {name: newest[name] for name in (*names, "health/score_d", "health/score_g")}
    return Finding(
        above(score, SCORE, 1.0),
        evidence,
        f"it takes {newest[names[0]]:.0%} of real and {newest[names[1]]:.0%} of generated images "
        "for what they are, and samples do not come nearer to real images",
    )
