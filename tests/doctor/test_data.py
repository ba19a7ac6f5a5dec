"""Data that are damaged, lopsided, too few or slow."""

import time

from largegan.data import Stream


def test_damaged_data(examined, shards):
    (shard,) = shards.glob("*.tar")
    content = bytearray(shard.read_bytes())
    for start in range(0, len(content), 512):  # every member's data, no header
        if content[start : start + 2] == b"\xff\xd8":
            content[start : start + 400] = bytes(400)
    shard.write_bytes(content)
    failures, found = examined("--data.path", str(shards))
    assert failures == [3] and shard.name in found["data"][-1]


def test_classes_without_examples_and_few_examples(examined, shards):
    failures, found = examined("--data.path", str(shards), "--train.batch_size", "16")
    assert not failures
    assert found["labels"][0].startswith("warn  labels: 1 of 3 classes have no example, the first")
    assert any("fewer than one batch of 16" in line for line in found["data"])


def test_label_beyond_the_classes(examined, monkeypatch):
    read = Stream.next_batch

    def wrong(stream):
        batch = read(stream)
        batch[0]["label"][0] = 9
        return batch

    monkeypatch.setattr(Stream, "next_batch", wrong)
    failures, found = examined()
    assert failures == [3] and "to 9 with 9 classes; write the index again" in found["labels"][0]
    assert not found["networks"], "an embedding would fail on it, and less clearly"


def test_slow_storage(examined, monkeypatch):
    read = Stream.next_batch
    monkeypatch.setattr(Stream, "next_batch", lambda s: time.sleep(0.02) or read(s))
    failures, found = examined()
    assert not failures and "it waits for the disk or network; use more" in found["reading"][0]


def test_more_held_out_than_there_is(examined):
    failures, found = examined("--data.held_out", "1633")
    assert failures == [2] and "leaves none to train on" in found["data"][-1]
