#!/usr/bin/env python
"""An iteration of StyleGAN2 on the reference ops, and on ops that insert zeros: time and memory.

    python benchmarks/stylegan2_iteration.py --machine "NAME OF THE CPU"

Each phase (G, path length, D, R1) of the recipe with batches of 8 and channel_base 8192, one
thread, as the trainer runs it, in three variants of one network:

    ours     largegan.ops
    zeros    PyTorch's convolutions, activations and derivatives. Up-sampling inserts zeros and
             filters; the convolution follows at the high resolution. Down-sampling filters at the
             high resolution, before a strided convolution or before results are dropped
    literal  the same, and down-sampling comes after a convolution at the high resolution, as the
             definition of `conv2d_resample` says it

Before anything is timed, all variants of a small network compute the same gradients. They take
turns, and a figure is the median in CPU time. Memory is what a phase adds to the process at its
highest. The whole iteration has every phase once; the mean one has the lazy phases as rarely as
they are run.
"""

import argparse
import contextlib
import importlib
import statistics
import time
from collections.abc import Iterator
from unittest.mock import patch

import torch
import torch.nn.functional as F
from ops_reference import layout_of, peak_bytes, write, zeros_downsample2d, zeros_upsample2d
from torch import Tensor

from largegan.data.transforms import to_device
from largegan.layers import equalized
from largegan.nets import stylegan2, stylegan2_discriminator
from largegan.ops.bias_act.activations import ACTIVATIONS, Activation
from largegan.ops.fir.filter import IDENTITY, downsampling_padding, upsampling_padding
from largegan.ops.fir_act import operators as fir_act
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec
from largegan.recipes.stylegan2 import StyleGAN2, StyleGAN2Options
from largegan.trainer import Trainer

modulated_conv2d = importlib.import_module("largegan.ops.modulated_conv2d")  # not the function
BATCH, TARGET = 8, 1.5
VARIANTS = ("ours", "zeros", "literal")


def resample(literal: bool):
    """`ops.conv2d_resample`: up-sample, convolve, down-sample."""

    def conv2d_resample(x, w, f=None, *, up=1, down=1, padding=0, groups=1, flip_weight=True):
        w = w if flip_weight else w.flip(2, 3)
        if up > 1:
            pads = upsampling_padding(f, up, [padding] * 4)
            n, c, height, width = x.shape
            x = F.pad(x.reshape(n, c, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
            x = blur(x.reshape(n, c, 2 * height, 2 * width), f, pads, 4.0)
            return F.conv2d(x, w, groups=groups)
        if down == 1:
            return F.conv2d(x, w, padding=padding, groups=groups)
        pads = downsampling_padding(f, down, [padding] * 4)
        if literal:
            return blur(F.conv2d(F.pad(x, pads), w), f, [0] * 4, 1.0)[:, :, ::down, ::down]
        return F.conv2d(blur(x, f, pads, 1.0), w, stride=down)

    return conv2d_resample


def blur(x: Tensor, f: tuple[float, ...], pads: list[int], gain: float) -> Tensor:
    taps = torch.tensor(f, dtype=x.dtype).flip(0)
    kernel = (taps[:, None] * taps * gain).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, pads), kernel, groups=x.shape[1])


def image_upsample2d(x: Tensor, f: tuple[float, ...]) -> Tensor:
    """In the layout of ours: `randn_like` fills memory in its order, path lengths use it."""
    return zeros_upsample2d(x, f).contiguous(memory_format=layout_of(x))


def plain_bias_act(x, b=None, *, act="lrelu", alpha=None, gain=None, clamp=None):
    default = ACTIVATIONS[act]
    x = x if b is None else x + b.reshape(-1, *[1] * (x.ndim - 2))
    x = F.leaky_relu(x, default.alpha) if default.function is None else default.function(x)
    x = x * (default.gain if gain is None else gain)
    return x if clamp is None else x.clamp(-clamp, clamp)


def plain_activated(x: Tensor, b: Tensor | None, act: Activation) -> Tensor:
    return plain_bias_act(x, b, act=act.name, gain=act.gain, clamp=act.clamp)


def after_activation(conv):
    """`ops.act_conv2d_down`."""

    def act_conv2d_down(x, w, f, *, down, padding, bias, **act):
        return conv(plain_bias_act(x, bias, **act), w, f, down=down, padding=padding)

    return act_conv2d_down


def with_its_filter(conv):
    """`conv2d_before_fir`, but the filter is done and none is left to do."""

    def conv2d_before_fir(x, w, f, **call):
        return conv(x, w, f, **call), IDENTITY

    return conv2d_before_fir


