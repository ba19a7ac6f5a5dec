"""Training diverges: steps are not finite, or outputs and gradients grow without an end."""

from largegan.health.verdicts import Finding, Line, above

SKIPPED = 3  # steps between two lines
GROWN = 100.0  # times what it was on the lines before
HUGE = 1e3  # an output of the discriminator


def found(window: list[Line]) -> Finding | None:
    """Ill when steps are skipped, or the discriminator's outputs explode."""
    newest, before = window[-1], window[:-1]
    skipped = newest["health/skipped_steps"] - (before[-1]["health/skipped_steps"] if before else 0)
    if skipped >= SKIPPED:
        evidence = {"health/skipped_steps": newest["health/skipped_steps"]}
        return Finding(1.0, evidence, f"{skipped:.0f} steps in a row of lines were not finite")
    size, name = newest.get("health/logit_spread"), "health/logit_spread"
    if size is None or size < HUGE:
        return None
    return Finding(
        above(size, HUGE, 10 * HUGE),
        {name: size},
        f"outputs of the discriminator spread over {size:.3g}",
    )
