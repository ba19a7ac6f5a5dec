"""One rank of two; on rank 1 only a loss is NaN in one step of G, and a term is infinite whose
gradient is not in two steps of D. Prints what happened.
"""

import hashlib

import torch

from largegan.parallel.launch import connect, disconnect, leave
from tests.health.test_steps import add_infinite_term, poison
from tests.recipes.common import iterate, make_recipe, make_trainer, weights

world = connect(processes=2)
torch.set_num_threads(1)
trainer = make_trainer(make_recipe("sngan"), "sngan", world=world)
if world.rank == 1:
    poison(trainer, 1, {2})
    add_infinite_term(trainer, 0, 3)
iterate(trainer, 5)
state = weights(trainer.recipe)
digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()
assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())
print("skipped", trainer.bad_steps.total)
print("digest", digest)
disconnect()
leave(0)
