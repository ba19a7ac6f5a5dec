"""One rank of two: scores files and a checkpoint, then meets a damaged image."""

import sys
from pathlib import Path

import torch

from largegan.errors import DataError
from largegan.evaluation import scores
from largegan.evaluation.image_sets import open_image_set
from largegan.metrics import table
from largegan.metrics.side import Settings
from largegan.parallel.launch import connect, disconnect, leave
from tests.evaluation.images import tiny_extractor


def main(photos: Path, run: Path, out: Path) -> None:
    world = connect(processes=2)
    torch.set_num_threads(1)
    extractor = tiny_extractor()
    for name, path in (("files", photos), ("drawn", run)):
        images = open_image_set(str(path), count=21)
        side = scores.extract(images, extractor, world, batch=4, features=True, chunks=20)
        real = scores.extract(open_image_set(str(photos)), extractor, world, features=True)
        found = table.compute(real, side, ["fid", "kid", "prdc"], Settings())
        if world.rank == 0:
            torch.save({"features": side.features, "scores": found}, out / f"{name}.pt")
    together_on_a_bad_image(photos, extractor, world)
    disconnect()


def together_on_a_bad_image(photos: Path, extractor, world) -> None:
    images = open_image_set(str(photos))
    original = images._image
    images._image = lambda n: fail(photos) if n == 17 else original(n)
    try:
        scores.extract(images, extractor, world, batch=4)
    except DataError as fault:
        print(f"DataError: {fault}")


def fail(photos: Path):
    raise DataError(f"17.png in {photos} is not a readable image")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    leave(0)
