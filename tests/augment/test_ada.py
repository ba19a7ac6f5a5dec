"""The ADA pipeline's transforms and the heuristic that sets their probability."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from largegan.augment import ADA, GROUPS, TRANSFORMS, augment, geometry
from largegan.augment.pipeline import multipliers_of

ALL = multipliers_of("bgcfnc")
QUANTILES = multipliers_of("bgcf") | {"cutout": 1.0}  # noise is random under quantiles too


def test_there_are_eighteen():
    """Filtering counts four times: each octave is drawn for itself."""
    assert len(TRANSFORMS) - 1 + 4 == 18
    assert set(GROUPS["bgc"]) | {"imgfilter", "noise", "cutout"} == set(TRANSFORMS)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_with_probability_zero_an_image_comes_back(name):
    x = torch.randn(3, 3, 16, 12)
    torch.testing.assert_close(augment(x, 0.0, {name: 1.0}), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_does_something_to_some_images(name):
    """With p = 1/2 about half of the images; the rotations of no angle are a null set."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 12, 12).expand(200, -1, -1, -1)
    moved = ((augment(x, 0.5, {name: 1.0}) - x).abs().amax([1, 2, 3]) > 1e-3).float().mean()
    expected = {"xflip": 1 / 4, "rotate90": 3 / 8, "lumaflip": 1 / 4, "imgfilter": 15 / 16}
    slack = 0.15 if name != "xint" else 0.2  # a shift may round to nothing
    assert abs(moved - expected.get(name, 0.5)) < slack


def test_a_multiplier_scales_the_probability_of_its_transform():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8).expand(300, -1, -1, -1)
    moved = ((augment(x, 0.8, {"noise": 0.25}) - x).abs().amax([1, 2, 3]) > 0).float().mean()
    assert abs(moved - 0.2) < 0.08


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(4, 4), (8, 20), (33, 17)])
def test_any_size_and_up_to_four_channels(channels, size):
    torch.manual_seed(1)
    x = torch.randn(5, channels, *size)
    y = augment(x, 1.0, ALL)
    assert y.shape == x.shape and y.isfinite().all() and (y - x).abs().amax() > 0.1


@pytest.mark.parametrize("channels", [2, 4])
def test_colours_leave_alpha_alone(channels):
    x = torch.randn(4, channels, 8, 8)
    y = augment(x, 1.0, multipliers_of("color"))
    assert torch.equal(y[:, -1], x[:, -1]) and not torch.equal(y[:, 0], x[:, 0])


def test_grey_is_the_mean_of_what_its_three_channels_would_become():
    x = torch.randn(2, 1, 8, 8)
    colors = multipliers_of("color")
    three = augment(x.expand(-1, 3, -1, -1), 1.0, colors, quantile=0.7)
    one = augment(x, 1.0, colors, quantile=0.7)
    torch.testing.assert_close(one, three.mean(1, keepdim=True))


@pytest.mark.parametrize("channels, size", [(3, (8, 6)), (1, (5, 9)), (4, (6, 6))])
def test_gradients_of_the_first_and_second_order(channels, size):
    """Through a nonlinear score: of the pipeline alone, which is affine, the second is zero."""
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, channels, *size, dtype=torch.float64)

    def score(x):
        return (torch.tanh(augment(x, 1.0, QUANTILES, quantile=0.6)) * weights).sum([1, 2, 3])

    assert gradcheck(score, (x,), fast_mode=True)
    assert gradgradcheck(score, (x,), fast_mode=True)


def test_p_follows_the_signs_and_stays_in_its_range():
    ada = ADA("blit", target=0.6, every=2, nimg_to_full=160, most=0.9)

    def iterations(logits, count):
        for step in range(1, count + 1):
            ada.observe(torch.tensor(logits))
            ada.absorb_pending()
            ada.adapt(step, batch_size=8)
        return round(float(ada.p), 5)

    assert iterations([1.0, 2.0, 3.0, -1.0], 2) == 0.0  # r = 1/2 < 0.6, and p is at its floor
    assert iterations([1.0, 2.0, 3.0, 0.5], 4) == 0.2  # 2 changes of 8 * 2 / 160
    assert iterations([1.0, -1.0], 2) == 0.1
    assert iterations([1.0], 40) == 0.9
    assert iterations([-1.0], 1) == 0.9 and ada.signs.tolist() == [-1, 1]


def test_without_signs_or_without_a_target_p_stays():
    ada = ADA("blit", p=0.3, every=1)
    ada.adapt(1, batch_size=8)
    fixed = ADA("blit", p=0.3, target=None, every=1)
    fixed.observe(torch.ones(4))
    fixed.absorb_pending()
    fixed.adapt(1, batch_size=8)
    assert float(ada.p) == float(fixed.p) == pytest.approx(0.3)


def test_p_and_its_sums_are_resumed_exactly():
    first, second = ADA(every=2), ADA(every=2, p=0.5)
    first.observe(torch.tensor([1.0, 1.0, -1.0]))
    first.absorb_pending()
    second.load_state_dict(first.state_dict())
    for ada in (first, second):
        ada.observe(torch.tensor([1.0]))
        ada.absorb_pending()
        ada.adapt(2, batch_size=64)
    assert torch.equal(first.p, second.p) and list(first.state_dict()) == ["p", "signs"]


@pytest.mark.parametrize(
    "arguments", [{"transforms": "bgcx"}, {"transforms": {"flip": 1.0}}, {"p": 1.5}, {"most": 2.0}]
)
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError):
        ADA(**arguments)


def test_noise_is_half_normal_in_strength():
    """Appendix B: sigma is |N(0, 0.1^2)|, one for each image."""
    torch.manual_seed(0)
    x = torch.zeros(4000, 1, 12, 12)
    sigma = (augment(x, 1.0, {"noise": 1.0}) - x).std((1, 2, 3))
    torch.testing.assert_close(sigma.square().mean().sqrt(), torch.tensor(0.1), rtol=0.05, atol=0)
    torch.testing.assert_close(sigma.median(), torch.tensor(0.0674), rtol=0.05, atol=0)


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (3, 1, 9, 20), (2, 4, 33, 12)], ids=str)
def test_without_waiting_for_the_margins_it_is_the_same(shape, monkeypatch):
    """As CUDA graphs need it; `margins` is what waits."""
    images, ada = torch.rand(shape), ADA("bgcfnc", p=1.0)
    torch.manual_seed(3)
    want = ada(images)
    ada.waits = False
    monkeypatch.setattr(geometry, "margins", None)
    torch.manual_seed(3)
    torch.testing.assert_close(ada(images), want, rtol=0, atol=5e-5)
