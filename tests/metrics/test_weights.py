"""Finding, checking and bringing weights, without a network."""

import hashlib

import pytest

from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.metrics import weights
from largegan.metrics.weights import Weights

CONTENT = b"the weights of a very small network"
ROW = Weights(
    name="small",
    file="small.pt",
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    about="for tests",
    url="https://localhost.invalid/small.pt",
    install="pip install small",
)


@pytest.fixture(autouse=True)
def table(monkeypatch, tmp_path):
    """One row, and no folder of this machine."""
    monkeypatch.setattr(weights, "TABLE", {"small": ROW})
    for name in ("LARGEGAN_WEIGHTS", "TORCH_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.pt").write_bytes(content)
    return folder / "small.pt"


def test_search_order(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    last = put(tmp_path / "hf")
    assert weights.find("small") == last
    hub = put(tmp_path / "torch" / "hub" / "checkpoints")
    assert weights.find("small") == hub
    cached = put(tmp_path / "cache" / "largegan" / "weights")
    assert weights.find("small") == cached
    monkeypatch.setenv("LARGEGAN_WEIGHTS", str(tmp_path / "named"))
    named = put(tmp_path / "named")
    assert weights.find("small") == named
    asked = put(tmp_path / "asked")
    assert weights.find("small", tmp_path / "asked") == asked


def test_what_is_missing_and_the_one_command(tmp_path):
    with pytest.raises(EnvironmentFault) as fault:
        weights.require("small", folder=tmp_path)
    said = str(fault.value)
    assert "small.pt is not here" in said and "largegan weights fetch small" in said
    assert "pip install small" in said and "LARGEGAN_WEIGHTS" in said and "\n" not in said
    with pytest.raises(ConfigError, match="no weights called large; choose one of small"):
        weights.require("large")


def test_other_bytes_are_never_used(tmp_path):
    put(tmp_path, CONTENT[:-1])
    with pytest.raises(DataError, match=r"34 bytes instead of 35.*fetch small"):
        weights.find("small", tmp_path)
    put(tmp_path, CONTENT[:-1] + b"?")
    with pytest.raises(DataError, match="does not have the sha256"):
        weights.find("small", tmp_path)


def test_fetch_is_checked_and_in_one_step(tmp_path):
    source, folder, seen = put(tmp_path / "source"), tmp_path / "weights", []
    path = weights.fetch(
        "small", folder, source=str(source), progress=lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT and seen[-1] == (35, 35)
    source.write_bytes(b"x")
    assert weights.fetch("small", folder, source=str(source)) == path, "what is there stays"
    path.unlink()
    with pytest.raises(DataError, match="nothing was kept"):
        weights.fetch("small", folder, source=str(source))
    assert list(folder.iterdir()) == []


def test_fetch_without_a_network_or_a_place(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise EnvironmentFault("no network")

    monkeypatch.setattr(weights, "open_web", refused)
    with pytest.raises(EnvironmentFault, match="on a machine with a network"):
        weights.fetch("small", tmp_path / "weights")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"cannot write .* set LARGEGAN_WEIGHTS"):
        weights.fetch("small", tmp_path / "file", source=str(put(tmp_path / "source")))


def test_evaluation_opens_no_socket(monkeypatch):
    """The real table, the real files: nothing but `fetch` may connect."""
    import socket

    monkeypatch.undo()
    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("opened a connection"))
    assert weights.require("inception", "inception-pool3")[1].is_file()
