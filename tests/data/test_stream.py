"""The stream: the same images for any number of ranks and workers, from any position on."""

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from largegan.data import Stream, open_data
from largegan.data.micros import RankShare, answer
from largegan.data.reading import Reading
from largegan.errors import ConfigError, DataError

WORLDS, WORKERS = (1, 2, 4, 8), (0, 1, 3)
BATCH, MICRO = 16, 2


def batches(
    path: Path, steps: int, *, world: int, workers: int = 0, state: dict | None = None, **settings
) -> list[list[dict]]:
    """Global batches, each as its micro-batches in order, put together from all ranks."""
    source, streams = open_data(path), []
    for rank in range(world):
        stream = Stream(
            source,
            RankShare(settings.get("batch", BATCH), settings.get("micro", MICRO), rank, world),
            seed=settings.get("seed", 1),
            workers=workers,
            mirror=True,
        )
        if state:
            stream.load_state_dict(state)
        streams.append(stream)
    out = []
    for _ in range(steps):
        shares = [stream.next_batch() for stream in streams]
        out.append([m for ms in itertools.zip_longest(*shares) for m in ms if m is not None])
    for stream in streams:
        stream.close()
    return out


def stacked(global_batches: list[list[dict]], name: str) -> torch.Tensor:
    return torch.cat([micro[name] for batch in global_batches for micro in batch])


@pytest.fixture(scope="module")
def reference(shards: Path) -> list[list[dict]]:
    """Three epochs and a little more, by one process without workers."""
    return batches(shards, 20, world=1)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("world", WORLDS)
