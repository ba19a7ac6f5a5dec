"""Maximum mean discrepancy between two sets of vectors, and its kin (Gretton et al., 2012).

All take `[N, D]` and `[M, D]` and return a scalar that can be differentiated; sums are made in the
type of the inputs. The estimates by Gaussian kernels are in `largegan.losses`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.losses import gaussian_kernels, mmd2, squared_distances
from largegan.metrics.side import Settings, Side, both_features, small_images

ROWS = 1024  # of a kernel matrix that are in memory at once
PIXELS = 32  # a side of the images whose pixels are compared
MNIST_PIXELS = 784
GMMN_VARIANCES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)  # Li et al. (2015), in the authors' code


def as_vectors(images: Tensor) -> Tensor:
    """Images `[N, C, H, W]` in [-1, 1] -> `[N, D]` on the scale of MNIST's in [0, 1].

    Squared distances grow with the number of values; divided by that, and times MNIST's, they can
    be compared by one set of kernels at every size.
    """
    pixels = (images.flatten(1) + 1) / 2
    return pixels * (MNIST_PIXELS / pixels.shape[1]) ** 0.5


def discrepancy(x: Tensor, y: Tensor, variances: Sequence[float]) -> float:
    """The unbiased squared MMD under Gaussian kernels, in float64, in the memory of some rows."""
    x, y = x.double(), y.double()

    def total(a: Tensor, b: Tensor) -> float:
        rows = (gaussian_kernels(squared_distances(part, b), variances) for part in a.split(ROWS))
        return sum(float(block.sum()) for block in rows)

    n, m, own = len(x), len(y), len(variances)  # a kernel of an example with itself is 1
    within = (total(x, x) - own * n) / (n * (n - 1)) + (total(y, y) - own * m) / (m * (m - 1))
    return within - 2 * total(x, y) / (n * m)


def mmd(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """Of features, under kernels as wide as the reference's features are spread.

    Their variances are 1/4 to 4 times half the mean squared distance between two reference images,
    so the number does not depend on the scale of the features.
    """
    real, fake = (f[: settings.most] for f in both_features(reference, generated, "mmd"))
    refuse_one(real, fake)
    spread = float(real.double().var(0).sum())
    variances = [spread * factor for factor in (0.25, 0.5, 1.0, 2.0, 4.0)]
    return {"mmd": discrepancy(real, fake, variances)}


def mmd_pixels(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """Of raw pixels at 32 x 32, under GMMN's kernels on MNIST's scale."""
    sides = (small_images(side.images, PIXELS) for side in (reference, generated))
    real, fake = (as_vectors(s[: settings.most].float() / 127.5 - 1) for s in sides)
    refuse_one(real, fake)
    return {"mmd_pixels": discrepancy(real, fake, GMMN_VARIANCES)}


def refuse_one(*sets: Tensor) -> None:
    if min(map(len, sets)) < 2:
        raise ConfigError("the discrepancy of sets needs 2 images or more on both sides")


def energy_distance(x: Tensor, y: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| (Szekely & Rizzo); |d| is sqrt(d^2 + `smoothing`)."""

    def mean_distance(a: Tensor, b: Tensor) -> Tensor:
        return (squared_distances(a, b) + smoothing).sqrt().mean()

    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def linear_time_mmd2(x: Tensor, y: Tensor) -> Tensor:
    """Of the linear kernel, in one pass: the mean of neighbors' products of x - y."""
    difference = x - y
    return (difference[:-1] * difference[1:]).sum(1).mean()


def polynomial_mmd2(x: Tensor, y: Tensor, *, degree: int = 3) -> Tensor:
    """Of the kernel (x y / D + 1)^degree, in one pass over neighbors."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return ((a[:-1] * b[1:]).sum(1) / a.shape[1] + 1).pow(degree).mean()

    return kernel(x, x) + kernel(y, y) - kernel(x, y) - kernel(y, x)


def mmd2_and_variance(x: Tensor, y: Tensor, variances: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The unbiased estimate, and an unbiased one of its variance; N = M.

    Sutherland et al. (2017, arXiv 1611.04488), Eq. 5, for kernels with a constant diagonal.
    """
    pairs = ((x, x), (x, y), (y, y))
    xx, xy, yy = (gaussian_kernels(squared_distances(a, b), variances) for a, b in pairs)
    return mmd2(xx, xy, yy, biased=False), variance(xx, xy, yy)


def variance(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    """Sutherland et al. (2017), Eq. 5: of the unbiased `mmd2` of kernel matrices `[N, N]`."""
    n = len(xx)
    xx, yy = xx - torch.diag(xx.diagonal()), yy - torch.diag(yy.diagonal())
    rows_xx, rows_yy = xx.sum(1), yy.sum(1)
    rows_xy, columns_xy, total_xy = xy.sum(1), xy.sum(0), xy.sum()
    within = 2 * (rows_xx.square().sum() + rows_yy.square().sum())
    within = within - xx.square().sum() - yy.square().sum()
    totals = xx.sum().square() + yy.sum().square()
    across = rows_xy.square().sum() + columns_xy.square().sum()
    mixed = (xx.sum() + yy.sum()) * total_xy / n - rows_xx @ rows_xy - rows_yy @ columns_xy
    return (
        2 / (n**2 * (n - 1) ** 2) * within
        - (4 * n - 6) / (n * (n - 1)) ** 3 * totals
        + 4 * (n - 2) / (n**3 * (n - 1) ** 2) * across
        - 4 * (n - 3) / (n**3 * (n - 1) ** 2) * xy.square().sum()
        - (8 * n - 12) / (n**5 * (n - 1)) * total_xy.square()
        + 8 / (n**3 * (n - 1)) * mixed
    )
