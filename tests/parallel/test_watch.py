"""A rank that stops is named, by ranks that only wait."""

import json
import os
import signal
import threading
import time

import pytest
from torch.distributed import TCPStore

from largegan.parallel import watch
from largegan.parallel.watch import Watch, sentence
from tests.parallel.launching import free_port, patience, start_ranks


def last(**facts) -> dict:
    me = {"place": "D.r1 of step 7", "waiting": True, "seconds": 61.0, "beats": 5}
    return {**me, "node": "node2", "pid": 42, **facts}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"beats": 5}, {"beats": 5}, "rank 1 (process 42 on node2) is stopped or gone, last seen"),
        ({"beats": 4}, {"waiting": False}, "(process 42 on node2) has been in D.r1 of step 7 for"),
        ({"beats": 4}, {}, "all ranks wait for each other (rank 0 in D.r1 of step 7, rank 1 in"),
        ({"beats": 4}, None, "rank 1 never arrived"),
    ],
)
def test_who_is_named(before, now, said):
    fine = [last(beats=1), last(beats=3)]
    then = last(**before)
    after = None if now is None else last(**now)
    assert said in sentence([fine[0], then], [fine[1], after])


def test_a_rank_that_computes_for_too_long_is_named(capfd):
    """Two ranks as two watches of this process; both are ended."""
    port, ended = free_port(), [threading.Event(), threading.Event()]
    stores = [TCPStore("127.0.0.1", port, is_master=i == 0, wait_for_workers=False) for i in (0, 1)]
    watches = [
        Watch(rank, 2, timeout_s=0.6, store=stores[rank], end=ended[rank].set) for rank in (0, 1)
    ]
    try:
        watches[1].at("reading data for step 3")
        with watches[0].wait():
            assert ended[0].wait(20) and ended[1].wait(20)
    finally:
        for one in watches:
            one.close()
    said = capfd.readouterr().err
    assert f"rank 1 (process {os.getpid()}" in said and "in reading data for step 3 for" in said
    assert "rank 0" not in said
    assert "test_watch.py" in said, "the stack of the one that stopped"


def test_waiting_for_less_than_the_limit_is_nothing():
    ended = threading.Event()
    store = TCPStore("127.0.0.1", free_port(), is_master=True, wait_for_workers=False)
    one = Watch(0, 1, timeout_s=1.0, store=store, end=ended.set)
    try:
        for _ in range(8):
            with one.wait():
                time.sleep(0.3)
        assert not ended.is_set()
        assert json.loads(store.get("largegan/0"))["beats"] > 5
    finally:
        one.close()


def test_waiting_within_waiting_is_waiting():
    """Batch norm over ranks, within FSDP2's backward: the outer one has not ended."""
    store = TCPStore("127.0.0.1", free_port(), is_master=True, wait_for_workers=False)
    one = Watch(0, 1, timeout_s=60, store=store, end=lambda: None)
    try:
        with one.wait():
            with one.wait():
                assert one.waiting
            assert one.waiting
            ended = time.monotonic()
        assert not one.waiting and one.since >= ended, "from here on it computes"
    finally:
        one.close()


def test_nobody_watches_a_process_that_is_alone():
    watch.at("somewhere")
    with watch.waiting():
        pass
    watch.stop()


@pytest.mark.slow
def test_a_stopped_process_is_named_and_the_others_leave(tmp_path):
    """SIGSTOP: no connection breaks. The other rank says who it is and leaves with 4."""
    words = ["-m", "largegan.train", "--recipe.name", "gan", "--recipe.width", "8"]
    words += ["--data.workers", "0", "--train.log_every_nimg", "8", "--train.batch_size", "8"]
    words += ["--train.total_nimg", str(10**8), "--parallel.timeout_s", "20"]
    processes = start_ranks([*words, "--run.dir", str(tmp_path / "a")], world=2)
    deadline = time.monotonic() + patience(240)
    while not (tmp_path / "a/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGSTOP)
    try:
        output, _ = processes[0].communicate(timeout=patience(240))
    finally:
        processes[1].kill()
    assert processes[0].returncode == 4, output
    assert f"rank 1 (process {processes[1].pid} on" in output and "is stopped or gone" in output
