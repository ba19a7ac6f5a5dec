"""Maximum mean discrepancy between two sets of vectors, and its kin (Gretton et al., 2012).

All take `[N, D]` and `[M, D]` and return a scalar that can be differentiated; sums are made in the
type of the inputs. The estimates by Gaussian kernels are in `largegan.losses`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from largegan.losses import gaussian_kernels, gaussian_mmd2, mmd2, squared_distances

MNIST_PIXELS = 784
GMMN_VARIANCES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)  # Li et al. (2015), in the authors' code


def as_vectors(images: Tensor) -> Tensor:
    """Images `[N, C, H, W]` in [-1, 1] -> `[N, D]` on the scale of MNIST's in [0, 1].

    Squared distances grow with the number of values; divided by that, and times MNIST's, they can
    be compared by one set of kernels at every size.
    """
    pixels = (images.flatten(1) + 1) / 2
    return pixels * (MNIST_PIXELS / pixels.shape[1]) ** 0.5


def discrepancy(real: Tensor, fake: Tensor) -> float:
    """The unbiased squared MMD of two sets of vectors by GMMN's kernels, in float64."""
    return float(gaussian_mmd2(real.double(), fake.double(), GMMN_VARIANCES, biased=False))


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
