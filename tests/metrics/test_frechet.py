"""Moments and the Fréchet distance: against clean-fid, against closed forms, and when singular."""

import inspect

import cleanfid.fid
import numpy as np
import pytest
import scipy.linalg
import torch

from largegan.errors import DataError
from largegan.metrics.frechet import (
    FrechetTo,
    estimate,
    frechet_distance,
    frechet_of_features,
    jackknife,
)
from largegan.metrics.moments import Gaussian, Moments, Sums, gaussian_of, moments_of


def features(n: int, d: int, *, seed: int = 0, rank: int | None = None) -> torch.Tensor:
    """Correlated, not centered, of very different scales, like those of a network."""
    random = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(99)
    spectrum = 10.0 / torch.arange(1, (rank or d) + 1) ** 0.8
    mix = torch.randn(rank or d, d, generator=shared) * spectrum[:, None]
    own = 1 + 0.1 * torch.randn(rank or d, generator=random)
    mean = 0.05 * torch.randn(d, generator=random) + 0.4
    return (torch.randn(n, rank or d, generator=random) * own) @ mix / d**0.5 + mean


@pytest.fixture
def published_distance(monkeypatch):
    """clean-fid's `fid_from_feats` with any SciPy.

    It calls sqrtm(..., disp=False), which SciPy 1.18 removed. Pinning SciPy would pin it for
    everything installed beside it, so this one function gets the signature that clean-fid expects.
    """
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        new = scipy.linalg.sqrtm
        monkeypatch.setattr(cleanfid.fid.linalg, "sqrtm", lambda a, disp=True: (new(a), 0.0))
    return lambda x, y: cleanfid.fid.fid_from_feats(x.double().numpy(), y.double().numpy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("n", "m", "d"), [(300, 260, 64), (500, 500, 7), (40, 1000, 33)])
def test_agrees_with_cleanfid(published_distance, n, m, d):
    x, y = features(n, d, seed=1), features(m, d, seed=2)
    ours = frechet_distance(gaussian_of(x), gaussian_of(y))
    assert ours == pytest.approx(published_distance(x, y), rel=1e-6)
    assert frechet_of_features(x, y) == pytest.approx(ours, rel=1e-9)


def test_agrees_with_cleanfid_called_with_a_new_scipy(published_distance, monkeypatch):
    """The adapter itself, whichever SciPy is installed."""
    monkeypatch.setattr(
        cleanfid.fid.linalg, "sqrtm", lambda a, disp=True: (scipy.linalg.funm(a, np.sqrt), 0.0)
    )
    x, y = features(200, 12, seed=1), features(200, 12, seed=2)
    ours = frechet_distance(gaussian_of(x), gaussian_of(y))
    assert ours == pytest.approx(published_distance(x, y), rel=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "d"), [(30, 25, 64), (2, 3, 16), (64, 64, 64), (65, 20, 64), (20, 500, 64)]
)
def test_fewer_samples_than_dimensions_are_exact(n, m, d):
    """Against the nuclear norm of the features, in both orders."""
    x, y = features(n, d, seed=3), features(m, d, seed=4)
    exact = frechet_of_features(x, y)
    for a, b in ((x, y), (y, x)):
        assert frechet_distance(gaussian_of(a), gaussian_of(b)) == pytest.approx(exact, rel=1e-10)


def test_unknown_counts_and_collapsed_generators():
    """A covariance of low rank that does not say from how many samples, and one of rank 0."""
    x, y = features(100, 48, seed=5, rank=6), features(100, 48, seed=6)
    a, b = gaussian_of(x), gaussian_of(y)
    anonymous = Gaussian(a.mean, a.covariance)
    exact = frechet_of_features(x, y)
    assert frechet_distance(anonymous, b) == pytest.approx(exact, rel=1e-6)
    assert frechet_distance(b, anonymous) == pytest.approx(exact, rel=1e-6)
    same = y[:1].repeat(50, 1)
    expected = frechet_of_features(same, x)
    assert frechet_distance(a, gaussian_of(same)) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(gaussian_of(same), a) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [20, 500])
def test_distance_to_itself_is_nothing_and_never_negative(n):
    a = gaussian_of(features(n, 32))
    assert 0 <= frechet_distance(a, a) < 1e-9 * float(a.covariance.trace())


