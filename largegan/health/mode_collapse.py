"""Modes collapse: samples are few pictures, or much more alike than real images are."""

from largegan.health.verdicts import Finding, Line, above

TWINS = 0.5  # of samples have a twin,
ALIKE = 0.35  # or samples are so near to each other, in distances of real images


def found(window: list[Line]) -> Finding | None:
    """Ill when samples repeat each other; not at the start, where they have not yet parted."""
    newest = window[-1]
    diversity, twins = newest["health/diversity"], newest["health/duplicates"]
    best = max(line["health/diversity"] for line in window)
    fell = diversity < ALIKE and best > 1.5 * diversity
    late = len(window) > LATE and diversity < ALIKE
    if not ((twins > TWINS and len(window) > 2) or fell or late):
        return None
    evidence = {"health/diversity": diversity, "health/duplicates": twins}
    return Finding(
        max(above(twins, TWINS, 1.0), above(ALIKE - diversity, 0.0, ALIKE)),
        evidence,
        f"samples differ {diversity:.0%} as much as real images, and {twins:.0%} of them have a "
        "twin",
    )


LATE = 8  # looks after which samples should have parted
