"""The classification accuracy score on classes that can be told apart, and on ones that cannot."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.metrics.classification import classification_accuracy

COLORS = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200]])


def images(labels: torch.Tensor, seed: int) -> torch.Tensor:
    noise = torch.randn(len(labels), 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return (COLORS[labels][..., None, None] + 30 * noise).clamp(0, 255).to(torch.uint8)


def score(train_labels: torch.Tensor, **options) -> float:
    true = torch.arange(48) % 3
    train, test = images(true, 1), images(true, 2)
    return classification_accuracy(
        lambda n: train[n],
        train_labels,
        lambda n: test[n],
        true,
        model="test_resnet",
        epochs=12,
        batch=16,
        **options,
    )


def test_right_labels_teach_and_wrong_ones_mislead():
    true = torch.arange(48) % 3
    assert score(true) > 0.9
    assert score((true + 1) % 3) < 0.1


def test_repeats_and_disturbs_nothing():
    true = torch.arange(48) % 3
    torch.manual_seed(5)
    first = score(true, seed=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert score(true, seed=1) == first and torch.equal(torch.rand(1), after)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)


def test_unknown_classifier():
    with pytest.raises(ConfigError, match="no timm model"):
        classification_accuracy(None, torch.zeros(1), None, torch.zeros(1), model="resnet0")
