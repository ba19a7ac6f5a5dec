"""Files of every format that are damaged, or that attack who reads them: one sentence each."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from largegan.data import apart
from largegan.data.apart import Findings, spilled
from largegan.data.formats import open_originals
from largegan.data.originals import Item, Request
from largegan.errors import DataError, UserError
from tests.data import writers
from tests.data.writers import IMAGES, SOURCES

BINARY = ["lsun", "hdf5 nhwc", "cifar-10", "cifar-100 coarse", "mnist", "mnist gzipped", "parquet"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("case", BINARY)
def test_damage_is_a_sentence(tmp_path: Path, case: str, seed: int) -> None:
    """Truncated, or some bytes changed: read to the end, or a DataError; nothing else."""
    source = SOURCES[case][1](tmp_path / "source")
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    random = np.random.default_rng(seed)
    for path in files:
        data = bytearray(path.read_bytes())
        if seed < 2:
            data = data[: int(len(data) * random.uniform(0.1, 0.95))]
        else:
            for place in random.integers(0, len(data), 8 * seed):
                data[place] = random.integers(0, 256)
        path.write_bytes(bytes(data))
    try:
        found = open_originals(source, Request(scratch=tmp_path))
        assert all(found.load(i) is not None for i in range(len(found.names)))
    except UserError as fault:
        assert "\n" not in str(fault)


def test_a_reader_that_crashes_is_a_sentence(tmp_path: Path) -> None:
    def crash(findings: Findings):
        import os
        import signal

        yield Item("a", b"x")
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(DataError, match=r"x\.mdb is damaged: the library .* \(exit code -11\)"):
        spilled(tmp_path / "x.mdb", crash, Request(scratch=tmp_path))


def test_a_reader_that_never_ends_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    def spin(findings: Findings):
        yield Item("a", b"x")
        while True:
            pass

    monkeypatch.setattr(apart, "LEAST_SECONDS", 1)
    with pytest.raises(DataError, match=r"x\.mdb is damaged: the library .* come to an end"):
        spilled(tmp_path / "x.mdb", spin, Request(scratch=tmp_path))


def test_a_reader_that_repeats_itself_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    def repeat(findings: Findings):
        while True:
            yield Item("a", bytes(1000))

    monkeypatch.setattr(apart, "SUSPECT", 5000)
    with pytest.raises(DataError, match="a is past the 5000 bytes that its file could hold"):
        spilled(tmp_path / "x.mdb", repeat, Request(scratch=tmp_path))


def test_a_reader_that_wants_all_memory_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    def hoard(findings: Findings):
        yield Item("a", bytes(1 << 30))

    monkeypatch.setattr(apart, "MEMORY", 1 << 28)
    with pytest.raises(DataError, match="needs more memory than there is"):
        spilled(tmp_path / "x.mdb", hoard, Request(scratch=tmp_path))


def test_a_batch_of_cifar_is_not_executed(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return print, ("executed",)

    source = writers.cifar10(tmp_path / "cifar")
    (source / "data_batch_2").write_bytes(pickle.dumps({"data": Hostile(), "labels": []}))
    with pytest.raises(DataError, match=r"data_batch_2 calls .*print.* nothing of it was executed"):
        open_originals(source, Request(scratch=tmp_path))


def test_hdf5_that_claims_more_than_it_stores(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (1 << 20, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3))
    with pytest.raises(DataError, match=r"claims 12884901888 bytes and stores 0"):
        open_originals(tmp_path / "x.h5", Request(scratch=tmp_path))


@pytest.mark.parametrize("virtual", [False, True])
def test_hdf5_reads_no_other_file(tmp_path: Path, virtual: bool) -> None:
    import h5py

    (tmp_path / "secret").write_bytes(IMAGES[:2].tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if virtual:
            whole = h5py.VirtualLayout(IMAGES[:2].shape, "u1")
            whole[:] = h5py.VirtualSource(tmp_path / "b.h5", "x", IMAGES[:2].shape)
            file.create_virtual_dataset("images", whole)
        else:
            where = [(str(tmp_path / "secret"), 0, IMAGES[:2].nbytes)]
            file.create_dataset("images", IMAGES[:2].shape, "u1", external=where)
    with pytest.raises(DataError, match="in other files, which are not read"):
        open_originals(tmp_path / "a.h5", Request(scratch=tmp_path))


def test_labels_of_odd_kinds_are_refused_in_a_sentence(tmp_path: Path, capfd) -> None:
    import datetime
    from decimal import Decimal

    import pyarrow
    from pyarrow import parquet

    for kind, label in (("datetime", datetime.datetime(2026, 1, 1)), ("", Decimal(1))):
        table = pyarrow.table({"image": writers.FILES[:2], "label": [label] * 2})
        parquet.write_table(table, tmp_path / "a.parquet")
        if kind:
            with pytest.raises(DataError, match=rf"\{{'{kind}': .* is no class"):
                open_originals(tmp_path / "a.parquet", Request(scratch=tmp_path))
        else:
            found = open_originals(tmp_path / "a.parquet", Request(scratch=tmp_path))
            assert found.labels == [1, 1]
    assert not capfd.readouterr().err


def test_a_reader_that_fails_is_a_sentence(tmp_path: Path, capfd) -> None:
    def read(findings: Findings):
        yield Item("a", b"1")
        raise KeyError("odd")

    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(DataError, match=r"KeyError: 'odd'"):
        spilled(tmp_path / "x", read, Request(scratch=tmp_path))
    assert not capfd.readouterr().err
