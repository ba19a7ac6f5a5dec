"""A look at samples: numbers on sets whose answer is known."""

import pytest
import torch

from largegan.health.looks import entropy, features, look, reals_of

COUNT = 200
MODES = torch.tensor([-4.0, 0.0, 4.0])


def three_modes(count: int, *, seed: int, modes: int = 3) -> torch.Tensor:
    """`[count, 1]`, narrow bumps around some of `MODES`, as many at each."""
    random = torch.Generator().manual_seed(seed)
    which = MODES[torch.arange(count) % modes]
    return (which + 0.3 * torch.randn(count, generator=random))[:, None]


def pictures(count: int, *, seed: int) -> torch.Tensor:
    """Noise of 4 x 4 cells on 32 x 32 pixels."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.rand(count, 3, 4, 4, generator=random) * 2 - 1
    return cells.repeat_interleave(8, 2).repeat_interleave(8, 3)


def seen(samples: torch.Tensor, reals: torch.Tensor, **options) -> dict[str, float]:
    known = reals_of(features(reals), options.pop("labels", None), count=len(samples))
    return look(features(samples), known, **({"asked": None, "copies": True} | options))


KINDS = {"numbers": three_modes, "pictures": pictures}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_the_same_kind(kind):
    draw = KINDS[kind]
    found = seen(draw(COUNT, seed=1), draw(600, seed=2))
    assert found["diversity"] == pytest.approx(1, abs=0.1)
    assert found["distance"] < 0.05 and found["coverage"] > 0.9
    if kind == "pictures":  # numbers lie as near to each other as they like
        assert found["duplicates"] == found["copies"] == 0


def test_one_picture():
    """The mean image repeated is 1 away, and everything has a twin."""
    reals = pictures(600, seed=2)
    found = seen(reals.mean(0, keepdim=True).expand(COUNT, -1, -1, -1), reals)
    assert found["diversity"] == pytest.approx(0, abs=1e-6)
    assert found["duplicates"] == 1
    assert found["distance"] == pytest.approx(1, abs=1e-3)


def test_copies_are_nearly_training_images():
    reals = pictures(600, seed=2)
    blurred = reals[:COUNT] * 0.97
    assert seen(blurred, reals)["copies"] > 0.95
    assert "copies" not in seen(blurred, reals, copies=False)
    half = torch.cat([blurred[: COUNT // 2], pictures(COUNT // 2, seed=3)])
    assert seen(half, reals)["copies"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_a_lost_mode_is_not_covered(modes):
    found = seen(three_modes(COUNT, seed=1, modes=modes), three_modes(600, seed=2))
    assert found["coverage"] == pytest.approx(modes / 3, abs=0.07)


def test_classes():
    """Samples of one class look like one class; within a class that is asked for they may vary."""
    reals, labels = three_modes(600, seed=2), torch.arange(600) % 3
    one = seen(three_modes(COUNT, seed=1, modes=1), reals, labels=labels)
    assert one["class_entropy"] == 0
    samples, asked = three_modes(COUNT, seed=1), torch.arange(COUNT) % 3
    samples[asked == 2] = 4.0
    found = seen(samples, reals, labels=labels, asked=asked)
    assert found["class_entropy"] == pytest.approx(1, abs=0.01)
    assert found["diversity/2"] == found["diversity_worst_class"] == 0
    assert found["diversity/0"] == pytest.approx(1, abs=0.2)


def test_entropy_counts_classes():
    assert entropy(torch.tensor([0, 1, 2, 3])) == pytest.approx(4**0 * 1.3862944)
    assert entropy(torch.tensor([5, 5, 5])) == 0


@pytest.mark.parametrize("size", [(3, 32, 32), (1, 8, 8), (3, 17, 33)])
def test_features_of_any_image(size):
    found = features(torch.rand(2, *size))
    assert found.dtype == torch.float64 and len(found) == 2 and found.shape[1] <= 3 * 16 * 16
