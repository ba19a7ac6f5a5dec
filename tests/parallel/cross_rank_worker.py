"""One rank of a group, or a process alone: BigGAN's two phases, and what they leave behind.

python -m tests.parallel.cross_rank_worker OUT: 16 images over all ranks, each rank's share in one
and then in two parts. Latents come with the batch, so that they do not depend on the split.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, connect, disconnect, leave
from largegan.recipe import DataSpec, Progress
from largegan.recipes.biggan import BigGAN, BigGANOptions
from tests.recipes.common import keep_gradients

IMAGES, SPEC = 16, DataSpec(3, 16, 16, 3)


class GivenLatents(BigGAN):
    """Takes z from the batch and keeps the images it made."""

    def fake(self, batch):
        self.made = self.G(batch["z"], batch["label"])
        return self.made


def data(rank: int, world: int, micro_batches: int) -> list[dict]:
    """This rank's micro-batches; the i-th ones of all ranks together are the i-th part of all."""
    random = torch.Generator().manual_seed(1)
    whole = {
        "image": torch.rand(IMAGES, 3, 16, 16, generator=random) * 2 - 1,
        "label": torch.randint(3, (IMAGES,), generator=random),
        "z": torch.randn(IMAGES, 6, generator=random),
    }
    parts = {k: v.chunk(micro_batches * world)[rank::world] for k, v in whole.items()}
    return [{k: v[i] for k, v in parts.items()} for i in range(micro_batches)]


def run(world: World, micro_batches: int) -> dict[str, torch.Tensor]:
    """Gradients of both phases after the reduction, running statistics, and this rank's images."""
    torch.manual_seed(0)
    options = BigGANOptions(z_dim=6, shared_dim=3, g_channels=4, d_channels=4, attention=8)
    recipe = GivenLatents(SPEC, options)
    for p in recipe.parameters():  # no gamma at 0, no weight whose rows are orthogonal
        torch.nn.init.normal_(p, std=0.3) if p.dim() else p.data.fill_(0.5)
    engine = Engine(world)
    engine.setup(recipe)
    keep_gradients(engine)
    found = {}
    for player, loss in (("D", recipe.discriminator), ("G", recipe.generator)):
        engine.begin(player, second_order=False)
        images = []
        for i, batch in enumerate(data(world.rank, world.size, micro_batches)):
            recipe.set_accumulating(i > 0)
            terms = loss(batch, Progress())
            engine.backward(sum(terms.values()) / (micro_batches * world.size), last=False)
            images.append(recipe.made.detach())
        reduce(engine, player)
        found |= {f"grad.{n}": p.grad for n, p in recipe.named_parameters() if p.grad is not None}
        found[f"images.{player}"] = torch.cat(images)
    found |= {n: b for n, b in recipe.G.named_buffers() if "running" in n}
    return {k: v.detach().contiguous().clone() for k, v in found.items()}


def reduce(engine: Engine, player: str) -> None:
    """The engine's reduction without its step: weights stay, so phases can be compared."""
    optimizer = engine.optimizers[player]
    optimizer.step = lambda: None
    terms = {"none": torch.zeros(())}
    engine.finish(player, Progress(), terms=terms, max_grad_norm=None)


def main(folder: Path) -> None:
    world = connect(processes=2)
    torch.set_num_threads(1)
    for parts in (1, 2):
        save_file(run(world, parts), folder / f"{parts}-{world.rank}.safetensors")
    disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