def test_no_sample_is_lost_or_repeated(
    shards: Path, reference: list[list[dict]], world: int, workers: int
) -> None:
    steps = 13 if workers * world > 4 else 20  # two epochs, and a third where it is cheap
    drawn = batches(shards, steps, world=world, workers=workers)
    indices = stacked(drawn, "index").numpy()
    for epoch in range(steps * BATCH // 101):
        assert sorted(indices[epoch * 101 : (epoch + 1) * 101]) == list(range(101))
    for ours, theirs in zip(drawn, reference, strict=False):
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys() == {"image", "label", "index", "flip"}
            assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("before,after", [(1, 4), (4, 1), (2, 8), (8, 2)])
@pytest.mark.parametrize("step", [1, 6, 7])
def test_resume_at_any_step_in_another_world(
    shards: Path, reference: list[list[dict]], before: int, after: int, step: int
) -> None:
    source = open_data(shards)
    stream = Stream(source, RankShare(BATCH, MICRO, before - 1, before), seed=1)
    for _ in range(step):
        stream.next_batch()
    state = json.loads(json.dumps(stream.state_dict()))
    stream.close()
    assert state["position"] == step * BATCH
    resumed = batches(shards, 5, world=after, state=state, seed=99)  # the state's seed counts
    expected = reference[step : step + 5]
    for name in ("index", "image", "flip"):
        assert torch.equal(stacked(resumed, name), stacked(expected, name))


def test_resume_with_another_batch_size(shards: Path, reference: list[list[dict]]) -> None:
    """The position counts images, so a run may go on with larger batches and miss nothing."""
    identity = open_data(shards).info.identity
    state = {"position": 48, "seed": 1, "identity": identity}
    resumed = batches(shards, 4, world=1, state=state, batch=24, micro=6)
    assert torch.equal(stacked(resumed, "index"), stacked(reference, "index")[48 : 48 + 96])
    assert torch.equal(stacked(resumed, "flip"), stacked(reference, "flip")[48 : 48 + 96])


def test_micro_batches_of_uneven_shares(shards: Path, reference: list[list[dict]]) -> None:
    """8 micro-batches over 3 ranks: ranks 0 and 1 compute three, rank 2 computes two."""
    drawn = batches(shards, 3, world=3)
    assert torch.equal(stacked(drawn, "index"), stacked(reference[:3], "index"))


def test_drawing_leaves_the_global_generators_alone(shards: Path) -> None:
    torch.manual_seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(shards, 2, world=1, workers=1)
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()


def test_images_and_labels_belong_together(shards: Path) -> None:
    """The bytes are those of the source image: the label is its number modulo 3."""
    from tests.data.conftest import picture

    numbers = {picture(i).tobytes(): i for i in range(101)}
    micro = open_data(shards).read(np.arange(101))
    assert micro["image"].dtype == torch.uint8 and micro["image"].shape == (101, 3, 8, 8)
    assert micro["label"].dtype == micro["index"].dtype == torch.int64
    found = [numbers[image.permute(1, 2, 0).numpy().tobytes()] for image in micro["image"]]
    assert sorted(found) == list(range(101))
    assert [n % 3 for n in found] == micro["label"].tolist()


def test_unlabelled_reading(shards: Path) -> None:
    source = open_data(shards, Reading(labels=False))
    assert source.info.num_classes == 0 and source.info.label_counts == ()
    assert not source.read(np.arange(20))["label"].any()


@pytest.mark.parametrize(
    "sizes,sentence",
    [
        ((10, 4), "not a multiple of micro_batch_size 4"),
        ((8, 4, 0, 4), "of at most 2"),
        ((8, 4, 3, 2), "rank 3 of 2 is not possible"),
    ],
)
def test_impossible_sizes(sizes: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RankShare(*sizes)


def test_impossible_workers(shards: Path) -> None:
    with pytest.raises(ConfigError, match="-1 workers"):
        Stream(open_data(shards), RankShare(4, 4), workers=-1)


def test_another_dataset_is_refused_on_resume(shards: Path) -> None:
    stream = Stream(open_data(shards), RankShare(4, 4))
    other = Stream(open_data("bundled:noto32"), RankShare(4, 4))
    with pytest.raises(DataError, match="not the one of the checkpoint"):
        stream.load_state_dict(other.state_dict())


def test_images_are_pinned(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch's loader does with each answer where there is a GPU; here the call is counted."""
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned: list[torch.Size] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x.shape) or x.clone())
    source = open_data(shards)
    images = source.read(np.arange(4))["image"]
    reply = pin_memory(answer(lambda: source.read(np.arange(4)), source.policy))
    assert pinned == [images.shape] and torch.equal(reply.tensors()["image"], images)


def test_bundled_emoji() -> None:
    info = open_data("bundled:noto32").info
    assert (info.count, info.height, info.width, info.channels) == (1633, 32, 32, 3)
    assert info.num_classes == len(info.class_names) == 9
    assert sum(info.label_counts) == 1633 and min(info.label_counts) > 0


def test_synthetic_gaussian() -> None:
    source = open_data("synthetic:gaussian")
    x = source.read(np.arange(100_000))["x"]
    assert x.shape == (100_000, 1) and x.dtype == torch.float32
    # Five standard errors of the mean and of the standard deviation.
    assert abs(x.mean() - 4) < 5 * 1.25 / 100_000**0.5
    assert abs(x.std() - 1.25) < 5 * 1.25 / 200_000**0.5
    assert torch.equal(source.read(np.array([77, 5]))["x"], x[[77, 5]])
    (micro,) = Stream(source, RankShare(8, 8), workers=0).next_batch()
    assert set(micro) == {"x", "index"}
    with pytest.raises(ConfigError, match="choose one of gaussian"):
        open_data("synthetic:uniform")


def test_sources_travel_to_spawned_workers(shards: Path) -> None:
    source = open_data(shards)
    before = source.read(np.arange(20))
    after = pickle.loads(pickle.dumps(source)).read(np.arange(20))
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_errors_arrive_from_workers_as_they_are(tmp_path: Path) -> None:
    """Of their own class, so that the exit code is right, and as one sentence."""
    from tests.data.conftest import members, write_tar

    content = [(n, b"x" if n == "00003.png" else d) for n, d in members(8)]
    source = open_data(write_tar(tmp_path / "0.tar", content))
    stream = Stream(source, RankShare(8, 8), workers=1)
    with pytest.raises(DataError, match=r"^member 00003\.png in shard 0\.tar .*on_error to skip$"):
        stream.next_batch()
    stream.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_running_stream_can_be_set_back(shards: Path, workers: int) -> None:
    """What was read ahead before belongs to the old position."""
    stream = Stream(open_data(shards), RankShare(8, 8), workers=workers)
    state = stream.state_dict()
    first = [stream.next_batch()[0]["index"] for _ in range(3)]
    stream.load_state_dict(state)
    assert all(torch.equal(stream.next_batch()[0]["index"], one) for one in first)
    stream.close()


def test_a_set_that_has_changed_goes_on_when_that_is_said(shards: Path) -> None:
    """The position stays, the order is the new set's, and the person hears of it."""
    stream = Stream(open_data(shards), RankShare(4, 4), workers=0)
    for _ in range(3):
        stream.next_batch()
    settings = {"share": RankShare(4, 4), "workers": 0}
    other = Stream(open_data("bundled:noto32"), **settings)
    with pytest.raises(DataError, match=r"data.may_change true to go on with images that were"):
        other.load_state_dict(stream.state_dict())
    other = Stream(open_data("bundled:noto32"), **settings, may_change=True)
    other.load_state_dict(stream.state_dict())
    assert "images before: 101, now: 1,633" in other.notes[0] and "image 12" in other.notes[0]
    fresh = Stream(open_data("bundled:noto32"), **settings)
    for _ in range(3):
        fresh.next_batch()
    assert torch.equal(other.next_batch()[0]["index"], fresh.next_batch()[0]["index"])
    unchanged = Stream(open_data(shards), **settings, may_change=True)
    unchanged.load_state_dict(stream.state_dict())
    assert unchanged.notes == []
