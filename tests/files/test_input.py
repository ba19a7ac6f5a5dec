"""The door in: lies and damage in files from outside are one DataError, soon and in bounds."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from largegan import checkpoint
from largegan.data.account import Account
from largegan.data.index_files import parse_index
from largegan.data.label_files import labels_of_file
from largegan.data.tar import TarDamage, walk
from largegan.errors import DataError
from largegan.files.archives import DamagedMember, open_zip, read_member
from largegan.files.arrays import Npz, read_array
from largegan.files.tensors import read_tensors
from largegan.metrics.statistics import read_plain_pickle

LIES = [None, -1, 10**29, 1e999, "x", "", [], {}, [[[]]], True, 0.5, "../x", "a\0", "x" * 5000]
INDEX = {
    "format": "largegan-index", "version": 1, "channels": 3, "height": 8, "width": 8,
    "num_classes": 2, "class_names": ["a", "b"], "label_counts": [1, 1], "packed_random": True,
    "made": {}, "shards": [{"name": "s.tar", "bytes": 4096, "sha256": None, "count": 2}],
}  # fmt: skip


def places(value, path=()):
    """The path of every value in a document."""
    yield path
    named = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else named:
        yield from places(item, (*path, key))


def with_lie(document, path, lie):
    document = json.loads(json.dumps(document))
    here = document
    for key in path[:-1]:
        here = here[key]
    if not path:
        return lie
    here[path[-1]] = lie
    return document


@pytest.mark.parametrize("path", [p for p in places(INDEX) if p], ids=str)
def test_lies_in_an_index(path):
    """Either the document is still one that can be true, or it is one DataError."""
    for lie in LIES:
        text = json.dumps(with_lie(INDEX, path, lie))
        try:
            index = parse_index(text, where="index.json")
        except DataError as fault:
            assert "index.json" in str(fault) and "\n" not in str(fault) and len(str(fault)) < 600
            continue
        assert 1 <= index.channels <= 4 and 1 <= index.height * index.width <= 1 << 27
        assert all(s.count * 1024 <= s.bytes and ".." not in s.name for s in index.shards)
        assert len(index.class_names) in (0, index.num_classes)


MARKER = {"written": "", "files": {
    name: {"bytes": 1, "sha256": "0" * 64}
    for name in (checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.STATE)
}}  # fmt: skip


@pytest.mark.parametrize("path", list(places(MARKER)), ids=str)
def test_lies_in_a_marker(tmp_path, path):
    for lie in LIES:
        (tmp_path / checkpoint.MARKER).write_text(json.dumps(with_lie(MARKER, path, lie)))
        assert checkpoint.damage(tmp_path)  # the files are not there, whatever it says


@pytest.mark.parametrize("text", [b"", b"[" * 20000, b"{}", b"\xff\xfe", b'{"labels": 3}', b"nul"])
def test_damaged_tables_of_labels(text):
    with pytest.raises(DataError, match=r"dataset\.json"):
        labels_of_file(text, ["a.png"], where="x/dataset.json", account=Account())


@pytest.mark.parametrize("label", [0.25, "0.5", [1, 0], None, True, {}, -1, float("inf"), 10**29])
def test_what_is_no_class_is_refused(label):
    text = json.dumps({"labels": [["a.png", label], ["b.png", label]]}).encode()
    with pytest.raises(DataError, match=r"dataset\.json"):
        labels_of_file(text, ["a.png", "b.png"], where="dataset.json", account=Account())


@pytest.mark.parametrize("name", ["a.png", "./a.png", ".\\a.png"])
def test_names_in_tables_are_those_of_the_files(name):
    account = Account()
    text = json.dumps({"labels": [[name, 1.0], ["gone.png", 0]]}).encode()
    found = labels_of_file(text, ["a.png"], where="dataset.json", account=account)
    assert found.numbers == [1] and account.count == 1


def test_tensors_that_lie(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(4), "b": torch.zeros(2, 2)}, path)
    sound = path.read_bytes()
    length = struct.unpack("<Q", sound[:8])[0]
    header = json.loads(sound[8 : 8 + length])
    assert set(read_tensors(path)) == {"a", "b"}
    for place in (p for p in places(header) if p):
        for lie in LIES:
            text = json.dumps(with_lie(header, place, lie)).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + sound[8 + length :])
            with pytest.raises(DataError, match=r"x\.safetensors"):
                read_tensors(path)
    for data in (b"", b"x", struct.pack("<Q", 2**60) + b"{}", sound[:-1]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"x\.safetensors"):
            read_tensors(path)


@pytest.mark.parametrize("shape", ["(10000000000000,)", "(-1,)", "(2, 3)", "'x'", "(1.5,)"])
def test_arrays_that_claim_more_than_they_have(shape):
    out = io.BytesIO()
    np.save(out, np.zeros(4, np.float32))
    data = out.getvalue()
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    lie = data[:8] + struct.pack("<H", len(head)) + head.encode() + data[-16:]
    with pytest.raises(ValueError):
        read_array(io.BytesIO(lie), len(lie))
    assert read_array(io.BytesIO(data), len(data)).shape == (4,)


def test_an_npz_of_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}, {}], dtype=object), y=np.arange(3))
    with Npz(tmp_path / "x.npz") as arrays:
        assert arrays.array("y").tolist() == [0, 1, 2]
        with pytest.raises(DataError, match="not numbers"):
            arrays.array("x")


def test_members_of_a_zip_that_lie(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bmp", bytes(200 << 20))
        archive.writestr("a.png", b"abc" * 100)
    with open_zip(path) as archive, pytest.raises(DamagedMember, match="as no image does"):
        read_member(archive, "zeros.bmp")
    with open_zip(path) as archive, pytest.raises(DamagedMember, match="more than 10"):
        read_member(archive, "a.png", most=10)
    with open_zip(path) as archive:
        assert read_member(archive, "a.png") == b"abc" * 100
    path.write_bytes(b"PK\x03\x04 but not really")
    with pytest.raises(DataError, match=r"x\.zip cannot be read"):
        open_zip(path)


def test_a_zip_with_a_member_without_a_name(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("?", b"abc")
    path.write_bytes(path.read_bytes().replace(b"?", b"\0"))  # which ends a name
    with pytest.raises(DataError, match=r"x\.zip has a member without a name"):
        open_zip(path)


@pytest.mark.parametrize("record", [b"0 path=a\n", b"9999 path=a\n", b"x path=a\n", b"5", b"\n"])
def test_pax_headers_that_lie(record):
    import tarfile

    info = tarfile.TarInfo("PaxHeader")
    info.size, info.type = len(record), tarfile.XHDTYPE
    data = info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % 512) + bytes(1024)
    with pytest.raises(TarDamage, match="pax"):
        list(walk(io.BytesIO(data), want=lambda _: True, length=len(data)))


def test_pickles_that_never_end_or_run():
    deep = []
    for _ in range(40):
        deep = [deep, deep]
    for content in ({"mu": deep}, {"mu": [[[[[[[[[[[[1]]]]]]]]]]]]}):
        with pytest.raises(DataError, match="more than statistics"):
            read_plain_pickle(pickle.dumps(content, protocol=4), where="s.pkl")
    with pytest.raises(DataError, match=r"s\.pkl"):
        read_plain_pickle(pickle.dumps(print), where="s.pkl")
    random = np.random.default_rng(0)
    sound = pickle.dumps({"mu": np.zeros(4), "sigma": np.eye(4)}, protocol=4)
    for _ in range(200):
        data = bytearray(sound)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        try:
            read_plain_pickle(bytes(data), where="s.pkl")
        except DataError as fault:
            assert "s.pkl" in str(fault)
