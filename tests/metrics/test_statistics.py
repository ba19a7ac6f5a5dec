"""Files of statistics: ours and others', and a pickle that must not run."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch

from largegan.errors import DataError, EnvironmentFault
from largegan.metrics.moments import gaussian_of
from largegan.metrics.protocol import differences, refuse_foreign, refuse_unlike
from largegan.metrics.statistics import (
    Statistics,
    is_statistics,
    read_plain_pickle,
    read_statistics,
    write_statistics,
)
from largegan.metrics.weights import TABLE

FEATURES = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
GAUSSIAN = gaussian_of(FEATURES)
MADE = {"backbone": {"name": "tiny", "sha256": "0", "dim": 6, "resize": "r", "precision": "p"}}


@pytest.mark.parametrize("name", ["a.safetensors", "deep/a.npz"])
def test_ours_come_back_bit_for_bit(tmp_path, name):
    path = tmp_path / name
    write_statistics(path, Statistics(GAUSSIAN, MADE, FEATURES))
    found = read_statistics(path)
    assert is_statistics(path) and found.made == MADE and found.gaussian.count == 30
    assert torch.equal(found.gaussian.mean, GAUSSIAN.mean)
    assert torch.equal(found.gaussian.covariance, GAUSSIAN.covariance)
    if path.suffix == ".safetensors":
        assert torch.equal(found.features, FEATURES)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_cleanfid_reads_our_npz_and_we_its(tmp_path):
    write_statistics(tmp_path / "ours.npz", Statistics(GAUSSIAN, MADE))
    theirs = np.load(tmp_path / "ours.npz")
    assert (theirs["mu"] == GAUSSIAN.mean.numpy()).all() and theirs["sigma"].shape == (6, 6)
    np.savez(tmp_path / "b.npz", mu=theirs["mu"].astype(np.float32), sigma=theirs["sigma"])
    found = read_statistics(tmp_path / "b.npz")
    assert found.made == {} and found.gaussian.count is None
    assert found.gaussian.mean.dtype == torch.float64
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    assert not is_statistics(tmp_path / "images.npz")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reference_pickles(tmp_path, protocol):
    mean, covariance = GAUSSIAN.mean.numpy(), np.asfortranarray(GAUSSIAN.covariance.numpy())
    content = {"fid": {"mu": mean, "sigma": covariance}, "fd_dinov2": {"mu": mean, "sigma": mean}}
    path = tmp_path / "ref.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_statistics(path)
    assert torch.equal(found.gaussian.covariance, GAUSSIAN.covariance)


def test_cached_sums_in_a_pickle(tmp_path):
    """Sums of outer products over n items, in a subclass of dict that is not installed here."""
    module = types.ModuleType("dnnlib.util")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    sys.modules["dnnlib"], sys.modules["dnnlib.util"] = types.ModuleType("dnnlib"), module
    x = FEATURES.double().numpy()
    content = module.EasyDict(
        capture_all=False, num_items=30, raw_mean=x.sum(0), raw_cov=x.T @ x, all_features=None
    )
    data = pickle.dumps(content)
    del sys.modules["dnnlib"], sys.modules["dnnlib.util"]
    (tmp_path / "cache.pkl").write_bytes(data)
    found = read_statistics(tmp_path / "cache.pkl")
    assert found.gaussian.count == 30
    assert torch.allclose(found.gaussian.covariance, GAUSSIAN.covariance)


class Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("bad", [Attack(), print, np.array([print], dtype=object), np.memmap])
def test_no_pickle_runs(tmp_path, protocol, bad):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps({"mu": bad, "sigma": bad}, protocol))
    with pytest.raises(DataError, match=r"bad\.pkl"):
        read_statistics(path)


def test_plain_values_of_pickles():
    content = {"a": [1, 2.5, "text", b"bytes", None, True], "b": (np.float32(1.5), np.int64(3))}
    assert read_plain_pickle(pickle.dumps(content), where="here") == content
    big = np.arange(3, dtype=">i2")
    assert (read_plain_pickle(pickle.dumps(big), where="here") == big).all()


@pytest.mark.parametrize("name", ["a.npz", "a.pkl", "a.safetensors"])
def test_damaged_files_are_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="cannot be read"):
        read_statistics(path)


def test_files_of_other_content(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(DataError, match="neither mu and sigma"):
        read_statistics(tmp_path / "a.pkl")
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    with pytest.raises(DataError, match="do not belong together"):
        read_statistics(tmp_path / "a.npz")
    with pytest.raises(DataError, match="no file of statistics"):
        read_statistics(tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_statistics(tmp_path / "file" / "a.npz", Statistics(GAUSSIAN, MADE))


def test_unlike_protocols():
    inception = {"name": "inception", "dim": 2048, "resize": "r", "precision": "float32"}
    files = [TABLE[name].sha256 for name in ("inception", "inception-pool3")]
    a, b = ({"backbone": {**inception, "sha256": sha}} for sha in files)
    for protocol in (a, b):
        protocol |= {"reference": {"identity": "x", "count": 9}, "generated": {"count": 5}}
    assert differences(a, b) == [], "two files of the same network"
    b["generated"]["truncation"] = 0.7
    b["device"] = "cuda"
    assert differences(a, b) == ["generated.truncation: None and 0.7"]
    with pytest.raises(Exception, match=r"a\.json and b\.json were not measured alike"):
        refuse_unlike(a, b, names=("a.json", "b.json"))
    refuse_foreign({}, a["backbone"], name="foreign.npz")
    refuse_foreign(a, b["backbone"], name="theirs.npz")
    with pytest.raises(DataError, match=r"tiny\.npz was made with name tiny"):
        refuse_foreign(MADE, a["backbone"], name="tiny.npz")
