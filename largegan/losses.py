"""Losses that recipes share, pure functions: adversarial ones, penalties, of patches, of kernels.

`real` and `fake` are the discriminator's raw outputs `[N]` (logits, or critic scores), `*_d` is
what the discriminator minimizes and `*_g` what the generator minimizes, a scalar each.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def minimax_d(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), D = sigmoid (Goodfellow et al., 2014, Eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating_g(fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))): the generator's side of the minimax game (ibid., Eq. 1)."""
    return -F.softplus(fake).mean()


def non_saturating_g(fake: Tensor) -> Tensor:
    """-E log D(G(z)): same fixed point, stronger gradients early on (ibid., section 3)."""
    return F.softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2 (Mao et al., 2017, Eq. 9: a = 0, b = c = 1)."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_g(fake: Tensor) -> Tensor:
    """1/2 E (D(G(z)) - 1)^2 (Mao et al., 2017, Eq. 9)."""
    return (fake - 1).square().mean() / 2


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Miyato et al., 2018, Eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_g(fake: Tensor) -> Tensor:
    """-E D(G(z)) (Miyato et al., 2018, Eq. 17)."""
    return -fake.mean()


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """E f(G(z)) - E f(x), the negative of Eq. 3 in Arjovsky et al. (2017)."""
    return fake.mean() - real.mean()


def wasserstein_g(fake: Tensor) -> Tensor:
    """-E f(G(z)) (Arjovsky et al., 2017, Algorithm 1)."""
    return -fake.mean()


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(D(x) - D(G(z)))), in pairs (Jolicoeur-Martineau, 2019; Huang et al., 2024)."""
    return F.softplus(fake - real).mean()


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(D(G(z)) - D(x))): the generator's side of the same pairs."""
    return F.softplus(real - fake).mean()


def input_gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    """d scores_n / d inputs_n as float32 `[N, ...]`, itself differentiable.

    The sum over the batch gives per-example gradients as long as examples do not interact; with
    batch norm in the network it is the gradient of the sum.
    """
    (gradient,) = torch.autograd.grad(scores.float().sum(), inputs, create_graph=True)
    return gradient.float()


def sq_grad_norm(scores: Tensor, inputs: Tensor) -> Tensor:
    """Squared norm of each example's input gradient, `[N]`; `inputs` must require grad."""
    return input_gradient(scores, inputs).flatten(1).square().sum(1)


def r1(scores: Tensor, real: Tensor) -> Tensor:
    """1/2 E |grad D(x)|^2 on real images (Mescheder et al., 2018, Eq. 9 without gamma)."""
    return sq_grad_norm(scores, real).mean() / 2


def directional_slopes(
    critic: Callable[[Tensor], Tensor],
    scores: Tensor,
    images: Tensor,
    *,
    sigma: float = 0.01,
    noise: Tensor | None = None,
) -> Tensor:
    """(D(x + sigma e) - D(x)) / sigma, `[N]`: slopes along one normal direction e an image.

    `scores` are `critic(images)`, `noise` is e (drawn when left out). A `critic` that augments must
    do so alike both times, and both passes need float32.
    """
    if noise is None:
        noise = torch.randn(images.shape, dtype=images.dtype, device=images.device)
    return (critic(images + sigma * noise).float() - scores.float()) / sigma


def finite_difference_gp(
    critic: Callable[[Tensor], Tensor],
    scores: Tensor,
    images: Tensor,
    *,
    sigma: float = 0.01,
    noise: Tensor | None = None,
) -> Tensor:
    """1/2 E ((D(x + sigma e) - D(x)) / sigma)^2, e normal: R1 on reals, R2 on fakes, estimated.

    For a smooth D and small `sigma` its mean over e is that of `r1`, but one draw an image has a
    variance of its own, and at the kinks of ReLUs the gradient is another: a different regularizer,
    not a faster `r1`. It needs one more forward pass and no second derivative, so it runs in any
    phase, compiled or sharded (after the approximated R1 of Lin et al., 2025, arXiv:2501.08316,
    there without 1 / sigma^2). Arguments: see `directional_slopes`.
    """
    return directional_slopes(critic, scores, images, sigma=sigma, noise=noise).square().mean() / 2


