"""Modes collapse: samples are few pictures, or much more alike than real images are."""

from largegan.health.verdicts import Finding, Line, above, gets_better

TWINS = 0.5  # of samples have a twin,
ALIKE = 0.35  # or samples are so near to each other, in distances of real images
LINES = 4


def found(window: list[Line]) -> Finding | None:
    """Ill when samples repeat each other and have parted before, or part no more.

    Every generator begins with one picture: while its samples come nearer to real images it is not
    ill.
    """
    newest = window[-1]
    diversity, twins = newest["health/diversity"], newest["health/duplicates"]
    if not (twins > TWINS or diversity < ALIKE) or gets_better(window, LINES):
        return None
    return Finding(
        max(above(twins, TWINS, 1.0), above(ALIKE - diversity, 0.0, ALIKE)),
        {"health/diversity": diversity, "health/duplicates": twins},
        f"samples differ {diversity:.0%} as much as real images do, and {twins:.0%} of them have "
        "a twin among them",
    )
