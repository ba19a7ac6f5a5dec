"""Projected GAN: its frozen backbone, and what it refuses."""

import pytest
import torch

from largegan import train
from largegan.errors import ConfigError, EnvironmentFault
from largegan.metrics import features, weights
from largegan.nets.pretrained import Backbone
from largegan.recipe import DataSpec
from largegan.recipes import build
from tests.recipes.common import TINY, iterate, make_recipe, make_trainer

OPTIONS = TINY["projected_gan"]


def test_the_backbone_is_in_no_checkpoint_and_never_changes():
    trainer = make_trainer(make_recipe("projected_gan"), "projected_gan")
    network = trainer.recipe.backbone.network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    names = set(trainer.recipe.state_dict())
    iterate(trainer, 2)
    assert not any("backbone" in name for name in names)
    assert not network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    # But the mixing, which was drawn, is.
    assert any(name.startswith("projector.across_scales") for name in names)


def test_no_map_of_a_judge_is_wider_than_asked_for():
    """Without a limit the published widths: half a million weights in one convolution."""

    def widths(**options) -> set[int]:
        data = DataSpec(channels=3, height=16, width=16)
        recipe = build("projected_gan", data, {**OPTIONS, **options})
        return {layer.norm.num_features for judge in recipe.D.scales for layer in judge.down}

    assert widths(d_channel_max=16) == {16}
    assert widths(d_channel_max=512) == {512}
    assert max(widths(patch=False, d_channel_max=100, backbone_size=256)) == 100


def test_samples_need_no_backbone():
    recipe = make_recipe("projected_gan")
    assert recipe.backbone.network is None
    images = recipe.sample(3, torch.Generator().manual_seed(0))
    assert images.shape == (3, 3, 16, 16) and recipe.backbone.network is None


def test_the_published_backbone_sees_images_as_they_are():
    backbone = Backbone("efficientnet_lite0")
    backbone.open(torch.device("cpu"))
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    model, _ = features.timm_model("efficientnet_lite0")
    # In the same memory layout, so that sums round alike.
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        y = model.eval().blocks[:2](model.bn1(model.conv_stem(x)))
        found = backbone(x)
    torch.testing.assert_close(found[0], y)
    assert [m.shape[1] for m in found] == backbone.channels == [24, 40, 112, 320]


def test_another_backbone_gets_the_normalization_it_was_trained_with():
    backbone = Backbone("random:resnet18")
    backbone.open(torch.device("cpu"))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalized = (x / 2 + 0.5 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        wanted = backbone.network.forward_intermediates(
            normalized, indices=[1], intermediates_only=True
        )[0]
        torch.testing.assert_close(backbone(x)[0], wanted, rtol=1e-4, atol=1e-4)
        # One channel is three alike.
        gray = x[:, :1]
        torch.testing.assert_close(backbone(gray)[0], backbone(gray.expand(-1, 3, -1, -1))[0])


def test_a_random_backbone_is_the_same_at_every_start():
    first, second = Backbone("random:test_efficientnet"), Backbone("random:test_efficientnet")
    torch.manual_seed(1)
    first.open(torch.device("cpu"))
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second.open(torch.device("cpu"))
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn), "opening it must not disturb other numbers"


@pytest.mark.parametrize(
    ("spec", "options", "sentence"),
    [
        (DataSpec(3, 32, 24), {}, "not 32x24"),
        (DataSpec(3, 24, 24), {}, "not 24x24"),
        (DataSpec(3, 4, 4), {}, "not 4x4"),
        (DataSpec(3, 2048, 2048), {}, "not 2048x2048"),
        (DataSpec(4, 32, 32), {}, "1 or 3 channels, not 4"),
        (DataSpec(3, 32, 32), {"backbone_size": 100}, "a multiple of 32"),
        (DataSpec(3, 32, 32), {"backbone_size": 64, "patch": False}, "smaller than 4x4"),
        (DataSpec(3, 32, 32), {"judges": 5}, "there may be 1 to 4"),
        (DataSpec(3, 32, 32), {"backbone": "nonsense"}, "is no network"),
        (DataSpec(3, 32, 32), {"backbone": "test_vit"}, "has no maps at 1/4"),
    ],
)
def test_what_cannot_be_made_or_seen_is_refused(spec, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build("projected_gan", spec, OPTIONS | options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 32])
def test_small_and_gray_images_are_trained_on(channels, size):
    recipe = build("projected_gan", DataSpec(channels, size, size), OPTIONS)
    recipe.set_batch_size(2)
    batch = {"image": torch.rand(2, channels, size, size) * 2 - 1}
    for phase in recipe.phases:
        assert all(t.isfinite() for t in phase.loss(batch, None).values())


def test_missing_weights_end_a_run_before_it_begins(tmp_path, capfd):
    words = ["--recipe.name", "projected_gan", "--recipe.backbone", "resnet18"]
    words += ["--run.dir", str(tmp_path / "run"), "--data.workers", "0"]
    assert train.main(words) == EnvironmentFault.exit_code == 4
    said = capfd.readouterr().err
    assert "the weights of resnet18 are not here" in said and said.count("\n") == 1


def test_missing_weights_of_the_table_say_the_command(monkeypatch):
    monkeypatch.setattr(weights, "places", lambda *a: [])
    backbone = Backbone("efficientnet_lite0")
    with pytest.raises(EnvironmentFault, match="weights"):
        backbone.open(torch.device("cpu"))
