"""The Fréchet distance of two Gaussians, its standard error, and its limit for many samples.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017: on Inception features it is
the FID. d² = |m1 - m2|² + tr(C1) + tr(C2) - 2 tr((C1 C2)^½), and the last trace is the sum of the
square roots of the eigenvalues of L'C2L for any L with LL' = C1. Everything is float64: float32
is off by a hundredth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import ConfigError, DataError
from largegan.metrics.moments import Chunks, Gaussian, gaussian_of
from largegan.metrics.side import Settings, Side, both_features, both_labels

LIMIT_SIZES = 10  # how many sample sizes the line through 1/n goes through


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared distance, never negative. Fewer samples than dimensions are handled exactly."""
    return FrechetTo(a)(b)


class FrechetTo:
    """Distances to one Gaussian; what depends on it alone is computed once."""

    def __init__(self, reference: Gaussian):
        check(reference)
        self.reference = reference
        self.trace = float(reference.covariance.trace())
        self.factor, self.full = factor(reference)

    def __call__(self, other: Gaussian, *, exact: bool = True) -> float:
        """With `exact` False up to a hundred times as fast where `other` is singular: see there."""
        check(other)
        mine = self.reference
        if mine.dim != other.dim:
            raise DataError(
                f"statistics of {mine.dim} and of {other.dim} features cannot be compared; use the "
                "same feature network for both"
            )
        gap = float((mine.mean - other.mean).square().sum())
        traces = self.trace + float(other.covariance.trace())
        return max(0.0, gap + traces - 2 * self.overlap(other, exact=exact))

    def overlap(self, other: Gaussian, *, exact: bool = True) -> float:
        """tr((C1 C2)^½).

        The root of an eigenvalue that should be zero is 1e-8, not 1e-16: where covariances are
        singular, the singular values of L1'L2 are taken, which are those roots without a root.
        Without that, and cut at the rank that the count of samples allows, about 1e-8 is lost.
        """
        if (self.full and not other.singular) or not exact:
            product = self.factor.T @ other.covariance @ self.factor
            values = torch.linalg.eigvalsh((product + product.T) / 2)  # they ascend
            if not exact:
                values = values[max(0, len(values) - rank_bound(other)) :]
                return float(values.clamp(min=0).sqrt().sum())
            if values[0] > values[-1] * torch.finfo(values.dtype).eps:
                return float(values.sqrt().sum())
        return float(torch.linalg.svdvals(self.factor.T @ factor(other)[0]).sum())


def factor(gaussian: Gaussian) -> tuple[Tensor, bool]:
    """L `[d, r]` with LL' = covariance, and whether it is of full rank (r = d)."""
    if not gaussian.singular:
        lower, failed = torch.linalg.cholesky_ex(gaussian.covariance)
        if not failed:
            return lower, True
    values, vectors = torch.linalg.eigh(gaussian.covariance)
    keep = values > values[-1].clamp(min=0) * gaussian.dim * torch.finfo(values.dtype).eps
    keep[: max(0, gaussian.dim - rank_bound(gaussian))] = False  # they ascend
    return vectors[:, keep] * values[keep].sqrt(), False


def rank_bound(gaussian: Gaussian) -> int:
    """n samples span at most n - 1 directions around their mean."""
    known = gaussian.dim if gaussian.count is None else gaussian.count - 1
    return min(gaussian.dim, known)


def check(gaussian: Gaussian) -> None:
    if gaussian.count is not None and gaussian.count < 2:
        raise DataError(
            f"a Fréchet distance needs at least 2 images on either side, and there is "
            f"{gaussian.count}; give more (10,000 or more for a figure to publish)"
        )
    if not (gaussian.mean.isfinite().all() and gaussian.covariance.isfinite().all()):
        raise DataError("the features hold values that are not finite; look at the images")


