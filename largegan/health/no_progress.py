"""No progress: samples are not good, and are what they were."""

from largegan.health.verdicts import Finding, Line, above, mean

LINES = 6
SAME = 0.02  # relative change of the distance over so many looks
FAR = 0.1


def found(window: list[Line]) -> Finding | None:
    """Ill when the distance to real images stands still far from 0."""
    if len(window) < LINES:
        return None
    values = [line["health/distance"] for line in window[-LINES:]]
    distance = mean(window, "health/distance", LINES)
    change = (max(values) - min(values)) / max(distance, 1e-12)
    if distance < FAR or change > SAME:
        return None
    return Finding(
        above(SAME - change, 0.0, SAME),
        {"health/distance": distance},
        f"for {LINES} looks samples have stayed {distance:.2f} away from real images",
    )
