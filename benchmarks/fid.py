#!/usr/bin/env python
"""FID's parts against clean-fid and SciPy: the distance, the resizing, the memory of statistics.

    python benchmarks/fid.py --machine "NAME OF THE CPU" --out benchmarks/results/fid.json

The contenders take turns in one process with one thread and the figure of each is the median of
its rounds, in CPU time, so other load on the machine disturbs little. Memory is the growth of the
peak resident size of a process of its own, started for that.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cleanfid.fid
import numpy as np
import scipy
import scipy.linalg
import torch

from largegan.metrics.features import as_rgb
from largegan.metrics.frechet import frechet_distance
from largegan.metrics.moments import Gaussian, Moments
from largegan.metrics.resize import device_resize

DIM, BATCH = 2048, 64
SAMPLES = 50_000
TARGETS = {"maths": 5.0, "memory": 1 / 5}


def spectra(dim: int) -> tuple[Gaussian, Gaussian]:
    """Two covariances that do not commute, with the power-law spectrum of Inception features."""
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.standard_normal((dim, dim)))
    turn, _ = np.linalg.qr(np.eye(dim) + 0.02 * random.standard_normal((dim, dim)))
    values = 10.0 / np.arange(1, dim + 1) ** 1.6
    first = (basis * values) @ basis.T
    second = (turn @ basis * (values * random.uniform(0.8, 1.25, dim))) @ (turn @ basis).T
    means = random.normal(0, 0.01, (2, dim))
    return tuple(
        Gaussian(torch.from_numpy(m), torch.from_numpy((c + c.T) / 2), SAMPLES)
        for m, c in zip(means, (first, second), strict=True)
    )


def by_scipy(a: Gaussian, b: Gaussian) -> float:
    """As clean-fid and pytorch-fid have it, whichever SciPy is installed."""
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    gap = float((a.mean - b.mean).square().sum())
    return gap + float(a.covariance.trace() + b.covariance.trace()) - 2 * np.trace(root).real


def take_turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, round by round; one round before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            start = time.process_time()
            contender()
            if number or rounds == 1:
                seconds[name].append(time.process_time() - start)
    return seconds


def maths(rounds: int) -> dict:
    a, b = spectra(DIM)
    found: dict[str, float] = {}
    seconds = take_turns(
        {
            "largegan": lambda: found.update(largegan=frechet_distance(a, b)),
            "scipy_sqrtm": lambda: found.update(scipy_sqrtm=by_scipy(a, b)),
        },
        rounds,
    )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "dim": DIM,
        "cpu_s": {name: round(value, 2) for name, value in medians.items()},
        "times_as_fast": round(medians["scipy_sqrtm"] / medians["largegan"], 2),
        "target": TARGETS["maths"],
        "distance": found,
        "rounds_s": seconds,
    }


def preprocessing(size: int, rounds: int) -> dict:
    """uint8 batches on the device to what the network eats, per image."""
    random = torch.Generator().manual_seed(size)
    images = torch.randint(0, 256, (16, 3, size, size), generator=random, dtype=torch.uint8)

    def published() -> None:
        """clean-fid's path for generators, with a feature network that costs nothing."""
        cleanfid.fid.get_model_features(
            lambda z: images,
            lambda x: x[:, :, 0, 0],
            z_dim=1,
            num_gen=len(images),
            batch_size=len(images),
            device=torch.device("cpu"),
            verbose=False,
        )

    seconds = take_turns(
        {"largegan": lambda: device_resize(as_rgb(images), (299, 299)), "cleanfid": published},
        rounds,
    )
    medians = {n: statistics.median(v) / len(images) * 1e3 for n, v in seconds.items()}
    return {
        "size": size,
        "cpu_ms_per_image": {name: round(value, 3) for name, value in medians.items()},
        "times_as_fast": round(medians["cleanfid"] / medians["largegan"], 2),
    }


def batches():
    """Features as they come from a network, one batch at a time."""
    random = np.random.default_rng(0)
    for start in range(0, SAMPLES, BATCH):
        rows = min(BATCH, SAMPLES - start)
        yield start, torch.from_numpy(random.random((rows, DIM), dtype=np.float32))


def stored() -> None:
    """clean-fid: a list of all features, one array of them, its covariance."""
    features = np.concatenate([batch.numpy() for _, batch in batches()])
    np.mean(features, axis=0)
    np.cov(features, rowvar=False)


def features_only() -> None:
    """The least that storing can take: one array, filled in place."""
    kept = np.zeros((SAMPLES, DIM), np.float32)
    for start, batch in batches():
        kept[start : start + len(batch)] = batch.numpy()


def streamed(chunks: int) -> None:
    moments = Moments(DIM, SAMPLES, chunks=chunks)
    for start, batch in batches():
        moments.add(batch, start)
    moments.finish()


MEMORY = {
    "moments": lambda: streamed(1),
    "moments_of_20_chunks": lambda: streamed(20),
    "features_only": features_only,
    "cleanfid": stored,
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory() -> dict:
    """MiB by which each made the peak of its own process grow."""
    found = {}
    for name in MEMORY:
        answer = subprocess.run(
            [sys.executable, __file__, "--measure-memory", name],
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = round(float(answer.stdout.split()[-1]), 1)
    share = max(found["moments"], found["moments_of_20_chunks"]) / found["features_only"]
    return {
        "samples": SAMPLES,
        "dim": DIM,
        "mib": found,
        "share_of_features_only": round(share, 3),
        "target": TARGETS["memory"],
    }


def show(results: dict) -> None:
    m = results["maths"]
    print(
        f"distance of {m['dim']} features: {m['cpu_s']} CPU s, {m['times_as_fast']} times as fast"
    )
    for row in results["preprocessing"]:
        print(f"resizing {row['size']} px: {row['cpu_ms_per_image']} ms, {row['times_as_fast']} x")
    print(f"memory: {results['memory']['mib']} MiB, {results['memory']['share_of_features_only']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", help="what to call this machine in the results")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure-memory", choices=MEMORY, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if arguments.measure_memory:
        streamed_once = torch.ones(4, 4, dtype=torch.float64)
        streamed_once @ streamed_once  # the library of matrix products is loaded
        before = peak_mib()
        MEMORY[arguments.measure_memory]()
        print(peak_mib() - before)
        return
    results = {
        "memory": memory(),
        "maths": maths(arguments.rounds),
        "preprocessing": [preprocessing(size, 5 * arguments.rounds) for size in (32, 256, 1024)],
    }
    show(results)
    if arguments.out:
        versions = {m.__name__: m.__version__ for m in (torch, np, scipy)}
        document = {"machine": arguments.machine, "versions": versions, **results}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
