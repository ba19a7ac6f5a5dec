"""One rank of two; a loss is NaN on rank 1 only, once. Prints what happened."""

import hashlib

import torch

from largegan.parallel.launch import connect, disconnect, leave
from tests.recipes.common import iterate, make_recipe, make_trainer, weights
from tests.test_health import poison

world = connect(processes=2)
torch.set_num_threads(1)
trainer = make_trainer(make_recipe("sngan"), "sngan", world=world)
if world.rank == 1:
    poison(trainer, 1, {2})
iterate(trainer, 5)
state = weights(trainer.recipe)
digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()
assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())
print("skipped", trainer.bad_steps.total)
print("digest", digest)
disconnect()
leave(0)
