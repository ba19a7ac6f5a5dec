"""Batch norm over ranks: two processes are one process with their images together."""

import pytest
import torch
from safetensors.torch import load_file

from largegan.parallel.launch import World
from tests.forked import run_ranks
from tests.parallel import cross_rank_worker as worker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two ranks found, with their images in one and in two parts."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(["-m", "tests.parallel.cross_rank_worker", str(folder)], world=2)
    return folder


@pytest.fixture(scope="module")
def alone():
    """One process with all 16 images, by the number of parts it computes them in."""
    return {parts: worker.run(World(0, 1, torch.device("cpu")), parts) for parts in (1, 2)}


def merged(ranks: list[dict], name: str, parts: int) -> torch.Tensor:
    """What the ranks hold together: images in the order of the batch; of the rest, one copy."""
    if not name.startswith("images"):
        assert torch.equal(ranks[0][name], ranks[1][name]), f"{name} differs between ranks"
        return ranks[0][name]
    pieces = [rank[name].chunk(parts) for rank in ranks]
    return torch.cat([piece for step in zip(*pieces, strict=True) for piece in step])


@pytest.mark.parametrize("parts", [1, 2], ids=["whole", "accumulating"])
def test_two_processes_are_one(folder, alone, parts):
    """Images, gradients of both phases and running statistics, to 1e-5 of their size.

    With accumulation the batch of a norm is what the ranks compute at the same moment: two ranks
    in two parts are one process in two parts, and that is the only difference.
    """
    ranks = [load_file(folder / f"{parts}-{rank}.safetensors") for rank in (0, 1)]
    for name, wanted in alone[parts].items():
        error = (merged(ranks, name, parts) - wanted).abs().max()
        assert error <= 1e-5 * max(1.0, float(wanted.abs().max())), (name, float(error))


def test_accumulation_makes_smaller_batches_for_the_norm(alone):
    """The documented difference is there: else the test above would prove nothing about it."""
    whole, parted = alone[1]["images.G"], alone[2]["images.G"]
    assert (whole - parted).abs().max() > 1e-3
