"""Training diverges: steps are not finite, or the discriminator's outputs grow without an end."""

from largegan.health.verdicts import Finding, Line, above

SKIPPED = 3  # steps between two lines
HUGE = 250.0  # how far outputs of the discriminator spread,
GROWN = 10.0  # and how many times as far as they did before
SPREAD = "health/logit_spread"


def found(window: list[Line]) -> Finding | None:
    """Ill when steps are skipped, or the discriminator's outputs explode."""
    name = "health/skipped_steps"
    newest, before = window[-1], window[-2] if len(window) > 1 else {name: 0}
    skipped = newest[name] - before[name]
    if skipped >= SKIPPED:
        sentence = f"{skipped:.0f} steps since the line before were not finite"
        return Finding(1.0, {name: newest[name]}, sentence)
    spreads = [line[SPREAD] for line in window if SPREAD in line]
    if not spreads or spreads[-1] < max(HUGE, GROWN * min(spreads)):
        return None
    return Finding(
        above(spreads[-1], HUGE, 10 * HUGE),
        {SPREAD: spreads[-1]},
        f"outputs of the discriminator spread over {spreads[-1]:.3g}, once {min(spreads):.3g}",
    )
