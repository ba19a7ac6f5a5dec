#!/usr/bin/env python
"""A simulation, not a measurement: step time and efficiency of three GANs on 8 to 1,024 H100s.

    python benchmarks/scale.py

Operations, FLOPs and bytes are counted by running each phase on tensors without data, as `python
-m largegan.train --dry-run` does, on one core and without a GPU; what hardware makes of them is
assumed (the assumptions head the table). BigGAN keeps its batch of 2,048 and shares it out;
StyleGAN2 and CycleGAN keep the images per GPU, so their batch grows. The same estimate is held
against published times of StyleGAN2, which were measured on 8 A100 and V100 with other, fused
kernels. Results go to results/scale.json and .md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jsonargparse import Namespace

from largegan.config.parse import parse, recipe_options
from largegan.doctor.count import Count, count
from largegan.doctor.dry_run import declared_spec
from largegan.doctor.estimate import ASSUMED, Iteration, Setting, iteration, memory_gib
from largegan.doctor.hardware import GPUS, assumptions
from largegan.recipes import build

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
WORLDS = (8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Model:
    name: str
    config: str
    batch_size: int | None = None  # of the whole run; None: grows with the GPUs
    per_gpu: int = 32  # images of a micro-batch at most


MODELS = [
    Model("BigGAN-128, batch 2048", "biggan_imagenet128", batch_size=2048),
    Model("StyleGAN2-1024, 4 images a GPU", "stylegan2_config_f", per_gpu=4),
    Model("CycleGAN-256, 1 image a GPU", "cyclegan_horse2zebra", per_gpu=1),
]

# Seconds per 1,000 images on 8 GPUs, from the documents of stylegan3's code base.
PUBLISHED = [
    ("stylegan2_paper256", {"recipe.channel_base": 16384}, 64, {"a100": 2.19, "v100": 3.61}),
    ("stylegan2_paper512", {}, 32, {"a100": 6.60, "v100": 10.90}),
    ("stylegan2_config_f", {}, 32, {"a100": 14.57, "v100": 17.55}),
]


def configuration(name: str, **options: object) -> Namespace:
    words = [f"--{key}={value}" for key, value in options.items()]
    return parse(["--config", str(ROOT / f"configs/{name}.yaml"), *words])


def counted(config: Namespace, size: int, world: int) -> Count:
    spec, _ = declared_spec(config)
    make = partial(build, config.recipe.name, spec, recipe_options(config))
    return count(make, spec, micro_batch_size=size, world=world)


def setting(found: Count, config: Namespace, batch: int, world: int, gpu: str) -> Setting:
    engines = dict.fromkeys(found.parameters, "replicated")
    return Setting(batch, world, GPUS[gpu], config.train.precision, engines)


def simulate(model: Model) -> Iterator[dict]:
    """A row per number of GPUs."""
    config = configuration(model.config)
    counts: dict[int, Count] = {}
    first: Iteration | None = None
    for world in WORLDS:
        batch = model.batch_size or model.per_gpu * world
        size = min(model.per_gpu, batch // world)
        if size not in counts:
            counts[size] = counted(config, size, world)
        run = setting(counts[size], config, batch, world, "h100")
        once = iteration(counts[size], run)
        first = first or once
        yield {
            "gpus": world,
            "batch": batch,
            "micro_batch": size,
            "step_s": once.seconds,
            "images_per_s": once.images_per_s,
            "efficiency": once.images_per_s / world / (first.images_per_s / WORLDS[0]),
            "compute_s": once.compute_s,
            "links_s": once.links_s,
            "waiting_s": once.waiting_s,
            "link_mib": once.link_bytes / 2**20,
            "bound_by": once.binding,
            "memory_gib": sum(memory_gib(counts[size], run).values()),
        }


def compare() -> Iterator[dict]:
    """This estimate against published times."""
    for name, options, batch, seconds in PUBLISHED:
        config = configuration(name, **options)
        found = counted(config, batch // 8, 8)
        for gpu, published in seconds.items():
            once = iteration(found, setting(found, config, batch, 8, gpu))
            estimate = 1000 / once.images_per_s
            yield {
                "config": name,
                "gpus": f"8 {GPUS[gpu].name}",
                "estimated_s_per_kimg": estimate,
                "published_s_per_kimg": published,
                "ratio": published / estimate,
            }


def markdown(document: dict) -> str:
    parts = [
        "# Simulated scaling on H100s",
        "**A simulation: nothing in this file was measured.** Operations are counted, hardware is "
        "assumed, by `python benchmarks/scale.py`. Efficiency is images/s per GPU against the "
        "first row. All players replicated, gradients in float32.",
        "\n".join(f"- {sentence}" for sentence in document["assumed"]),
    ]
    for name, rows in document["models"].items():
        parts += [f"## {name}", table(SCALING, rows)]
    parts += [
        "## The same estimate against published times of StyleGAN2",
        "Published times are of 8 GPUs and another program, with fused kernels.",
        table(AGAINST, document["published"]),
    ]
    return "\n\n".join(parts) + "\n"


SCALING = {  # heading: (key, format)
    "GPUs": ("gpus", "d"),
    "batch": ("batch", "d"),
    "images a GPU at once": ("micro_batch", "d"),
    "step, s": ("step_s", ".3f"),
    "images/s": ("images_per_s", ".0f"),
    "efficiency": ("efficiency", ".0%"),
    "compute, s": ("compute_s", ".3f"),
    "links, s": ("links_s", ".4f"),
    "waiting, s": ("waiting_s", ".4f"),
    "MiB on links": ("link_mib", ".0f"),
    "memory, GiB": ("memory_gib", ".1f"),
    "bound by": ("bound_by", "s"),
}
AGAINST = {
    "config": ("config", "s"),
    "GPUs": ("gpus", "s"),
    "estimated s/kimg": ("estimated_s_per_kimg", ".2f"),
    "published s/kimg": ("published_s_per_kimg", ".2f"),
    "published / estimated": ("ratio", ".2f"),
}


def table(columns: dict[str, tuple[str, str]], rows: list[dict]) -> str:
    lines = [[*columns], ["---"] * len(columns)]
    lines += [[format(row[key], how) for key, how in columns.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    document = {
        "assumed": [*assumptions(GPUS["h100"]), *ASSUMED],
        "models": {model.name: list(simulate(model)) for model in MODELS},
        "published": list(compare()),
    }
    (RESULTS / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "scale.md").write_text(markdown(document))
    print(markdown(document))


if __name__ == "__main__":
    main()
