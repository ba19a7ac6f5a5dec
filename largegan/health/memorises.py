"""The generator memorizes: many of its samples are training images."""

from largegan.health.verdicts import Finding, Line, above

COPIES = 0.25  # of samples


def found(window: list[Line]) -> Finding | None:
    """Ill when a sample in four is a training image."""
    copies = window[-1]["health/copies"]
    if copies < COPIES:
        return None
    return Finding(
        above(copies, COPIES, 0.75),
        {"health/copies": copies},
        f"{copies:.0%} of samples are nearly a training image",
    )
