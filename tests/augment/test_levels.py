"""What GAT's discriminator sees: levels under noise, augmented by one draw."""

import pytest
import torch

from largegan.augment.levels import draw_view, noise_schedule, with_noise


def test_the_schedule_is_the_published_one():
    assert noise_schedule(4) == pytest.approx([0.885, 0.76, 0.51, 0.01])


def test_each_level_has_the_noise_of_its_own():
    """Whatever was gathered on the way: level i is (1 - t) x plus noise of deviation t."""
    torch.manual_seed(0)
    noise = torch.randn(4, 64, 3, 16, 16)
    seen = with_noise(torch.zeros_like(noise), noise)
    for level, t in zip(seen, noise_schedule(4), strict=True):
        assert float(level.std()) == pytest.approx(t, rel=0.01)
    x = torch.randn(4, 2, 3, 8, 8)
    kept = with_noise(x, torch.zeros_like(x))
    for level, image, t in zip(kept, x, noise_schedule(4), strict=True):
        torch.testing.assert_close(level, (1 - t) * image)
    # The noise of each level contains that of the next one.
    only_last = torch.where(torch.arange(4).view(4, 1, 1, 1, 1) == 0, noise, 0.0)
    assert all(float(level.std()) > 0 for level in with_noise(torch.zeros_like(noise), only_last))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_view_shows_the_same_every_time(channels):
    torch.manual_seed(0)
    images = torch.randn(16, channels, 8, 12)
    view = draw_view(images, 4)
    once = view(images)
    assert once.shape == (4, *images.shape) and torch.equal(once, view(images))
    levels = images.expand(4, -1, -1, -1, -1)
    torch.testing.assert_close(view(levels), once)


def test_what_happens_to_an_image_is_what_is_drawn():
    torch.manual_seed(0)
    images = torch.randn(2000, 3, 8, 8)
    view = draw_view(images, 1)
    assert float(view.colored.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(view.flipped.float().mean()) == pytest.approx(0.4, abs=0.05)
    assert set(view.down.flatten().tolist()) == {-1, 0, 1}
    plain = ~view.colored.flatten()
    assert torch.equal(view.augment(images)[plain], view.move(images)[plain])
    assert not torch.equal(view.augment(images)[~plain], view.move(images)[~plain])


def test_colors_move_away_from_the_finished_image():
    """A draft that is offset from the finished image keeps its offset times all strengths."""
    torch.manual_seed(0)
    finished = torch.randn(8, 3, 8, 8)
    view = draw_view(finished, 1)
    factor = view.saturation * 2 * (view.contrast + 0.5)
    moved = view.augment(finished + 0.25) - view.augment(finished)
    wanted = view.move(torch.where(view.colored, factor, 1.0) * 0.25 * torch.ones_like(finished))
    torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_level():
    levels = torch.randn(4, 2, 3, 8, 8, requires_grad=True)
    draw_view(levels[-1].detach(), 4)(levels).square().sum().backward()
    assert all(float(g.abs().sum()) > 0 for g in levels.grad)
