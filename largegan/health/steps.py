"""Steps that went wrong: skipped on all ranks alike, undone, counted, and never hidden."""

import torch
from torch import nn

from largegan.errors import HealthStop
from largegan.recipe import Phase, Progress, StepReport


class BufferGuard:
    """Remembers a recipe's buffers, so that a step which is skipped leaves no trace in them.

    A forward pass through non-finite numbers writes them into batch-norm statistics and
    spectral-norm vectors, where skipping the optimizer step alone would keep them for ever.
    """

    def __init__(self, recipe: nn.Module):
        self.live = list(recipe.buffers())
        self.saved = [b.clone() for b in self.live]

    @torch.no_grad()
    def remember(self) -> None:
        if self.live:
            torch._foreach_copy_(self.saved, self.live)

    @torch.no_grad()
    def restore(self) -> None:
        if self.live:
            torch._foreach_copy_(self.live, self.saved)


class StepCounter:
    """Counts skipped steps per phase and stops the run when one phase fails too often in a row."""

    def __init__(self, max_in_a_row: int):
        self.max_in_a_row = max_in_a_row
        self.in_a_row: dict[str, int] = {}
        self.total = 0

    def note(self, phase: Phase, report: StepReport, at: Progress) -> dict | None:
        """An event for health.jsonl when the step was skipped, else None."""
        if report.finite:
            self.in_a_row[phase.name] = 0
            return None
        self.total += 1
        self.in_a_row[phase.name] = self.in_a_row.get(phase.name, 0) + 1
        return {
            "event": "skipped_step",
            "phase": phase.name,
            "player": phase.player,
            "culprit": report.culprit,
            "in_a_row": self.in_a_row[phase.name],
            "step": at.step,
            "nimg": at.nimg,
        }

    def stop_if_hopeless(self, phase: Phase, report: StepReport, at: Progress) -> None:
        """Raises `HealthStop` (exit code 5) at the n-th skipped step of a phase in a row."""
        count = self.in_a_row[phase.name]
        if count >= self.max_in_a_row:
            raise HealthStop(
                f"phase {phase.name} of player {phase.player} was not finite {count} times in a "
                f"row, first bad tensor: {report.culprit}, at {at.nimg} images; continue from the "
                "last checkpoint with a lower learning rate or stronger regularization"
            )

    def state_dict(self) -> dict:
        return {"total": self.total, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict) -> None:
        self.total, self.in_a_row = state["total"], dict(state["in_a_row"])
