"""Shapes, published layer tables and options of the convolutional GAN networks."""

import pytest
import torch
from torch import nn

from largegan.errors import ConfigError
from largegan.layers.spectral_norm import SNConv2d, SNLinear, Spectral
from largegan.nets import dcgan, deep_conv, resnet_sn

LABELS = torch.tensor([0, 2])


def weights(net, kind):
    return [tuple(m.weight.shape[:2]) for m in net.modules() if isinstance(m, kind)]


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("colors", [1, 3])
def test_dcgan_shapes(size, colors):
    G = dcgan.Generator(size, z_dim=5, channels=2, image_channels=colors)
    D = dcgan.Discriminator(size, channels=2, image_channels=colors)
    image = G(torch.randn(2, 5))
    assert image.shape == (2, colors, size, size)
    assert image.abs().max() <= 1
    assert D(image).shape == (2,)


def test_dcgan_is_figure_1():
    with torch.device("meta"):
        G, D = dcgan.Generator(64), dcgan.Discriminator(64)
    pairs = [(100, 1024), (1024, 512), (512, 256), (256, 128), (128, 3)]
    assert sorted(weights(G, nn.ConvTranspose2d)) == sorted(pairs)
    assert len(weights(D, nn.Conv2d)) == 5
    # None on G's output, D's input and D's output.
    assert [m.num_features for m in G.modules() if isinstance(m, nn.BatchNorm2d)].count(1024) == 1
    assert sum(isinstance(m, nn.BatchNorm2d) for m in D.modules()) == 3


@pytest.mark.parametrize("size", [8, 24, 100])
def test_sizes_that_do_not_fit_are_refused(size):
    for make in (dcgan.Generator, dcgan.Discriminator):
        with pytest.raises(ConfigError, match=str(size)):
            make(size)
    for make in (resnet_sn.Generator, resnet_sn.Discriminator):
        with pytest.raises(ConfigError, match=str(size)):
            make(size)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("norm", ["spectral", "batch", "none"])
def test_deep_conv_shapes(classes, norm):
    G = deep_conv.Generator((8, 4, 2), z_dim=5, num_classes=classes, spectral_norm=True)
    D = deep_conv.Discriminator((2, 4, 8), num_classes=classes, norm=norm)
    image = G(torch.randn(2, 5), LABELS)
    assert image.shape == (2, 3, 16, 16)
    assert D(image, LABELS).shape == (2,)


def test_deep_conv_is_table_3():
    with torch.device("meta"):
        G, D = deep_conv.Generator(), deep_conv.Discriminator()
    assert weights(G, nn.ConvTranspose2d) == [(512, 256), (256, 128), (128, 64)]
    outputs = [64, 64, 128, 128, 256, 256, 512]
    assert [out for out, _ in weights(D, nn.Conv2d)] == outputs


def test_widths_of_deep_conv():
    assert deep_conv.widths_for(32, 64) == [512, 256, 128, 64]  # table 3
    assert deep_conv.widths_for(128, 2) == [16, 16, 16, 8, 4, 2]
    with pytest.raises(ConfigError, match="not 48"):
        deep_conv.widths_for(48, 64)
    G = deep_conv.Generator(deep_conv.widths_for(16, 2), z_dim=5, norm="none").train()
    z = torch.randn(4, 5)
    torch.testing.assert_close(G(z)[:1], G(z[:1]))  # no example sees another


@pytest.mark.parametrize("size", resnet_sn.G_WIDTHS)
def test_resnet_shapes(size):
    G = resnet_sn.Generator(
        size, resnet_sn.GeneratorOptions(z_dim=5, channels=1, num_classes=3, image_channels=4)
    )
    D = resnet_sn.Discriminator(
        size, resnet_sn.DiscriminatorOptions(channels=1, num_classes=3, image_channels=4)
    )
    image = G(torch.randn(2, 5), LABELS)
    assert image.shape == (2, 4, size, size)
    assert D(image, LABELS).shape == (2,)


