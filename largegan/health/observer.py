"""Adds up signals while training: no pass of its own, no random number, nothing of it is changed.

Sums are those of this rank's micro-batches; means over ranks are taken when a line is due. What was
added up since the last line is in the checkpoint, so the next line is the same after a resume.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from largegan.health.scores import NAMES, statistics
from largegan.health.signals import PREFIX
from largegan.recipe import NormalizesSpectrally, Phase, Progress, Recipe, Scored, StepReport

EVERY = 8  # iterations: small networks would feel it otherwise


class Observer:
    """What discriminators said and how long gradients were, since the last line.

    Args:
        recipe: in training.
        mean: over ranks, of a small tensor (`Engine.mean`).
    """

    def __init__(self, recipe: Recipe, mean: Callable[[Tensor], Tensor]):
        self.recipe, self.mean = recipe, mean
        self.scores: dict[str, Tensor] = {}  # by phase: `NAMES`, and how often
        self.norms: dict[str, list[float]] = {}  # by phase: a sum, alike on every rank, and so on
        self.heard: list[Scored] = []
        self.judging: set[str] = set()  # phases in which a discriminator spoke
        self.one = torch.ones(1, device=next(recipe.parameters()).device)

    def hear(self, phase: Phase, at: Progress) -> None:
        """After a micro-batch's loss."""
        scored = self.recipe.take_scored()
        if scored:
            self.judging.add(phase.name)
        if at.step % EVERY == 0:
            self.heard += scored

    @torch.no_grad()
    def keep(self, phase: Phase, report: StepReport) -> None:
        """After a step; one that was skipped does not count."""
        heard, self.heard = self.heard, []
        if not report.finite:
            return
        for scored in heard:
            values = torch.cat([statistics(scored), self.one])
            before = self.scores.get(phase.name)
            self.scores[phase.name] = values if before is None else before + values
        if not phase.second_order or heard:
            total, often = self.norms.get(phase.name, (0.0, 0.0))
            self.norms[phase.name] = [total + report.grad_norm, often + 1]

    def state_dict(self) -> dict[str, dict[str, list[float]]]:
        """For the checkpoint: sums since the last line, means over ranks. All ranks call it."""
        scores = {}
        if self.scores:
            names = sorted(self.scores)
            rows = self.mean(torch.stack([self.scores[name] for name in names])).tolist()
            scores = dict(zip(names, rows, strict=True))
        return {"scores": scores, "norms": dict(self.norms)}

    def load_state_dict(self, state: dict[str, dict[str, list[float]]]) -> None:
        """Goes on from there, with any number of ranks, without sums of phases that are gone."""
        known = {phase.name for phase in self.recipe.phases}
        self.scores = {
            name: torch.tensor(row, device=self.one.device)
            for name, row in state.get("scores", {}).items()
            if name in known and len(row) == len(NAMES) + 1
        }
        norms = state.get("norms", {}).items()
        self.norms = {name: row for name, row in norms if name in known and len(row) == 2}

    def line(self) -> dict[str, float]:
        """The signals since the last line, by their names in metrics.jsonl; begins the next one.

        All ranks call it, and get the same.
        """
        sums = self.state_dict()
        self.scores.clear()
        self.norms.clear()
        found = spoken(means(sums["scores"])) | self.lengths(sums["scores"], means(sums["norms"]))
        singular = singular_max(self.recipe)
        if singular is not None:
            found["singular_max"] = singular
        return {PREFIX + name: value for name, value in found.items()}

    def lengths(self, judging: Collection[str], norms: dict[str, list[float]]) -> dict[str, float]:
        """Lengths of gradients: of the phases in which a discriminator spoke, and of others'."""
        player_of = {phase.name: phase.player for phase in self.recipe.phases}
        players = {player_of[name] for name in judging}
        d = [norm for name, (norm,) in norms.items() if name in judging]
        g = [norm for name, (norm,) in norms.items() if player_of[name] not in players]
        if not (d and g):
            return {}
        norm_d, norm_g = sum(d) / len(d), sum(g) / len(g)
        ratio = {"grad_ratio": norm_g / norm_d} if norm_d else {}
        return {"grad_norm_d": norm_d, "grad_norm_g": norm_g} | ratio


def means(sums: dict[str, list[float]]) -> dict[str, list[float]]:
    """By phase; the last number of each sum is how often something was added."""
    return {name: [value / often for value in row] for name, (*row, often) in sums.items()}


def spoken(by_phase: dict[str, list[float]]) -> dict[str, float]:
    """`NAMES` and the scores of courses, of all discriminators together."""
    if not by_phase:
        return {}
    columns = zip(*by_phase.values(), strict=True)
    found = {name: sum(column) / len(by_phase) for name, column in zip(NAMES, columns, strict=True)}
    found["score_d"] = (found["score_real"] + 1 - found["score_fake"]) / 2
    found["score_g"] = found["score_fake"]
    return found


@torch.no_grad()
def singular_max(recipe: Recipe) -> float | None:
    """The largest of the values that spectral norm divides by; None without it."""
    nets = [net for player in recipe.players.values() for net in player.nets]
    layers = [m for net in nets for m in net.modules() if isinstance(m, NormalizesSpectrally)]
    values = [layer.sigma.max() for layer in layers]
    return float(torch.stack(values).max()) if values else None
