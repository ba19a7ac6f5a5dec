"""One rank of two: the signs that ADA counts and its p, and batch norm's running statistics. Prints
what it ends with.
"""

import torch
from torch import nn

from largegan.augment import ADA
from largegan.parallel.engine import Engine
from largegan.parallel.launch import connect, disconnect, leave
from largegan.recipe import Player, Progress, Recipe, adam


class Signs(Recipe):
    def __init__(self):
        super().__init__()
        self.D = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1, momentum=0.5, affine=False)
        self.ada = ADA("blit", every=1, nimg_to_full=100)
        self.players, self.phases = {"D": Player([self.D], adam(1e-2, 0.0, 0.9))}, []


def phase(engine: Engine, logits: list[float]) -> None:
    engine.begin("D", second_order=False)
    for logit in logits:
        engine.recipe.ada.observe(torch.tensor([logit]))
        engine.backward(engine.recipe.D(torch.ones(1, 1)).sum(), last=True)
    engine.finish("D", Progress(), terms={"loss": torch.zeros(())}, max_grad_norm=None)
    engine.recipe.absorb_pending()


world = connect(processes=2)
torch.set_num_threads(1)
engine = Engine(world)
engine.setup(Signs())
ada = engine.recipe.ada
# Seven of eight signs are positive, r = 0.75: over the target, though rank 1 alone sees r = 0.5.
phase(engine, [1.0, 2.0] if world.rank == 0 else [3.0, -1.0])
print("first", ada.signs.tolist())
phase(engine, [0.5, 0.5])
print("second", ada.signs.tolist())
ada.adapt(1, batch_size=8)
print("p", round(float(ada.p), 6), ada.signs.tolist())
# Two images on each rank: means 1 and 5, variances 2 and 2; running ones begin at 0 and 1.
engine.recipe.norm(torch.tensor([[0.0], [2.0]]) + 4 * world.rank)
phase(engine, [0.5])
print("running", engine.recipe.norm.running_mean.item(), engine.recipe.norm.running_var.item())
disconnect()
leave(0)