def test_closed_form_of_diagonal_gaussians():
    variances = torch.tensor([4.0, 9.0, 1.0]).double(), torch.tensor([1.0, 4.0, 25.0]).double()
    a, b = (
        Gaussian(torch.full((3,), m).double(), v.diag())
        for m, v in zip((0, 2), variances, strict=True)
    )
    assert frechet_distance(a, b) == pytest.approx(3 * 4 + 1 + 1 + 16)


def test_bad_statistics_are_refused():
    a = gaussian_of(features(10, 4))
    with pytest.raises(DataError, match="4 and of 5 features"):
        frechet_distance(a, gaussian_of(features(10, 5)))
    with pytest.raises(DataError, match="at least 2 images"):
        FrechetTo(Gaussian(a.mean, a.covariance, count=1))
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(a, Gaussian(a.mean * torch.nan, a.covariance, 10))


@pytest.mark.parametrize(("total", "chunks", "batch"), [(100, 20, 7), (23, 20, 5), (3, 20, 3)])
def test_chunks_are_consecutive_parts(total, chunks, batch):
    x = features(total, 6)
    moments = Moments(6, total, chunks=chunks)
    for start in range(0, total, batch):
        moments.add(x[start : start + batch], start)
    found = moments.finish()
    start = 0
    for part in found:
        rows = x[start : start + part.count].double()
        assert torch.allclose(part.first, rows.sum(0)) and torch.allclose(
            part.second, rows.T @ rows
        )
        start += part.count
    assert start == total and max(found.counts) - min(found.counts) <= 1
    whole = found.whole().gaussian()
    assert np.allclose(whole.covariance, np.cov(x.double().numpy(), rowvar=False), rtol=1e-12)


def test_samples_out_of_order_are_a_mistake():
    moments = Moments(2, 40)
    moments.add(torch.zeros(2, 2), 20)
    with pytest.raises(ValueError, match="after chunk"):
        moments.add(torch.zeros(2, 2), 0)


def test_two_processes_add_up_to_one():
    """Batches in turn; the sums of both, whoever holds which batch."""
    x = features(50, 5)
    parts = [Moments(5, 50), Moments(5, 50)]
    for number, start in enumerate(range(0, 50, 8)):
        parts[number % 2].add(x[start : start + 8], start)
    shares = [part.finish() for part in parts]
    other = iter(
        [torch.tensor(shares[1].counts).double()]
        + [torch.cat([s.first[None], s.second]) for s in shares[1]]
    )
    shares[0].add_up(lambda mine: mine + next(other))
    for one, both in zip(moments_of(x, chunks=20), shares[0], strict=True):
        assert one.count == both.count
        assert torch.allclose(one.second, both.second, rtol=1e-14)


def test_error_bar_covers_what_other_samples_would_give():
    """The spread of many distances from fresh samples, against the mean of their error bars."""
    reference = gaussian_of(features(20_000, 8, seed=100))
    pool = features(20_000, 8, seed=7)
    found = [estimate(reference, moments_of(p, chunks=20)) for p in pool.split(1000)]
    spread = float(torch.tensor([e.distance for e in found]).std())
    typical = float(torch.tensor([e.error for e in found]).mean())
    assert 0.6 < typical / spread < 1.6
    truth = frechet_distance(reference, gaussian_of(pool))
    plain = sum(e.distance for e in found) / len(found)
    limit = sum(e.limit for e in found) / len(found)
    assert plain - truth > 3 * abs(limit - truth), "the limit has lost most of the bias"


def test_jackknife_of_means_is_their_standard_error():
    values = torch.tensor([1.0, 4.0, 2.0, 7.0, 5.0]).double()
    without = [float(values[values != v].mean()) for v in values]
    assert jackknife(without) == pytest.approx(float(values.std() / 5**0.5))


def test_few_samples_have_no_error_bar():
    answer = estimate(gaussian_of(features(10, 4)), moments_of(features(5, 4), chunks=20))
    assert answer.distance > 0 and answer.error is None and answer.limit is None


def test_sums_subtract():
    x = features(10, 3)
    whole, part = moments_of(x).whole(), moments_of(x[:4]).whole()
    whole.add(part, sign=-1)
    rest = Sums(6, x[4:].double().sum(0), x[4:].double().T @ x[4:].double())
    assert whole.count == 6 and torch.allclose(whole.second, rest.second)