def finite_difference_two_sided_gp(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    weights: Tensor | None = None,
    sigma: float = 0.01,
    noise: Tensor | None = None,
) -> Tensor:
    """E (s^2 - sqrt(2 pi) |s| + 1), s a slope along a normal direction e: `gradient_penalty`,
    estimated.

    Of a direction's slope s = e grad, E s^2 = |grad|^2 and E |s| = sqrt(2 / pi) |grad|, so the
    mean over e is that of (|grad| - 1)^2, for small `sigma`. One draw may be negative.
    """
    mixed = between(real, fake, weights)
    slopes = directional_slopes(critic, critic(mixed), mixed, sigma=sigma, noise=noise)
    return (slopes.square() - (2 * math.pi) ** 0.5 * slopes.abs() + 1).mean()


def between(real: Tensor, fake: Tensor, weights: Tensor | None = None) -> Tensor:
    """`weights * real + (1 - weights) * fake`, one weight an example, uniform when left out."""
    if weights is None:
        weights = torch.rand(len(real), device=real.device)
    weights = weights.to(real.dtype).reshape(-1, *[1] * (real.dim() - 1))  # [N, 1, 1, 1]
    return torch.lerp(fake.detach(), real.detach(), weights)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, weights: Tensor | None = None
) -> Tensor:
    """E (|grad f(x_hat)| - 1)^2, x_hat between real and fake (Gulrajani et al., 2017, Eq. 3).

    `x_hat = weights * real + (1 - weights) * fake`; `weights` has N elements in [0, 1], one an
    example, and is drawn uniformly when left out.
    """
    mixed = between(real, fake, weights).requires_grad_()
    # vector_norm, not sqrt of a sum: where the gradient is zero its derivative is zero, not NaN.
    slope = torch.linalg.vector_norm(input_gradient(critic(mixed), mixed).flatten(1), dim=1)
    return (slope - 1).square().mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor | None = None) -> Tensor:
    """|J^T y| per example `[N]`: how far images move with w (Karras et al., 2020, Sec. 3.2).

    `images` `[N, C, H, W]` were made from `ws` `[N, num_ws, w_dim]`; y is `noise` (normal, drawn
    when left out) over sqrt(H W). The norm is the root of the mean over `num_ws`.
    """
    noise = torch.randn(images.shape, device=images.device) if noise is None else noise
    y = noise / (images.shape[2] * images.shape[3]) ** 0.5
    slope = input_gradient(images * y, ws)  # [N, num_ws, w_dim]
    return torch.linalg.vector_norm(slope.flatten(1), dim=1) / ws.shape[1] ** 0.5


class PatchLoss(NamedTuple):
    """The three sides of an adversarial loss on patches, each a mean over logits of any shape.

    As image translation writes them (Zhu et al., 2017, section 4): the discriminator minimizes
    the mean of `real` and `fake`, and least squares have no 1/2.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    reading: str  # of its logits: see `recipe.Reading`

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Half of both sides."""
        return (self.real(real) + self.fake(fake)) / 2


def _to_one(x: Tensor) -> Tensor:
    return (x - 1).square().mean()


PATCH_LOSSES = {
    "lsgan": PatchLoss(_to_one, lambda x: x.square().mean(), _to_one, "half"),
    "vanilla": PatchLoss(
        lambda x: F.softplus(-x).mean(),
        lambda x: F.softplus(x).mean(),
        non_saturating_g,
        "probability",
    ),
    "hinge": PatchLoss(
        lambda x: F.relu(1 - x).mean(), lambda x: F.relu(1 + x).mean(), hinge_g, "sign"
    ),
    "wgan": PatchLoss(lambda x: -x.mean(), lambda x: x.mean(), wasserstein_g, "relative"),
}


