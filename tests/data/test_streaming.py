"""Reading shards from front to back: locally, over HTTP and through a command."""

import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from largegan.data import Stream, open_data, published
from largegan.data import streaming as streaming_module
from largegan.data.micros import RankShare
from largegan.data.reading import Reading
from largegan.errors import ConfigError, DataError, EnvironmentFault
from tests.data.conftest import members, write_tar


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks smaller than the test data, so that there is more than one an epoch."""
    monkeypatch.setattr(streaming_module, "CHUNK", 20)


def pixels(micro: dict[str, torch.Tensor]) -> list[bytes]:
    return [image.contiguous().numpy().tobytes() for image in micro["image"]]


def draw(
    path: object, steps: int, *, state: dict | None = None, source=None, rank=0, world=1, workers
) -> list:
    source = source or open_data(path, Reading(mode="stream"))
    stream = Stream(source, RankShare(8, 4, rank, world), seed=2, mirror=True, workers=workers)
    if state:
        stream.load_state_dict(state)
    micros = [micro for _ in range(steps) for micro in stream.next_batch()]
    state = stream.state_dict()
    stream.close()
    return [micros, state]


def same(ours: list[dict], theirs: list[dict]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a[k], b[k]) for a, b in zip(ours, theirs, strict=True) for k in a
    )


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("world", [1, 2])
def test_ranks_share_the_shards_and_workers_change_nothing(
    shards: Path, world: int, workers: int
) -> None:
    """While every rank is in its first epoch, no sample comes twice and all are good ones."""
    everything = set(pixels(open_data(shards).read(np.arange(101))))
    drawn: list[bytes] = []
    for rank in range(world):
        micros, _ = draw(shards, 11, rank=rank, world=world, workers=workers)
        reference, _ = draw(shards, 11, rank=rank, world=world, workers=0)
        assert same(micros, reference)
        drawn += [p for m in micros for p in pixels(m)]
    assert len(drawn) == 88 and set(drawn) <= everything
    if world == 1:
        assert len(set(drawn)) > 75  # chunks run over the end of the epoch


def test_an_epoch_is_complete(shards: Path) -> None:
    """100 of 101 samples in five whole chunks: each once."""
    micros, _ = draw(shards, 12, workers=0)
    assert len({p for m in micros for p in pixels(m)}) == 96


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("step", [1, 5, 17, 40])
def test_resume_is_exact_for_the_same_world(
    shards: Path, tmp_path: Path, step: int, rank: int, indexed: bool
) -> None:
    source = open_data(shards, Reading(mode="stream"))
    if not indexed:  # then whole shards cannot be stepped over by their counts
        source.counts = None
    kwargs = {"rank": rank, "world": 2, "workers": 0, "source": source}
    whole, _ = draw(None, step + 5, **kwargs)
    _, state = draw(None, step, **kwargs)
    resumed, _ = draw(None, 5, state=state, **kwargs)
    assert same(resumed, whole[step:])


def test_epochs_visit_the_shards_in_different_orders(shards: Path) -> None:
    source = open_data(shards, Reading(mode="stream"))
    micros = streaming_module.StreamedMicros(source, RankShare(8, 4), 0, seed=2)
    visited = [shard for shard, _ in itertools.islice(micros._sequence(0), 202)]
    assert sorted(visited[:101]) == sorted(visited[101:]) and visited[:101] != visited[101:]


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that are read from now on."""
    opened: list[str] = []
    read = streaming_module.read_shard

    def counting(url: str, **settings):
        opened.append(url)
        return read(url, **settings)

    monkeypatch.setattr(streaming_module, "read_shard", counting)
    return opened


