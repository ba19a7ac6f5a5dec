"""A stand-in for CUDA graphs, where there is no GPU; also what each of two ranks does with it."""

import torch

from largegan.parallel.launch import connect, disconnect
from largegan.run.replays import PROOFS, WARM, Replays
from tests.parallel.product import make, train

ENOUGH = WARM + PROOFS + 3  # runs of a phase until it is replayed, and one more


class Again:
    """Stands in for a CUDA graph: the step once more, its results where the first ones were."""

    def __init__(self, recipe):
        self.recipe, self.repeated = recipe, 0

    def __call__(self, run):
        gradients, said = {}, None

        def repeat():
            self.repeated += 1
            moving = [p for p in self.recipe.parameters() if p.requires_grad]
            for p in moving:
                if gradients.get(p) is not None and p.grad is not gradients[p]:
                    p.grad = None
            run()
            for p, first in gradients.items():
                if first is not None and p.grad is not first:
                    first.copy_(p.grad)
            now = self.recipe.said()
            for name, first in said.watched.items():
                first.copy_(now.watched[name])
            for by, first in said.scored.items():
                first.real.copy_(now.scored[by].real)
                first.fake.copy_(now.scored[by].fake)

        run()
        gradients |= {p: p.grad for p in self.recipe.parameters() if p.requires_grad}
        said = self.recipe.said()
        return repeat


def main(names: list[str]) -> None:
    """Without overlap, gradients leave after the backward pass: it can be recorded."""
    world = connect(timeout_s=300)
    torch.set_num_threads(1)
    for name in names:
        ends = []
        for replayed in (False, True):
            trainer, lines = make(name, "without overlap", world), []
            for phase in trainer.recipe.phases:
                object.__setattr__(phase, "every", 1)
            if replayed:
                assert all(share.recordable for share in trainer.engine.shares.values())
                trainer.replays = Replays(trainer.recipe, Again(trainer.recipe), lines.append)
            train(trainer, ENOUGH)
            ends.append(trainer.engine.model_state())
        assert all("is replayed" in line for line in lines), lines
        assert trainer.replays.record.repeated > 0
        for key, value in ends[0].items():
            assert torch.equal(value, ends[1][key]), (name, key)
    disconnect()
