"""KID, precision, recall, density, coverage and the inception score against their definitions."""

import cleanfid.fid
import numpy as np
import pytest
import torch

from largegan.errors import DataError
from largegan.metrics import kid, prdc
from largegan.metrics.inception_score import inception_score


def features(n: int, d: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=random) + 0.3 * seed


@pytest.mark.parametrize(("n", "m", "size"), [(60, 60, 1000), (60, 45, 1000), (60, 80, 30)])
def test_kid_is_cleanfids_on_a_subset(monkeypatch, n, m, size):
    x, y = features(n, 16, 1).double(), features(m, 16, 2).double()
    monkeypatch.setattr(np.random, "choice", lambda total, count, replace: np.arange(count))
    published = cleanfid.fid.kernel_distance(
        x.numpy(), y.numpy(), num_subsets=1, max_subset_size=size
    )
    rows = min(n, m, size)
    assert kid.kernel_distance(x[:rows], y[:rows]) == pytest.approx(published, rel=1e-9)


def test_kid_counts_every_pair_once(monkeypatch):
    monkeypatch.setattr(kid, "BLOCK", 7)
    x, y = features(30, 5, 1).double(), features(41, 5, 2).double()

    def kernel(a, b):
        return float((a @ b / 5 + 1) ** 3)

    def mean(values):
        return sum(values) / len(values)

    within = mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    among = mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = mean([kernel(a, b) for a in x for b in y])
    expected = within + among - 2 * across
    assert kid.kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)
    assert kid.kernel_estimate(x, y).distance == pytest.approx(expected, rel=1e-10)


def test_kid_of_float32_features_is_off_by_much_less_than_its_error_bar():
    x, y = features(500, 64, 1), features(400, 64, 2)
    found, exact = kid.kernel_estimate(x, y), kid.kernel_estimate(x.double(), y.double())
    assert abs(found.distance - exact.distance) < 1e-5 * exact.error
    assert found.error == pytest.approx(exact.error, rel=1e-5)


def test_kid_error_bar_is_the_delete_one_chunk_jackknife():
    x, y = features(40, 5, 1), features(60, 5, 2)
    xs, ys = x.tensor_split(20), y.tensor_split(20)
    without = [
        kid.kernel_distance(
            torch.cat([p for j, p in enumerate(xs) if j != i]),
            torch.cat([p for j, p in enumerate(ys) if j != i]),
        )
        for i in range(20)
    ]
    expected = (19 * np.var(without)) ** 0.5
    assert kid.kernel_estimate(x, y).error == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased():
    """On two samples of one distribution it is as often below zero as above."""
    random = torch.Generator().manual_seed(0)
    signs = [kid.kernel_distance(*torch.randn(2, 20, 4, generator=random)) > 0 for _ in range(200)]
    assert 0.3 < sum(signs) / 200 < 0.6  # skewed: the median lies below the mean


def test_random_subsets_repeat():
    x, y = features(50, 4, 1), features(50, 4, 2)
    first = kid.random_subset_distance(x, y, subsets=3, size=20, seed=1)
    assert first == kid.random_subset_distance(x, y, subsets=3, size=20, seed=1)
    assert first != kid.random_subset_distance(x, y, subsets=3, size=20, seed=2)


def test_kid_needs_pairs():
    with pytest.raises(DataError, match="at least 2"):
        kid.kernel_distance(features(1, 4, 1), features(5, 4, 2))


def by_definition(real, generated, k):
    """The four of prdc, written out one pair at a time."""

    def distance(a, b):
        return float((a.double() - b.double()).norm())

    def radius(x, i):
        return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    n, m = len(real), len(generated)
    r = [radius(real, i) for i in range(n)]
    g = [radius(generated, j) for j in range(m)]
    d = [[distance(real[i], generated[j]) for j in range(m)] for i in range(n)]
    return (
        sum(any(d[i][j] <= r[i] for i in range(n)) for j in range(m)) / m,
        sum(any(d[i][j] <= g[j] for j in range(m)) for i in range(n)) / n,
        sum(d[i][j] < r[i] for i in range(n) for j in range(m)) / (k * m),
        sum(min(d[i]) < r[i] for i in range(n)) / n,
    )


@pytest.mark.parametrize(("n", "m", "k"), [(30, 20, 3), (20, 30, 5), (12, 12, 1), (9, 9, 8)])
def test_prdc_by_definition(monkeypatch, n, m, k):
    monkeypatch.setattr(prdc, "BLOCK", 8)
    real, generated = features(n, 3, 1), features(m, 3, 3)
    found = prdc.precision_recall_density_coverage(real, generated, k=k)
    expected = by_definition(real, generated, k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 5])
def test_prdc_needs_neighbours(k):
    with pytest.raises(DataError, match="neighbors"):
        prdc.precision_recall_density_coverage(features(9, 3, 1), features(5, 3, 2), k=k)


def test_inception_score_of_known_cases():
    """Certain and evenly spread over C classes: C. The same for every image: 1."""
    certain = 100 * torch.eye(10).repeat(20, 1)
    assert inception_score(certain)[0] == pytest.approx(10, rel=1e-6)
    assert inception_score(torch.randn(1, 10).repeat(30, 1)) == pytest.approx((1, 0), abs=1e-12)
    with pytest.raises(DataError, match="10 splits"):
        inception_score(certain[:9])