def test_stepping_over_shards_opens_only_what_is_needed(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_data(shards, Reading(mode="stream"))
    state = {"position": 101 * 80, "seed": 2, "identity": source.info.identity}
    opened = count_opened(monkeypatch)
    draw(None, 1, state=state, source=source, workers=0)
    assert len(opened) <= 4


def test_without_an_index_shards_that_were_read_are_not_read_again(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run has counted is in its state, from every rank; the batches are the same."""

    def bare() -> streaming_module.StreamedSource:
        source = open_data(shards, Reading(mode="stream"))
        source.counts = None
        return source

    steps = 101 * 4 // 8  # four epochs
    for workers in (0, 1):
        _, state = draw(None, steps, source=bare(), workers=workers)
        state = json.loads(json.dumps(state))
        assert sum(state["learned"].values()) == 101
    whole, _ = draw(None, steps + 3, source=bare(), workers=0)
    opened = count_opened(monkeypatch)
    resumed, _ = draw(None, 3, state=state, source=bare(), workers=0)
    assert same(resumed, whole[-len(resumed) :])
    without = {key: value for key, value in state.items() if key != "learned"}
    few = len(opened)
    draw(None, 3, state=without, source=bare(), workers=0)
    assert few <= 4 < 9 <= len(opened) - few  # the first epoch once, to count


def test_ranks_share_what_they_counted(shards: Path) -> None:
    ranks = [open_data(shards, Reading(mode="stream")) for _ in range(2)]
    for source, learned in zip(ranks, ({0: 12, 1: 11}, {1: 11, 3: 10}), strict=True):
        source.counts, source.learned = None, dict(learned)
    asked: list[torch.Tensor] = []
    for source in ranks:  # what each would send
        with contextlib.suppress(ValueError, TypeError):
            source.learn(lambda part: asked.append(part))
    for source in ranks:
        source.learn(lambda _: sum(asked))
        assert source.learned == {0: 12, 1: 11, 3: 10}


def test_a_stream_is_known_by_its_content(shards: Path, tmp_path: Path) -> None:
    """Another set whose shards have the same names is another set."""
    copy = shutil.copytree(shards, tmp_path / "copy")
    one, same_again = (
        open_data(path, Reading(mode="stream")).info.identity for path in (shards, copy)
    )
    assert one == same_again
    document = json.loads((copy / "index.json").read_text())
    document["shards"][0]["sha256"] = "0" * 64
    (copy / "index.json").write_text(json.dumps(document))
    assert open_data(copy, Reading(mode="stream")).info.identity != one
    (copy / "index.json").unlink()
    bare = open_data(f"{copy}/shard-{{000000..000008}}.tar", Reading(mode="stream", num_classes=3))
    (copy / "shard-000000.tar").write_bytes((shards / "shard-000001.tar").read_bytes() + bytes(512))
    other = open_data(f"{copy}/shard-{{000000..000008}}.tar", Reading(mode="stream", num_classes=3))
    assert bare.info.identity != other.info.identity
    assert bare.former_identities == other.former_identities  # runs from before go on


def test_a_remote_stream_without_an_index_is_known_by_what_its_server_says(
    shards: Path, web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lengths and dates (or tags) of its shards; of very many, of some."""
    folder, address, _ = web
    files = [shutil.copy2(shards / f"shard-{i:06d}.tar", folder) for i in range(3)]

    def opened() -> streaming_module.StreamedSource:
        path = f"{address}/shard-{{000000..000002}}.tar?token={next(tokens)}"
        return open_data(path, Reading(mode="stream", num_classes=3))

    tokens = itertools.count()
    first, again = opened(), opened()
    assert first.info.identity == again.info.identity  # a token is no content
    os.utime(files[2], (1e9, 1e9))  # published again, of the same length
    assert opened().info.identity != first.info.identity
    monkeypatch.setattr(published, "MOST_ASKED", 2)  # the first and the third
    third = opened().info.identity
    os.utime(files[1], (1e9, 1e9))
    assert opened().info.identity == third


def test_runs_from_before_servers_were_asked_go_on(shards: Path, web) -> None:
    folder, address, _ = web
    shutil.copy2(shards / "shard-000000.tar", folder)
    source = open_data(f"{address}/shard-000000.tar", Reading(mode="stream", num_classes=3))
    for before in (["shard-000000.tar"], [repr(("shard-000000.tar", None))]):
        state = {"position": 8, "seed": 2, "identity": published._identity(before)}
        draw(None, 1, source=source, state=state, workers=0)
    with pytest.raises(DataError, match="is not the one of the checkpoint"):
        draw(None, 1, source=source, state={**state, "identity": "stream:other"}, workers=0)


def test_over_http_with_and_without_an_index(shards: Path, web) -> None:
    folder, address, _ = web
    shutil.copytree(shards, folder / "set")
    pattern = f"{address}/set/shard-{{000000..000008}}.tar"
    source = open_data(pattern)
    assert source.info.count == 101 and source.info.label_counts == (34, 34, 33)
    local, _ = draw(shards, 14, workers=0)
    remote, _ = draw(None, 14, source=source, workers=1)
    assert same(local, remote)
    (folder / "set" / "index.json").unlink()
    with pytest.raises(ConfigError, match="number of classes is not known"):
        open_data(pattern)
    bare = open_data(pattern, Reading(num_classes=3))
    assert bare.info.count is None and bare.info.num_classes == 3
    remote, _ = draw(None, 14, source=bare, workers=0)
    assert same(local, remote)
    assert open_data(pattern, Reading(labels=False)).info.num_classes == 0


def test_indexed_over_http_through_the_cache(shards: Path, web, tmp_path: Path) -> None:
    """Exactly the batches of the local shards, each shard fetched once."""
    folder, address, requested = web
    shutil.copytree(shards, folder / "set")
    cache = str(tmp_path / "cache")
    local = open_data(shards)
    for path in (f"{address}/set/index.json", f"{address}/set/shard-{{000000..000008}}.tar"):
        remote = open_data(path, Reading(cache_dir=cache))
        assert remote.info == local.info
        micros = [
            Stream(source, RankShare(50, 50), workers=0).next_batch()[0]
            for source in (local, remote)
        ]
        assert all(torch.equal(micros[0][k], micros[1][k]) for k in micros[0])
        remote.read(np.arange(101))
    assert sum(name.endswith(".tar") for name in requested) == 9
    with pytest.raises(ConfigError, match="needs a cache_dir"):
        open_data(f"{address}/set/index.json", Reading(mode="indexed"))


def test_http_failures_say_what_the_server_said(shards: Path, web) -> None:
    folder, address, _ = web
    with pytest.raises(DataError, match=r"server says 404 .*check the address"):
        open_data(f"{address}/nowhere.tar")
    with pytest.raises(DataError, match="server says 404"):
        open_data(f"{address}/nowhere/index.json")
    shutil.copytree(shards, folder / "set")
    (folder / "set" / "shard-000004.tar").unlink()
    source = open_data(f"{address}/set/index.json")
    with pytest.raises(DataError, match=r"shard-000004.tar cannot be fetched"):
        draw(None, 14, source=source, workers=1)


def test_a_truncated_remote_shard_is_noticed(shards: Path, web) -> None:
    folder, address, _ = web
    shutil.copytree(shards, folder / "set")
    path = folder / "set" / "shard-000002.tar"
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"00000028.cls")])
    source = open_data(f"{address}/set/index.json")
    with pytest.raises(DataError, match=r"shard-000002.tar is damaged"):
        draw(None, 14, source=source, workers=0)
    source = open_data(f"{address}/set/index.json", Reading(on_error="skip", max_skip_fraction=0.5))
    draw(None, 14, source=source, workers=0)
    assert source.policy.bad_shards >= 1


