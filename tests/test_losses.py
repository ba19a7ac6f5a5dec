"""Losses against the formulas of their papers, penalties against critics with known gradients."""

import math

import pytest
import torch

from largegan import losses

REAL = torch.tensor([-1.5, 0.0, 0.3, 2.0], dtype=torch.float64)
FAKE = torch.tensor([-2.0, -0.1, 0.7, 1.2], dtype=torch.float64)


def mean(function, values):
    return sum(function(float(v)) for v in values) / len(values)


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


@pytest.mark.parametrize(
    "loss, on_real, on_fake",
    [
        (losses.minimax_d, lambda r: -math.log(sigmoid(r)), lambda f: -math.log(1 - sigmoid(f))),
        (losses.least_squares_d, lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2),
        (losses.hinge_d, lambda r: max(0, 1 - r), lambda f: max(0, 1 + f)),
        (losses.wasserstein_d, lambda r: -r, lambda f: f),
    ],
)
def test_discriminator_losses(loss, on_real, on_fake):
    assert float(loss(REAL, FAKE)) == pytest.approx(mean(on_real, REAL) + mean(on_fake, FAKE))


@pytest.mark.parametrize(
    "loss, on_fake",
    [
        (losses.saturating_g, lambda f: math.log(1 - sigmoid(f))),
        (losses.non_saturating_g, lambda f: -math.log(sigmoid(f))),
        (losses.least_squares_g, lambda f: (f - 1) ** 2 / 2),
        (losses.hinge_g, lambda f: -f),
        (losses.wasserstein_g, lambda f: -f),
    ],
)
def test_generator_losses(loss, on_fake):
    assert float(loss(FAKE)) == pytest.approx(mean(on_fake, FAKE))


def test_large_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4])
    assert losses.minimax_d(logits, logits).isfinite()
    assert losses.saturating_g(logits).isfinite()


def linear_critic(shape=(3, 4, 4)):
    weight = torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    return weight, lambda x: (x * weight).sum((1, 2, 3))


def test_penalties_of_a_linear_critic():
    weight, critic = linear_critic()
    real, fake = torch.randn(2, 5, 3, 4, 4)
    slope = float(weight.norm())
    assert float(losses.gradient_penalty(critic, real, fake)) == pytest.approx((slope - 1) ** 2)
    real.requires_grad_()
    assert float(losses.r1(critic(real), real)) == pytest.approx(slope**2 / 2)
    assert losses.sq_grad_norm(critic(real), real).tolist() == pytest.approx([slope**2] * 5)


def test_the_penalty_is_taken_where_the_weights_say():
    seen = []

    def critic(x):
        seen.append(x)
        return x.sum((1, 2, 3))

    real, fake = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    losses.gradient_penalty(critic, real, fake, torch.tensor([[0.25], [1.0]]))
    assert seen[0].detach().mean((1, 2, 3)).tolist() == [0.25, 1.0]
    losses.gradient_penalty(critic, real, fake)
    assert seen[1].detach().flatten(1).std(1).max() == 0, "one weight an example"
    assert seen[1][0, 0, 0, 0] != seen[1][1, 0, 0, 0]


def test_the_penalty_reaches_the_weights():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    real, fake = torch.randn(2, 3, 1, 4, 4)
    losses.gradient_penalty(critic, real, fake).backward()
    weight = critic[1].weight
    expected = 2 * (weight.norm() - 1) * weight / weight.norm()
    torch.testing.assert_close(weight.grad, expected.detach())


def test_a_flat_critic_has_no_nan():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    torch.nn.init.zeros_(net[1].weight)
    real, fake = torch.randn(2, 3, 1, 4, 4)
    losses.gradient_penalty(net, real, fake).backward()
    assert net[1].weight.grad.isfinite().all()


def test_finite_differences_estimate_r1_of_a_smooth_critic():
    """Its mean over draws, and the mean gradient of the weights, are those of the exact penalty."""
    torch.manual_seed(0)
    w = torch.randn(6, dtype=torch.float64, requires_grad=True)
    real = torch.randn(1, 6, dtype=torch.float64)

    def critic(x):
        return torch.tanh(x * w).sum(1)

    x = real.clone().requires_grad_()
    exact = losses.r1(critic(x), x)
    many = real.expand(200_000, 6)
    estimate = losses.finite_difference_gp(critic, critic(many), many, sigma=1e-3)
    wanted, got = (torch.autograd.grad(penalty, w)[0] for penalty in (exact, estimate))
    assert float(estimate.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.02)


