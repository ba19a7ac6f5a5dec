#!/usr/bin/env python
"""CPU time per image of largegan's reader, webdataset's pipelines and ImageFolder, side by side.

    python benchmarks/data.py --machine "NAME OF THE CPU" --out benchmarks/results/data.json

Everything runs in one process with one thread on the same images; the contenders take turns, and
the figure of each is the median of its rounds. Process CPU time is measured, so other load on the
machine disturbs little. The images are made here: smooth noise with edges, whose JPEG sizes at
quality 95 are those of photographs (about 3 KB at 64 pixels, 30 KB at 256).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image
from torchvision.datasets import ImageFolder

from largegan.data import Stream, open_data
from largegan.data.micros import RankShare
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout

BATCH, CLASSES = 64, 10
Contender = Callable[[], Iterator[int]]  # yields the number of images as it reads them
# The reader's time is to be at most this share of another's, by image size.
TARGETS = {64: {"wds_torchrgb8": 1 / 5}, 256: {"wds_torchrgb8": 1 / 2.2, "bare_decoder": 1.15}}


def photograph(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise that is smooth at several scales, some sharp edges and a little grain."""
    image = np.zeros((size, size, 3))
    for cells, contrast in ((3, 60), (8, 35), (24, 22), (size // 4, 9)):
        noise = rng.normal(0, contrast, (cells + 1, cells + 1, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(noise.astype(np.uint8)).resize((size, size), Image.BICUBIC)
        image += np.asarray(layer, float) - 128
    y, x = np.mgrid[:size, :size] / size
    for _ in range(6):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
        side = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) > offset
        image += side[..., None] * rng.normal(0, 30, 3)
    image += rng.normal(0, 2.5 if size <= 64 else 3.4, image.shape)
    return (image - image.mean() + 120).clip(0, 255).astype(np.uint8)


def make_images(folder: Path, *, size: int, count: int) -> None:
    rng = np.random.default_rng(size)
    for i in range(count):
        path = folder / f"class{i % CLASSES}" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(rng, size)).save(path, compress_level=1)


def same_images_as_files(shards: Path, folder: Path) -> list[bytes]:
    """Unpack the shards into an ImageFolder, and return the JPEG bytes for the bare decoder."""
    encoded = []
    for sample in webdataset.WebDataset(sorted(map(str, shards.glob("*.tar"))), shardshuffle=False):
        path = folder / sample["cls"].decode() / f"{sample['__key__']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample["jpg"])
        encoded.append(sample["jpg"])
    return encoded


def largegan_reader(shards: Path, count: int) -> Contender:
    def run() -> Iterator[int]:
        source = open_data(shards)
        stream = Stream(source, RankShare(BATCH, BATCH), workers=0)
        for _ in range(count // BATCH):
            for micro in stream.next_batch():
                yield len(micro["image"])

    return run


def webdataset_builtin(shards: Path) -> Contender:
    def run() -> Iterator[int]:
        urls = sorted(map(str, shards.glob("*.tar")))
        data = webdataset.WebDataset(urls, shardshuffle=100, seed=0).shuffle(1000)
        data = data.decode("torchrgb8").to_tuple("jpg", "cls").batched(BATCH)
        yield from (len(images) for images, _ in data)

    return run


def webdataset_fast(shards: Path) -> Contender:
    """webdataset with our decoder, to tell what the decoder brings from what the reader brings."""

    def decode(sample: dict) -> tuple[torch.Tensor, int]:
        pixels = simplejpeg.decode_jpeg(sample["jpg"], "RGB")
        return torch.from_numpy(pixels).permute(2, 0, 1), int(sample["cls"])

    def run() -> Iterator[int]:
        urls = sorted(map(str, shards.glob("*.tar")))
        data = webdataset.WebDataset(urls, shardshuffle=100, seed=0).shuffle(1000)
        yield from (len(images) for images, _ in data.map(decode).batched(BATCH))

    return run


def image_folder(folder: Path) -> Contender:
    def as_tensor(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def run() -> Iterator[int]:
        data = ImageFolder(str(folder), transform=as_tensor)
        loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True)
        yield from (len(images) for images, _ in loader)

    return run


def bare_decoder(encoded: list[bytes]) -> Contender:
    def run() -> Iterator[int]:
        for data in encoded:
            simplejpeg.decode_jpeg(data, "RGB")
            yield 1

    return run


def measure(contenders: dict[str, Contender], *, rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU per image, one figure per contender and round; a first round warms up."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            start = time.process_time()
            images = sum(contender())
            if number:
                figures[name].append((time.process_time() - start) / images * 1e6)
    return figures


def benchmark(size: int, *, count: int, rounds: int) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_images(root / "png", size=size, count=count)
        pack(root / "png", root / "shards", preparation=Preparation(), layout=Layout(shard_count=8))
        encoded = same_images_as_files(root / "shards", root / "folder")
        figures = measure(
            {
                "largegan": largegan_reader(root / "shards", count),
                "bare_decoder": bare_decoder(encoded),
                "wds_torchrgb8": webdataset_builtin(root / "shards"),
                "wds_simplejpeg": webdataset_fast(root / "shards"),
                "image_folder": image_folder(root / "folder"),
            },
            rounds=rounds,
        )
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {
        "size": size,
        "images": count,
        "jpeg_bytes_mean": round(statistics.mean(map(len, encoded))),
        "cpu_us_per_image": {name: round(value, 1) for name, value in medians.items()},
        "ratio_to_largegan": {n: round(v / medians["largegan"], 2) for n, v in medians.items()},
        "rounds_us": {name: [round(v, 1) for v in values] for name, values in figures.items()},
    }


def show(result: dict) -> None:
    print(f"{result['size']} px, {result['images']} JPEGs of {result['jpeg_bytes_mean']} bytes")
    for name, value in result["cpu_us_per_image"].items():
        ratio = result["ratio_to_largegan"][name]
        print(f"  {name:16s} {value:8.1f} us/image   {ratio:5.2f} x largegan")
    for name, share in TARGETS.get(result["size"], {}).items():
        reached = 1 / result["ratio_to_largegan"][name]
        print(f"  target: {share:.2f} of {name}; reached {reached:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what to call this machine in the results")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for size in arguments.sizes:
        count = BATCH * (48 if size <= 64 else 24)
        results.append(benchmark(size, count=count, rounds=arguments.rounds))
        show(results[-1])
    if arguments.out:
        versions = {m.__name__: m.__version__ for m in (torch, webdataset, simplejpeg, np)}
        document = {"machine": arguments.machine, "versions": versions, "results": results}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
