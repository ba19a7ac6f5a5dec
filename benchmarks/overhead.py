#!/usr/bin/env python
"""What the trainer costs: its iteration of WGAN-GP against the same one written by hand.

    python benchmarks/overhead.py --machine "NAME OF THE CPU"

Same networks, losses, optimizers, EMA and bytes in memory; one thread on the CPU. The two take
turns, and the figure is the median of the ratios of neighbors, in CPU time, which other load on
the machine disturbs little. Before that both train from the same weights with the same noise, and
the largest difference of their weights is printed: were it not tiny, they would not do the same.

By hand means what a careful person writes for one process: freezing, no log, no check for NaN, no
gradient norm. So all that the trainer does on top is counted as its cost.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from largegan.data.transforms import to_device
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import gradient_penalty, wasserstein_d, wasserstein_g
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import Batch, DataSpec, Progress
from largegan.recipes.wgan_gp import WGANGP, WGANGPOptions
from largegan.trainer import Trainer

RESULTS = Path(__file__).parent / "results"
TARGET = 1.03
Reseed = Callable[[int, int], None]  # (phase, turn): what makes both draw the same noise


class Images:
    """Uint8 batches in memory, in turn; the trainer sees them as its stream."""

    def __init__(self, *, size: int, batch_size: int, count: int = 8):
        shape = (count, batch_size, 3, size, size)
        self.batches = torch.randint(0, 256, shape, dtype=torch.uint8).unbind(0)
        self.position = 0

    def next(self) -> Tensor:
        self.position += 1
        return self.batches[self.position % len(self.batches)]

    def next_batch(self) -> list[Batch]:
        return [{"image": self.next()}]


class ByHand:
    """WGAN-GP as one writes it without a trainer, on the networks of a recipe."""

    def __init__(self, recipe: WGANGP, images: Images, *, reseed: Reseed | None = None):
        # As the engine does. Without it the trainer would win by a memory format.
        self.recipe = recipe.to(memory_format=torch.channels_last)
        self.images, self.reseed = images, reseed
        self.opt_g = torch.optim.Adam(recipe.G.parameters(), lr=recipe.lr, betas=(0.0, 0.9))
        self.opt_d = torch.optim.Adam(recipe.D.parameters(), lr=recipe.lr, betas=(0.0, 0.9))
        self.at = Progress()
        self.critic_steps = recipe.phases[0].repeat

    def iteration(self) -> None:
        G, D, recipe = self.recipe.G, self.recipe.D, self.recipe
        set_trainable(G, False)
        set_trainable(D, True)
        for turn in range(self.critic_steps):
            real = to_device({"image": self.images.next()}, "cpu")["image"]
            self.seed(0, turn)
            with torch.no_grad(), frozen_statistics(G):
                fake = G(torch.randn(len(real), recipe.z_dim))
            loss = wasserstein_d(D(real), D(fake))
            loss = loss + recipe.gp * gradient_penalty(D, real, fake)
            self.opt_d.zero_grad(set_to_none=True)
            loss.backward()
            self.opt_d.step()
        set_trainable(G, True)
        set_trainable(D, False)
        self.seed(1, 0)
        loss = wasserstein_g(D(G(torch.randn(len(real), recipe.z_dim))))
        self.opt_g.zero_grad(set_to_none=True)
        loss.backward()
        self.opt_g.step()
        self.at = Progress(self.at.step + 1, self.at.nimg + len(real))
        recipe.G_ema.update(G, self.at, len(real))

    def seed(self, phase: int, turn: int) -> None:
        if self.reseed:
            self.reseed(phase, turn)


def set_trainable(net: nn.Module, trainable: bool) -> None:
    for p in net.parameters():
        p.requires_grad_(trainable)


def build_trainer(recipe: WGANGP, images: Images, *, batch_size: int) -> Trainer:
    """The trainer and engine of a one-process run."""
    engine = Engine(World(0, 1, torch.device("cpu")))
    engine.setup(recipe)
    return Trainer(
        recipe,
        engine,
        images,
        to_device=to_device,
        batch_size=batch_size,
        micro_batch_size=batch_size,
    )


def largest_difference(make: Callable[[], WGANGP], *, size: int, batch: int, steps: int) -> float:
    """Of any weight after both trained `steps` iterations on the same images and noise."""
    first = make()
    second = copy.deepcopy(first)
    torch.manual_seed(1)
    images = Images(size=size, batch_size=batch)
    trainer = build_trainer(first, images, batch_size=batch)
    hand = ByHand(second, copy.copy(images))
    hand.reseed = lambda phase, turn: seed_like(trainer, hand.at, phase, turn)
    for _ in range(steps):
        trainer.iteration()
    for _ in range(steps):
        hand.iteration()
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def seed_like(trainer: Trainer, at: Progress, phase: int, turn: int) -> None:
    """The trainer's own function of progress, asked about an earlier step."""
    now, trainer.at = trainer.at, at
    trainer.reseed(phase, turn, 0)
    trainer.at = now


def measure(contenders: list[Callable[[], None]], rounds: int) -> Iterator[tuple[float, ...]]:
    """CPU seconds of each contender, round by round; the first two rounds warm up."""
    for number in range(rounds + 2):
        order = list(enumerate(contenders))
        spent = [0.0] * len(contenders)
        for i, contender in order if number % 2 else order[::-1]:
            start = time.process_time()
            contender()
            spent[i] = time.process_time() - start
        if number >= 2:
            yield tuple(spent)


def benchmark(*, size: int, batch: int, channels: int, rounds: int) -> dict:
    spec = DataSpec(3, size, size)

    def make() -> WGANGP:
        torch.manual_seed(0)
        options = WGANGPOptions(z_dim=64, g_channels=channels, d_channels=channels)
        return WGANGP(spec, options)

    difference = largest_difference(make, size=size, batch=batch, steps=3)
    images = Images(size=size, batch_size=batch)
    trainer = build_trainer(make(), images, batch_size=batch)
    hand = ByHand(make(), copy.copy(images))
    spent = list(measure([trainer.iteration, hand.iteration], rounds))
    ours, theirs = (statistics.median(column) for column in zip(*spent, strict=True))
    ratios = sorted(a / b for a, b in spent)
    return {
        "setting": {"size": size, "batch": batch, "channels": channels, "critic_steps": 5},
        "ratio": round(statistics.median(ratios), 4),
        "ratio_95_percent_interval": [round(r, 4) for r in interval(ratios)],
        "ratio_of_medians": round(ours / theirs, 4),
        "cpu_ms_per_iteration": {
            "trainer": round(ours * 1e3, 2),
            "by_hand": round(theirs * 1e3, 2),
        },
        "largest_weight_difference_after_3_iterations": difference,
        "rounds": rounds,
    }


def interval(ordered: list[float]) -> tuple[float, float]:
    """95 % confidence interval of the median from order statistics, whatever the distribution."""
    middle, reach = len(ordered) / 2, 0.98 * len(ordered) ** 0.5
    return ordered[max(0, int(middle - reach))], ordered[min(len(ordered) - 1, int(middle + reach))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what to call this machine in the results")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = benchmark(
        size=arguments.size,
        batch=arguments.batch,
        channels=arguments.channels,
        rounds=arguments.rounds,
    )
    document = {"machine": arguments.machine, "torch": torch.__version__, **result}
    print(json.dumps(document, indent=1))
    print(f"trainer / by hand = {result['ratio']:.4f} (target: at most {TARGET})")
    RESULTS.mkdir(exist_ok=True)
    name = "-".join(arguments.machine.lower().split())
    (RESULTS / f"overhead-{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
