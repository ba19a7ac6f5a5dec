"""DiffAugment's three policies."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from largegan.augment import DiffAugment, diffaugment


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("policy", diffaugment.POLICIES)
def test_shapes_and_differences(policy, channels):
    torch.manual_seed(0)
    x = torch.randn(8, channels, 12, 16)
    y = DiffAugment([policy])(x)
    assert y.shape == x.shape and not torch.equal(x, y)
    if policy == "color" and channels in (2, 4):
        assert torch.equal(x[:, -1], y[:, -1])


def test_translation_moves_by_an_eighth_at_most_and_brings_zeros():
    torch.manual_seed(0)
    x = torch.arange(1.0, 1 + 16 * 16).reshape(1, 1, 16, 16).expand(200, -1, -1, -1)
    y = diffaugment.translation(x)
    seen = set()
    for image in y[:, 0]:
        row, column = divmod(int(image[8, 8]) - 1, 16)
        seen.add((8 - row, 8 - column))
        moved = torch.zeros(20, 20)
        moved[2 + 8 - row : 18 + 8 - row, 2 + 8 - column : 18 + 8 - column] = x[0, 0]
        assert torch.equal(image, moved[2:18, 2:18])
    assert {a for a, _ in seen} == {b for _, b in seen} == set(range(-2, 3))


def test_cutout_covers_half_the_size_or_less_at_a_border():
    torch.manual_seed(0)
    y = diffaugment.cutout(torch.ones(300, 2, 8, 12))
    rows, columns = (y[:, 0] == 0).any(2).sum(1), (y[:, 0] == 0).any(1).sum(1)
    assert rows.max() == 4 and columns.max() == 6 and rows.min() == 2 and columns.min() == 3
    covered = (y == 0).sum([1, 2, 3])
    assert torch.equal(covered, 2 * rows * columns)


def test_strengths_of_colour():
    """A constant image has brightness alone; contrast and saturation keep the mean."""
    torch.manual_seed(0)
    shift = diffaugment.color(torch.zeros(2000, 3, 2, 2)).mean([1, 2, 3])
    assert -0.5 <= shift.min() < -0.45 and 0.45 < shift.max() <= 0.5
    x = torch.randn(1, 3, 4, 4).expand(500, -1, -1, -1)
    y = diffaugment.color(x)
    gray_x, gray_y = x.mean(1), y.mean(1)
    contrast = gray_y.flatten(1).std(1) / gray_x.flatten(1).std(1)
    assert 0.5 <= contrast.min() < 0.53 and 1.47 < contrast.max() <= 1.5
    color = (y - gray_y[:, None]).flatten(1).norm(dim=1)
    saturation = color / (x - gray_x[:, None]).flatten(1).norm(dim=1) / contrast
    assert saturation.min() < 0.05 and 1.95 < saturation.max() <= 2.001


def test_gradients_of_the_first_and_second_order():
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)

    def score(x):
        torch.manual_seed(3)
        return torch.tanh(DiffAugment()(x)).sum([1, 2, 3])

    assert gradcheck(score, (x,), fast_mode=True) and gradgradcheck(score, (x,), fast_mode=True)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="colour"):
        DiffAugment(["colour"])
