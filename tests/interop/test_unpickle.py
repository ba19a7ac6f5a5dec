"""Files of torch and pickles, read without executing them; what wants to do harm is refused."""

import collections
import io
import pickle
import random
import resource
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import torch

from largegan.errors import DataError
from largegan.files.pickle_records import Record
from largegan.files.stored import StoredArray, StoredTensor
from largegan.interop import torch_files
from tests.interop import hostile

FORMATS = {"zip": True, "rows": False}


def read(content: bytes):
    return torch_files.read_content(content)


def saved(content, form: str) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=FORMATS[form])
    return file.getvalue()


def loaded(value):
    """Stored tensors and arrays with their numbers."""
    if isinstance(value, StoredTensor | StoredArray):
        return value.load()
    if isinstance(value, dict):
        return {key: loaded(item) for key, item in value.items()}
    return [loaded(item) for item in value] if isinstance(value, list) else value


def same(mine, theirs):
    if isinstance(theirs, torch.Tensor):
        return mine.dtype == theirs.dtype and torch.equal(mine, theirs)
    if isinstance(theirs, dict):
        return list(mine) == list(theirs) and all(same(mine[k], theirs[k]) for k in theirs)
    return mine == theirs


TENSORS = {
    "float32": torch.randn(2, 3),
    "float64": torch.randn(5).double(),
    "float16": torch.randn(2, 2).half(),
    "bfloat16": torch.randn(3).bfloat16(),
    "int64": torch.tensor([1, -(2**40)]),
    "uint8": torch.arange(7, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "a scalar": torch.tensor(3.5),
    "none": torch.empty(0, 4),
    "a view": torch.randn(4, 6)[1:3, ::2],
    "transposed": torch.randn(3, 4).t(),
    "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "expanded": torch.randn(1, 3).expand(4, 3),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_come_back(kind, form):
    tensor = TENSORS[kind]
    assert same(loaded(read(saved({"x": tensor}, form)))["x"], tensor)


@pytest.mark.parametrize("form", FORMATS)
def test_state_dictionaries_optimizers_and_parameters_come_back(form):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    adam.step()
    content = {"net": net.state_dict(), "adam": adam.state_dict(), "p": net[0].weight, "step": 3}
    assert same(loaded(read(saved(content, form))), content)


def test_the_first_format_reads_as_torch_reads_it(tmp_path):
    state = {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3), "n": torch.tensor(2.0)}
    data = hostile.tar_file(state)
    (tmp_path / "old.pth").write_bytes(data)
    assert same(torch.load(tmp_path / "old.pth", weights_only=False), state)
    assert same(loaded(read(data)), state)


def test_two_names_of_one_storage_share_it():
    x = torch.randn(6)
    found = read(saved({"a": x[:3], "b": x[3:]}, "zip"))
    assert found["a"].storage is found["b"].storage


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_every_protocol(protocol):
    plain = {"n": [1, -5, 2**70, 1.5, None, True, "wörd", b"by\0tes"], "t": (1, (), (2,)), "s": {1}}
    assert read(pickle.dumps(plain, protocol)) == plain


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_and_numbers_of_numpy(protocol):
    content = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "n": np.float64(2.5),
    }
    found = read(pickle.dumps(content, protocol))
    for name in ("x", "f", "big"):
        np.testing.assert_array_equal(found[name].load().numpy(), content[name])
    assert found["n"] == 2.5


def test_objects_become_records_and_nothing_is_imported(monkeypatch):
    module = types.ModuleType("training.networks")
    module.Generator = type("Generator", (), {"__module__": "training.networks"})
    monkeypatch.setitem(sys.modules, "training", types.ModuleType("training"))
    monkeypatch.setitem(sys.modules, "training.networks", module)
    made = module.Generator()
    made.z_dim = 5
    data = pickle.dumps({"G": made, "act": torch.nn.ReLU()})
    monkeypatch.delitem(sys.modules, "training.networks")
    before = set(sys.modules)
    found = read(data)
    assert isinstance(found["G"], Record) and found["G"].state == {"z_dim": 5}
    assert str(found["G"].kind) == "training.networks.Generator"
    assert str(found["act"].kind) == "torch.nn.modules.activation.ReLU"
    assert set(sys.modules) == before


def test_no_name_is_ever_looked_up(monkeypatch):
    def forbidden(*_):
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(pickle._Unpickler, "find_class", forbidden)
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    monkeypatch.setattr(pickle, "load", forbidden)
    monkeypatch.setattr(pickle, "loads", forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    for seed in hostile.seeds():
        read(seed)


@pytest.fixture
def nothing_happens(tmp_path, monkeypatch):
    """No process starts, no file appears."""

    def forbidden(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.chdir(tmp_path)
    for target, name in ((subprocess, "Popen"), (__import__("os"), "system")):
        monkeypatch.setattr(target, name, forbidden)
    before = sorted(tmp_path.iterdir())
    yield
    assert sorted(tmp_path.iterdir()) == before


HOSTILE = hostile.pickles() | hostile.archives()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_wants_to_do_harm_is_refused(name, nothing_happens):
    began = time.monotonic()
    with pytest.raises(DataError) as fault:
        read(HOSTILE[name])
    assert time.monotonic() - began < 30
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("call", ["os.system 0", "builtins.eval 4", "a system call"])
def test_the_refusal_says_what_was_called(call, nothing_happens):
    with pytest.raises(DataError, match="nothing of it was executed"):
        read(HOSTILE[call])


@pytest.mark.parametrize("number", range(5))
def test_a_file_cut_at_any_byte_is_refused(number, nothing_happens):
    whole = hostile.seeds()[number]
    complete = loaded(read(whole))
    for length in range(0, len(whole), 1 if len(whole) < 3000 else 7):
        try:
            found = loaded(read(whole[:length]))
        except DataError:
            continue
        assert str(found) == str(complete), "a truncated file gave something else"


def test_damaged_numbers_are_noticed():
    whole = bytearray(saved({"x": torch.arange(100.0)}, "zip"))
    place = whole.index(torch.arange(100.0).numpy().tobytes())
    whole[place + 9] ^= 1
    with pytest.raises(DataError, match="checksum"):
        loaded(read(bytes(whole)))


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_bytes_changed_at_random_give_an_answer_or_a_sentence(count, nothing_happens):
    random_, originals = random.Random(0), hostile.seeds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = collections.Counter()
    for _ in range(count):
        data = hostile.mutate(random_.choice(originals), random_)
        try:
            loaded(read(data))
            outcomes["read"] += 1
        except DataError as fault:
            assert "\n" not in str(fault)
            outcomes["refused"] += 1
    assert outcomes["refused"] > count / 4
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux
    assert grown < 500 * 1024, f"{grown // 1024} MiB for files of a few KiB"