def test_finite_differences_along_given_noise():
    """Of a linear critic they are (e g)^2 / 2, whatever sigma is."""
    g = torch.tensor([3.0, -4.0])
    images, noise = torch.randn(3, 2), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    penalty = losses.finite_difference_gp(
        lambda x: x @ g, images @ g, images, sigma=0.5, noise=noise
    )
    torch.testing.assert_close(penalty, torch.tensor((9 + 16 + 1) / 6))


def quadratic(dtype=torch.float64):
    """D(x) = x^T A x / 2 + b x on four numbers; its gradient at x is A x + b."""
    random = torch.Generator().manual_seed(3)
    root = torch.randn(4, 4, dtype=dtype, generator=random)
    a = (root + root.T).requires_grad_()
    b = torch.randn(4, dtype=dtype, generator=random).requires_grad_()
    x = torch.randn(3, 4, dtype=dtype, generator=random)
    return a, b, x, lambda x: (x @ a * x).sum(1) / 2 + x @ b


def test_exact_r1_of_a_quadratic_critic():
    a, b, x, critic = quadratic()
    slope = x @ a + b
    x.requires_grad_()
    penalty = losses.r1(critic(x), x)
    torch.testing.assert_close(
        penalty.double(), slope.square().sum(1).mean() / 2, rtol=1e-6, atol=0
    )
    assert_gradients_agree((penalty, slope.square().sum(1).mean() / 2), (a, b), 1e-5)


def assert_gradients_agree(values, parameters, tolerance: float) -> None:
    """A is symmetric: only what moves both halves alike counts."""
    found = []
    for value in values:
        gradients = torch.autograd.grad(value, parameters)
        found.append([(g + g.T) / 2 if g.ndim == 2 else g for g in gradients])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_differences_of_a_quadratic_critic_have_a_known_value():
    """(e g + sigma e^T A e / 2)^2 / 2 along a given direction e, and its gradient."""
    a, b, x, critic = quadratic()
    e, sigma = torch.randn(3, 4, dtype=torch.float64), 0.25
    slope = ((x @ a + b) * e).sum(1) + sigma / 2 * (e @ a * e).sum(1)
    found = losses.finite_difference_gp(critic, critic(x), x, sigma=sigma, noise=e)
    torch.testing.assert_close(found.double(), slope.square().mean() / 2, rtol=1e-5, atol=0)
    assert_gradients_agree((found, slope.square().mean() / 2), (a, b), 1e-4)


def test_differences_estimate_the_two_sided_penalty():
    """Over many directions: value and gradient of (|g| - 1)^2 at the points between."""
    torch.manual_seed(0)
    a, b, x, critic = quadratic()
    real, fake = x[:1], x[1:2]
    middle = (real + fake) / 2
    exact = (torch.linalg.vector_norm(middle @ a + b, dim=1) - 1).square().mean()
    many = 400_000
    half = torch.full((many,), 0.5, dtype=torch.float64)
    estimate = losses.finite_difference_two_sided_gp(
        critic, real.expand(many, 4), fake.expand(many, 4), weights=half, sigma=1e-3
    )
    assert float(estimate.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    assert_gradients_agree((estimate, exact), (a, b), 0.03)


def test_two_sided_differences_are_0_for_a_slope_of_1_on_average():
    """A linear critic of norm 1 has nothing to be punished for; of norm 3 it has (3 - 1)^2."""
    torch.manual_seed(0)
    x = torch.randn(400_000, 2)
    for norm, wanted in ((1.0, 0.0), (3.0, 4.0), (0.0, 1.0)):
        g = norm * torch.tensor([0.6, -0.8])
        found = losses.finite_difference_two_sided_gp(lambda x, g=g: x @ g, x, x)
        assert float(found) == pytest.approx(wanted, abs=0.05)


def test_relativistic_losses_compare_pairs():
    real, fake = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 2.0])
    wanted = torch.nn.functional.softplus(torch.tensor([-2.0, 3.0])).mean()
    torch.testing.assert_close(losses.relativistic_d(real, fake), wanted)
    torch.testing.assert_close(losses.relativistic_g(fake, real), wanted)