@contextlib.contextmanager
def variant(name: str) -> Iterator[None]:
    """The networks' ops, replaced where they were imported."""
    with contextlib.ExitStack() as stack:
        if name != "ours":
            conv = resample(name == "literal")
            for module, attribute, function in (
                (equalized, "conv2d_resample", conv),
                (equalized, "act_conv2d_down", after_activation(conv)),
                (modulated_conv2d, "conv2d_resample", conv),
                (modulated_conv2d, "conv2d_before_fir", with_its_filter(conv)),
                (equalized, "bias_act", plain_bias_act),
                (fir_act, "bias_act", plain_activated),
                (stylegan2, "upsample2d", image_upsample2d),
                (stylegan2_discriminator, "downsample2d", zeros_downsample2d),
            ):
                stack.enter_context(patch.object(module, attribute, function))
        yield


class Images:
    """One batch of noise, for ever."""

    def __init__(self, size: int):
        self.image = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)

    def next_batch(self) -> list[dict[str, Tensor]]:
        return [{"image": self.image}]


def make_trainer(size: int, channel_max: int = 512) -> Trainer:
    torch.manual_seed(0)
    recipe = StyleGAN2(
        DataSpec(3, size, size),
        StyleGAN2Options(channel_base=8192, channel_max=channel_max, augment="none"),
    )
    engine = Engine(World(0, 1, torch.device("cpu")))
    engine.setup(recipe)
    return Trainer(
        recipe,
        engine,
        Images(size),
        to_device=to_device,
        batch_size=BATCH,
        micro_batch_size=BATCH,
    )


def gradients(trainer: Trainer, index: int) -> Tensor:
    """Of one phase, without its step."""
    phase = trainer.recipe.phases[index]
    trainer.engine.begin(phase.player, second_order=phase.second_order)
    trainer.reseed(index, 0, 0)
    sum(phase.loss(trainer.next_micro_batches()[0], trainer.at).values()).backward()
    params = trainer.recipe.players[phase.player].parameters()
    return torch.cat([p.grad.flatten() for p in params if p.grad is not None])


def largest_difference() -> float:
    """Of all phases' gradients, relative to ours, in a small network."""
    trainer, found = make_trainer(32, channel_max=16), {}
    for name in VARIANTS:
        with variant(name):
            found[name] = [gradients(trainer, i) for i in range(len(trainer.recipe.phases))]
    pairs = [(g, ours) for n in VARIANTS for g, ours in zip(found[n], found["ours"], strict=True)]
    return max(float((g - ours).norm() / ours.norm()) for g, ours in pairs)


def measure(trainer: Trainer, index: int, turns: int) -> dict[str, dict[str, float]]:
    """Seconds and bytes of one phase in every variant."""
    phase, micro = trainer.recipe.phases[index], trainer.next_micro_batches()
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    peaks = {}
    for _ in range(turns):
        for name in VARIANTS:
            with variant(name):
                start = time.process_time()
                peaks[name] = peak_bytes(lambda: trainer.run_phase(phase, micro, (index, 0)))
                seconds[name].append(time.process_time() - start)
    return {
        name: {"s": round(statistics.median(seconds[name]), 3), "mib": peaks[name] >> 20}
        for name in VARIANTS
    }


def report(size: int, turns: int) -> dict:
    trainer = make_trainer(size)
    phases = {}
    for index, phase in enumerate(trainer.recipe.phases):
        phases[phase.name] = measure(trainer, index, turns)
        print(size, phase.name, phases[phase.name], flush=True)
    return summary(size, phases, {phase.name: phase.every for phase in trainer.recipe.phases})


def summary(size: int, phases: dict[str, dict], every: dict[str, int]) -> dict:
    """Sums over the phases: each once, and each as often as it is run."""
    whole = {n: sum(p[n]["s"] for p in phases.values()) for n in VARIANTS}
    mean = {n: sum(p[n]["s"] / every[name] for name, p in phases.items()) for n in VARIANTS}
    return {
        "size": size,
        "phases": phases,
        "whole_iteration_s": {n: round(s, 3) for n, s in whole.items()},
        "whole_iteration_speedup": {n: round(s / whole["ours"], 2) for n, s in whole.items()},
        "mean_iteration_s": {n: round(s, 3) for n, s in mean.items()},
        "mean_iteration_speedup": {n: round(s / mean["ours"], 2) for n, s in mean.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what this ran on, for the record")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    difference = largest_difference()
    print(f"gradients differ by {difference:.1e} of their norm at most", flush=True)
    if difference > 1e-3:
        raise SystemExit("error: the variants are not one network; nothing was timed")
    setting = {"target": TARGET, "batch": BATCH, "channel_base": 8192, "threads": 1}
    setting |= {"turns": arguments.turns, "difference": difference}
    sizes = []
    for size in arguments.sizes:
        sizes.append(report(size, arguments.turns))
        write("stylegan2-iteration", arguments.machine, setting | {"sizes": sizes})


if __name__ == "__main__":
    main()
