"""The skip policy: bad samples are replaced alike everywhere, counted, and capped."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from largegan.data import Stream, open_data
from largegan.data.micros import RankShare
from largegan.data.reading import Reading
from largegan.errors import DataError
from tests.data.conftest import members, write_tar

BAD = ("00003.png", "00011.png", "00012.png")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    content = [(n, b"broken" if n in BAD else d) for n, d in members(40)]
    write_tar(tmp_path / "d" / "0.tar", content[:40])
    write_tar(tmp_path / "d" / "1.tar", content[40:])
    return tmp_path / "d"


def draw(path: Path, steps: int, *, workers: int, **ranks: int) -> tuple[torch.Tensor, dict]:
    source = open_data(path, Reading(on_error="skip", max_skip_fraction=0.1))
    stream = Stream(source, RankShare(8, 2, **ranks), workers=workers)
    micros = [m for _ in range(steps) for m in stream.next_batch()]
    skipped = stream.skipped
    stream.close()
    return torch.stack([m["index"] for m in micros]), skipped


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_replaced_and_counted(damaged: Path, workers: int) -> None:
    indices, skipped = draw(damaged, 5, workers=workers)  # one epoch of 40
    assert indices.shape == (20, 2) and skipped == {"samples": 3, "shards": 0}
    drawn = indices.flatten().tolist()
    assert not {3, 11, 12} & set(drawn) and len(set(drawn)) == 37


def test_all_ranks_and_workers_replace_alike(damaged: Path) -> None:
    reference, _ = draw(damaged, 10, workers=0)
    parts = [draw(damaged, 10, workers=1, rank=r, world=2)[0] for r in range(2)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), reference)


def test_too_many_bad_samples_stop_the_run(damaged: Path) -> None:
    source = open_data(damaged, Reading(on_error="skip", max_skip_fraction=0.05))  # two of forty
    for workers in (0, 1):
        stream = Stream(source, RankShare(8, 8), workers=workers)
        with pytest.raises(DataError, match="3 of 40 samples cannot be used"):
            for _ in range(6):
                stream.next_batch()
        stream.close()


@pytest.mark.parametrize("loss", ["truncate", "remove"])
def test_a_lost_shard_counts_and_spreads(shards: Path, tmp_path: Path, loss: str) -> None:
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    path = copy / "shard-000003.tar"
    if loss == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(DataError, match="shard-000003"):
        open_data(copy)
    with pytest.raises(DataError, match="of 101 samples cannot be used"):
        open_data(copy, Reading(on_error="skip"))
    source = open_data(copy, Reading(on_error="skip", max_skip_fraction=0.2))
    indices = source.read(np.arange(101))["index"]
    _, times = indices.unique(return_counts=True)
    assert times.max() <= 2  # the substitutes are different images
    assert source.policy.bad_shards == 1
    assert source.policy.samples == len(set(range(101)) - set(indices.tolist()))


def test_damaged_unindexed_shard_keeps_what_lies_before(damaged: Path) -> None:
    path = damaged / "1.tar"
    data = bytearray(path.read_bytes())
    data[data.index(b"00030.png")] ^= 1
    path.write_bytes(data)
    source = open_data(damaged, Reading(on_error="skip", max_skip_fraction=0.9))
    assert source.info.count in (29, 30) and source.policy.bad_shards == 1
    # Ten or eleven are lost; the estimate takes the padding at the end of this small file along.
    assert 10 <= source.policy.lost <= 20


def test_unlabelled_samples_are_left_out(tmp_path: Path) -> None:
    content = [(n, d) for n, d in members(20) if n != "00005.cls"]
    path = write_tar(tmp_path / "0.tar", content)
    source = open_data(path, Reading(on_error="skip", max_skip_fraction=0.1))
    assert source.info.count == 19 and source.policy.samples == 1


def test_nothing_readable(tmp_path: Path) -> None:
    content = [(n, b"x" if n.endswith("png") and n > "00000.png" else d) for n, d in members(6)]
    path = write_tar(tmp_path / "0.tar", content)
    source = open_data(path, Reading(on_error="skip", max_skip_fraction=1))
    assert source.read(np.array([4]))["index"].tolist() == [0]
