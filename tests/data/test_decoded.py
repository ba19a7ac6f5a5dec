"""Images that are decoded once: the same batches, and no decoder the second time."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.data import Stream, indexed, open_data
from largegan.data import decoded as decoded_module
from largegan.data.decoded import DecodedCache
from largegan.data.latents import LatentPreparation
from largegan.data.micros import RankShare
from largegan.data.pack import pack
from largegan.data.reading import Reading
from largegan.errors import ConfigError, DataError
from tests.data.conftest import picture, write_tar

PLACES = ("memory", "disk")


def reading(place: str, folder: Path, **settings) -> Reading:
    return Reading(decoded=place, cache_dir=str(folder), **settings)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What was decoded in this process."""
    seen: list[tuple] = []
    decode = indexed.decode_into

    def counting(data, out):
        seen.append(out.shape)
        decode(data, out)

    monkeypatch.setattr(indexed, "decode_into", counting)
    return seen


@pytest.mark.parametrize("place", PLACES)
def test_batches_are_the_same_and_decoded_once(shards, tmp_path, decodings, place: str) -> None:
    plain, cached = open_data(shards), open_data(shards, reading(place, tmp_path))
    picks = np.array([5, 100, 0, 5, 37])
    wanted = plain.read(picks)
    decodings.clear()
    for _ in range(3):
        found = cached.read(picks)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert len(decodings) == 4
    again = open_data(shards, reading(place, tmp_path))
    again.read(picks)
    assert len(decodings) == (4 if place == "disk" else 8)  # a file outlives its process


@pytest.mark.parametrize("place", PLACES)
def test_workers_share_it(shards, tmp_path, decodings, place: str) -> None:
    """Two epochs read by workers fill what the parent then reads without decoding."""
    source = open_data(shards, reading(place, tmp_path))
    stream = Stream(source, RankShare(16, 16), workers=1)
    reference = Stream(open_data(shards), RankShare(16, 16), workers=0)
    for _ in range(13):
        (mine,), (theirs,) = stream.next_batch(), reference.next_batch()
        assert torch.equal(mine["image"], theirs["image"])
    stream.close()
    decodings.clear()
    source.read(np.arange(101))
    assert decodings == []


def test_a_row_that_was_half_written_is_decoded_again(shards, tmp_path, decodings) -> None:
    source = open_data(shards, reading("disk", tmp_path))
    wanted = source.read(np.arange(4))["image"]
    source.decoded.rows[2, 7] ^= 1
    decodings.clear()
    assert torch.equal(source.read(np.arange(4))["image"], wanted) and len(decodings) == 1


def test_bad_images_are_not_kept(shards, tmp_path) -> None:
    copy = shutil.copytree(shards, tmp_path / "copy")
    source = open_data(copy, reading("memory", tmp_path))
    offset = int(source._entries[0, 0])
    with (copy / "shard-000000.tar").open("r+b") as file:
        file.seek(offset + 40)
        file.write(b"xxxx")
    source = open_data(copy, reading("memory", tmp_path))
    for _ in range(2):
        with pytest.raises(DataError, match="not a readable PNG"):
            source.read(np.arange(2))


def test_what_does_not_fit_is_a_sentence(shards, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(decoded_module, "SHARE", 1e-12)
    for place in PLACES:
        with pytest.raises(ConfigError, match=r"may be used that are free in .*leave out data"):
            open_data(shards, reading(place, tmp_path))
    with pytest.raises(ConfigError, match="choose one of no, memory, disk"):
        open_data(shards, reading("ram", tmp_path))


def test_latents_are_read_as_they_are(tmp_path) -> None:
    for i in range(3):
        (tmp_path / "l").mkdir(exist_ok=True)
        np.save(tmp_path / "l" / f"{i}.npy", np.zeros((4, 2, 2), np.float32))
    pack(tmp_path / "l", tmp_path / "shards", preparation=LatentPreparation(0.5))
    with pytest.raises(ConfigError, match="latents are stored as they are read"):
        DecodedCache(open_data(tmp_path / "shards").info, "memory", tmp_path)


def test_sets_of_the_same_sizes_in_bytes_are_not_mixed_up(tmp_path) -> None:
    """Images without compression all have one size; what is kept is that of the right set."""
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        out = io.BytesIO()
        Image.fromarray(picture(number)).save(out, "BMP")
        write_tar(tmp_path / str(number) / "s.tar", [("0.bmp", out.getvalue())])
        source = open_data(tmp_path / str(number), reading("disk", tmp_path / "cache"))
        found = source.read(np.arange(1))["image"][0].permute(1, 2, 0).numpy()
        assert np.array_equal(found, picture(number))
