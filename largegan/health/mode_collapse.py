"""Modes collapse: samples are few pictures, or much more alike than real images are."""

from largegan.health.verdicts import Finding, Line, above, gets_better

ALIKE = 0.35  # samples are so near to each other, in distances of real images,
TWINS = 0.5  # or so many of them have a twin,
APART = 0.5  # and they are not far from each other, either;
ALL = 0.95  # with a twin, though they are far apart: a line of pictures, as from one number
LINES = 6
COVERED = 0.8  # of real images: where so many were near to a sample,
REACHED = 3  # in so many looks (a single one may be luck),
LOST = 0.7  # fewer than this part of them is a lost mode


def found(window: list[Line]) -> Finding | None:
    """Ill when samples repeat each other and have parted before, or part no more.

    Every generator begins with one picture: while its samples come nearer to real images it is not
    ill.
    """
    newest = window[-1]
    diversity, twins = newest["health/diversity"], newest["health/duplicates"]
    few = diversity < ALIKE or (twins > TWINS and diversity < APART)
    alike = (few and not gets_better(window, LINES)) or (twins > ALL and diversity >= APART)
    return few_pictures(diversity, twins) if alike else lost_modes(window)


def few_pictures(diversity: float, twins: float) -> Finding:
    """Samples that repeat each other."""
    return Finding(
        max(above(twins, TWINS, 1.0), above(ALIKE - diversity, 0.0, ALIKE)),
        {"health/diversity": diversity, "health/duplicates": twins},
        f"samples differ {diversity:.0%} as much as real images do, and {twins:.0%} of them have "
        "a twin among them",
    )


def lost_modes(window: list[Line]) -> Finding | None:
    """Samples that no longer reach real images which they reached before."""
    name = "health/coverage"
    if len(window) < REACHED:
        return None
    best, now = sorted(line[name] for line in window)[-REACHED], window[-1][name]
    if best < COVERED or now > LOST * best:
        return None
    return Finding(
        above(best - now, (1 - LOST) * best, best),
        {name: now, "health/diversity": window[-1]["health/diversity"]},
        f"{now:.0%} of real images have a sample near them, and {best:.0%} had one",
    )