def frechet_of_features(x: Tensor, y: Tensor) -> float:
    """The same from features `[n, d]`, `[m, d]`, without a covariance: cheap when n, m < d.

    tr((C1 C2)^½) is the nuclear norm of X Y' / √((n-1)(m-1)) for centered X, Y.
    """
    x, y = x.double(), y.double()
    a, b = ((v - v.mean(0)) / (len(v) - 1) ** 0.5 for v in (x, y))
    gap = (x.mean(0) - y.mean(0)).square().sum()
    traces = a.square().sum() + b.square().sum()
    return max(0.0, float(gap + traces - 2 * torch.linalg.svdvals(a @ b.T).sum()))


@dataclass(frozen=True)
class Estimate:
    """A distance from n samples, how far it would move with other samples, and its limit.

    `error` is the jackknife standard error over the generated samples, with the reference as
    given. `limit` is FID∞ (Chong & Forsyth, "Effectively Unbiased FID and Inception Score and
    where to find them", 2020): the distance falls like 1/n, so a line through several sizes
    meets 1/n = 0 there. Both are None when there are too few chunks.
    """

    distance: float
    error: float | None = None
    limit: float | None = None


def estimate(reference: Gaussian, generated: Chunks) -> Estimate:
    """Distance, standard error and limit from the chunks of the generated samples."""
    distance_to = FrechetTo(reference)
    whole = generated.whole()
    distance = distance_to(whole.gaussian())
    if len(generated) < 3:
        return Estimate(distance)
    without = []
    for part in generated:
        rest = whole.clone()
        rest.add(part, sign=-1)
        without.append(distance_to(rest.gaussian(), exact=False))
    return Estimate(distance, jackknife(without), limit(distance_to, generated, distance))


def jackknife(without: list[float]) -> float:
    """The standard error from the scores without each chunk in turn."""
    values = torch.tensor(without, dtype=torch.float64)
    return float(((len(values) - 1) * values.var(correction=0)).sqrt())


def limit(distance_to: FrechetTo, generated: Chunks, distance: float) -> float:
    """Where the line through (1/n, distance of the first n samples) meets 1/n = 0.

    Sizes go from a quarter of the samples to all of them.
    """
    sizes = range(-(-len(generated) // 4), len(generated))
    step = max(1, len(sizes) // LIMIT_SIZES)
    chosen = set(sizes[::step])
    inverse, distances, growing = [], [], None
    for done, part in enumerate(generated, 1):
        growing = part if growing is None else growing
        if done > 1:
            growing.add(part)
        if done in chosen and growing.count >= 2:
            inverse.append(1 / growing.count)
            distances.append(distance_to(growing.gaussian(), exact=False))
    inverse.append(1 / generated.count)
    distances.append(distance)
    x = torch.tensor(inverse, dtype=torch.float64)
    line = torch.stack([torch.ones_like(x), x], 1)
    answer = torch.linalg.lstsq(line, torch.tensor(distances, dtype=torch.float64)[:, None])
    return float(answer.solution[0])


def fid(reference: Side, generated: Side, settings: Settings) -> dict[str, float | None]:
    """The row `fid`: a distance, its standard error and its limit where parts are known."""
    if generated.chunks is None:
        return {"fid": frechet_distance(reference.gaussian, generated.gaussian)}
    found = estimate(reference.gaussian, generated.chunks)
    return {"fid": found.distance, "fid_error": found.error, "fid_limit": found.limit}


def ifid(reference: Side, generated: Side, settings: Settings) -> dict[str, float | None]:
    """The row `ifid`: class by class (every conditional GAN's paper), and the mean."""
    real, fake = both_features(reference, generated, "ifid")
    real_labels, fake_labels = both_labels(reference, generated, "a distance within classes")
    ours, theirs = torch.tensor(real_labels), torch.tensor(fake_labels)
    shared = sorted(set(real_labels) & set(fake_labels))
    parts = {c: (real[ours == c], fake[theirs == c]) for c in shared}
    parts = {c: pair for c, pair in parts.items() if min(map(len, pair)) >= 2}
    if not parts:
        raise ConfigError("no class has 2 images on both sides; give more images")
    each = {
        f"ifid/{c}": frechet_distance(gaussian_of(a), gaussian_of(b)) for c, (a, b) in parts.items()
    }
    return {"ifid": sum(each.values()) / len(each), **each}