def test_a_shard_with_fewer_samples_than_its_index_is_noticed(shards: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    write_tar(copy / "shard-000002.tar", members(5))
    with pytest.raises(DataError, match="gave 5 of 12 samples"):
        draw(copy, 14, workers=0)


def test_pipes(tmp_path: Path) -> None:
    paths = [write_tar(tmp_path / f"{i}.tar", members(15, start=15 * i)) for i in range(2)]
    pipes = [f"pipe:cat {path}" for path in paths]
    source = open_data(pipes, Reading(allow_pipe=True, num_classes=3))
    micros, _ = draw(None, 3, source=source, workers=0)
    assert len({p for m in micros for p in pixels(m)}) >= 20
    failing = [f"pipe:cat {paths[0]}; exit 3", pipes[1]]
    with pytest.raises(DataError, match=r"failed \(exit status 3\)"):
        # A command this short may have failed before the first sample is looked at, or after.
        draw(None, 8, source=open_data(failing, Reading(allow_pipe=True, num_classes=3)), workers=0)
    cut = [f"pipe:head -c 9000 {paths[0]}", pipes[1]]
    source = open_data(cut, Reading(allow_pipe=True, num_classes=3))
    with pytest.raises(DataError, match="truncated"):
        draw(None, 8, source=source, workers=0)


def test_skipping_in_a_stream(tmp_path: Path) -> None:
    bad = {"00003.png": b"broken", "00012.cls": b"cat", "00017.cls": b"9"}
    content = [(n, bad.get(n, d)) for n, d in members(40)]
    path = write_tar(tmp_path / "0.tar", content)
    settings = {"mode": "stream", "num_classes": 3, "on_error": "skip", "max_skip_fraction": 0.5}
    runs = [
        draw(None, 10, source=open_data(path, Reading(**settings)), workers=w)[0] for w in (0, 1)
    ]
    assert same(*runs)
    source = open_data(path, Reading(**settings))
    draw(None, 10, source=source, workers=1)
    assert source.policy.samples >= 3


def test_more_ranks_than_shards(shards: Path) -> None:
    with pytest.raises(ConfigError, match="9 shards cannot be streamed by 12 processes"):
        open_data(shards, Reading(mode="stream", world=12))


def test_a_source_without_samples_stops(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.txt", b"x")])
    with pytest.raises(DataError, match="holds no image"):
        open_data(path, Reading(mode="stream"))


def test_a_failing_command_is_told_from_a_damaged_shard(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", members(15))
    with pytest.raises(DataError, match=r"failed \(exit status 4\)"):
        open_data(f"pipe:head -c 100 {path}; exit 4", Reading(allow_pipe=True, num_classes=3))


@pytest.mark.parametrize("sent", [100, 9000])
def test_a_bucket_that_cannot_be_reached_asks_to_be_requeued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    """Its program fails at once, or in the middle; also where bad samples are skipped."""
    path = write_tar(tmp_path / "0.tar", members(15))
    program = tmp_path / "bin" / "gsutil"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nhead -c {sent} {path}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(EnvironmentFault, match=r"failed \(gsutil: exit status 1\).*run.resume"):
        reading = Reading(num_classes=3, on_error="skip", max_skip_fraction=1.0)
        draw(None, 8, source=open_data("gs://bucket/0.tar", reading), workers=0)


@pytest.mark.parametrize(
    "pattern",
    ["s-{0..99999999999}.tar", "s-{0..999}{0..999}{0..9}.tar", "{a,b}" * 40, "{x,y{a}}" * 40],
)
def test_patterns_that_stand_for_too_much(pattern: str) -> None:
    for path in (pattern, f"http://host/{pattern}"):
        with pytest.raises(ConfigError, match="too many shards"):
            open_data(path)