def test_resnet_is_sngan_on_cifar_and_imagenet():
    with torch.device("meta"):
        G, D = resnet_sn.Generator(32), resnet_sn.Discriminator(32)
        big = resnet_sn.Discriminator(128)
    assert {m.conv1.out_channels for m in G.blocks} == {256}
    assert [m.conv1.out_channels for m in D.blocks] == [128] * 4
    assert [m.conv1.out_channels for m in big.blocks] == [64, 128, 256, 512, 1024, 1024]


@pytest.mark.parametrize("norm", ["spectral", "batch", "none"])
def test_resnet_discriminator_norms(norm):
    D = resnet_sn.Discriminator(32, resnet_sn.DiscriminatorOptions(channels=2, norm=norm))
    kinds = {type(m) for m in D.modules()}
    assert (nn.BatchNorm2d in kinds) == (norm == "batch")
    assert (SNConv2d in kinds and SNLinear in kinds) == (norm == "spectral")
    assert (nn.Conv2d in kinds or nn.Linear in kinds) == (norm != "spectral")
    assert D(torch.randn(2, 3, 32, 32)).shape == (2,)


def test_mean_pooling_is_sum_pooling_over_the_area():
    D = resnet_sn.Discriminator(
        32, resnet_sn.DiscriminatorOptions(channels=2, norm="none", pool="sum")
    )
    x = torch.randn(2, 3, 32, 32)
    by_sum = D(x)
    D.pool = "mean"
    torch.testing.assert_close(D(x) * 64, by_sum)  # 8 x 8 positions, bias starts at 0


@pytest.mark.parametrize("classes", [0, 3])
def test_without_norm_examples_do_not_meet(classes):
    G = resnet_sn.Generator(
        16, resnet_sn.GeneratorOptions(z_dim=5, channels=2, num_classes=classes, norm="none")
    )
    D = resnet_sn.Discriminator(
        16, resnet_sn.DiscriminatorOptions(channels=2, num_classes=classes, norm="none")
    )
    G2, D2 = dcgan.Generator(16, z_dim=5, channels=2, norm="none"), None
    D2 = dcgan.Discriminator(16, channels=2, norm="none")
    z = torch.randn(2, 5)
    both = G(z, LABELS)
    torch.testing.assert_close(both[:1], G(z[:1], LABELS[:1]))
    torch.testing.assert_close(D(both, LABELS)[:1], D(both[:1], LABELS[:1]))
    torch.testing.assert_close(G2(z)[:1], G2(z[:1]))
    torch.testing.assert_close(D2(both)[:1], D2(both[:1]))


def test_classes_change_images_and_logits():
    torch.manual_seed(0)
    G = resnet_sn.Generator(16, resnet_sn.GeneratorOptions(z_dim=5, channels=2, num_classes=3))
    D = resnet_sn.Discriminator(
        16, resnet_sn.DiscriminatorOptions(channels=2, num_classes=3)
    ).eval()
    for block in G.blocks:
        nn.init.normal_(block.norm1.gain.weight)
    z, other = torch.randn(2, 5), LABELS + torch.tensor([1, -1])
    image = G(z, LABELS)
    assert not torch.allclose(image, G(z, other))
    assert not torch.allclose(D(image, LABELS), D(image, other))


@pytest.mark.parametrize(
    "G",
    [
        dcgan.Generator(16, z_dim=5, channels=2),
        deep_conv.Generator((8, 4, 2), z_dim=5, spectral_norm=True),
        resnet_sn.Generator(
            16, resnet_sn.GeneratorOptions(z_dim=5, channels=2, spectral=Spectral())
        ),
    ],
    ids=["dcgan", "deep_conv", "resnet_sn"],
)
def test_every_parameter_has_a_gradient(G):
    G(torch.randn(4, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in G.parameters())