def relativistic(
    loss: PatchLoss, better: Tensor, worse: Tensor, *, average: bool = True
) -> tuple[Tensor, Tensor]:
    """How far `better` is from looking more real than `worse`, and `worse` from less so.

    The two halves of Jolicoeur-Martineau (2018) for logits of any shape: compared with the average
    of the other kind in the batch (Eq. 17), or, without `average`, one by one (Eq. 14). A generator
    wants its fakes to be better than reals.
    """
    if not average:
        return loss.real(better - worse), loss.fake(worse - better)
    return loss.real(better - worse.mean()), loss.fake(worse - better.mean())


def patch_nce(
    query: Tensor, key: Tensor, *, temperature: float = 0.07, across_images: bool = False
) -> Tensor:
    """Cross entropy of finding each query's own key (Park et al., 2020, Eq. 3), a scalar.

    Args:
        query: unit vectors `[N, P, C]` of P places in each of N images.
        key: the same places in the images they were made from; no gradient flows into them.
        temperature: the paper's tau.
        across_images: negatives are the other places of all images, not of the same image alone.
    """
    query, key = query.float(), key.float().detach()
    if across_images:
        query, key = query.flatten(0, 1)[None], key.flatten(0, 1)[None]
    similar = query @ key.transpose(1, 2) / temperature  # [N, P, P]
    own = torch.arange(similar.shape[1], device=query.device).expand(similar.shape[:2])
    # As published: besides the positive there is one constant logit of -10 in each row's place
    # for it, among the negatives.
    floor = similar.new_full((*similar.shape[:2], 1), -10 / temperature)  # [N, P, 1]
    logits = torch.cat([similar, floor], dim=2)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, `[N, D]` and `[M, D]` -> `[N, M]`, never negative."""
    lengths = x.square().sum(1)[:, None] + y.square().sum(1)
    return (lengths - 2 * x @ y.mT).clamp(min=0)


def gaussian_kernels(squared: Tensor, variances: Sequence[float]) -> Tensor:
    """The sum over `variances` v of exp(-|x - y|^2 / 2v), elementwise of squared distances."""
    return sum(torch.exp(squared / (-2 * v)) for v in variances)


def mmd2(xx: Tensor, xy: Tensor, yy: Tensor, *, biased: bool = True) -> Tensor:
    """The squared maximum mean discrepancy of kernel matrices `[N, N]`, `[N, M]`, `[M, M]`.

    Gretton et al. (2012): biased, their Eq. 5, with all pairs, never negative; unbiased, their
    Eq. 3, without the pairs of an example with itself, and 0 on average for equal distributions.
    """
    if biased:
        return xx.mean() + yy.mean() - 2 * xy.mean()
    n, m = len(xx), len(yy)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


def gaussian_mmd2(
    x: Tensor, y: Tensor, variances: Sequence[float], *, biased: bool = True
) -> Tensor:
    """`mmd2` of two sets of vectors `[N, D]` and `[M, D]` by `gaussian_kernels`."""
    pairs = ((x, x), (x, y), (y, y))
    kernels = [gaussian_kernels(squared_distances(a, b), variances) for a, b in pairs]
    return mmd2(*kernels, biased=biased)


def root(mmd2: Tensor) -> Tensor:
    """The square root of a discrepancy, whose gradient is 0 instead of infinite where it is 0."""
    return torch.where(mmd2 > 0, mmd2, 1.0).sqrt() * (mmd2 > 0)


def align(
    on_class: Tensor, on_patches: Tensor, class_target: Tensor, patch_targets: Tensor
) -> dict[str, Tensor]:
    """1 - cosine between predicted and another network's features, each `[N]`.

    Features are `[N, C]` of the image and `[N, T, C]` of its patches, a square grid; the other
    network's grid is resized to ours (Yu et al., 2024; Hyun et al., 2025).
    """
    grid, theirs = (round(t.shape[1] ** 0.5) for t in (on_patches, patch_targets))
    if grid != theirs:
        maps = patch_targets.mT.unflatten(2, (theirs, theirs))
        maps = F.interpolate(maps, (grid, grid), mode="bicubic", align_corners=False)
        patch_targets = maps.flatten(2).mT
    return {
        "align_class": 1 - F.cosine_similarity(on_class, class_target, dim=-1),
        "align_patches": (1 - F.cosine_similarity(on_patches, patch_targets, dim=-1)).mean(1),
    }
