"""ALI's networks at every size, and that the decoder is the encoder's mirror."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.nets.ali import Decoder, Encoder, JointDiscriminator, NetOptions, kernels


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("size", [8, 9, 16, 21, 28, 32, 48, 64, 128])
def test_sizes(size, norm):
    z, images = torch.randn(2, 5), torch.rand(2, 1, size, size)
    options = NetOptions(z_dim=5, image_channels=1, channels=2, norm=norm)
    assert Decoder(size, options)(z).shape == images.shape
    mean, log_std = Encoder(size, options)(images)
    assert mean.shape == log_std.shape == z.shape
    assert JointDiscriminator(size, options)(images, z).shape == (2,)


def test_published_layers():
    assert kernels(32) == [(5, 1), (4, 2), (4, 1), (4, 2), (4, 1)]


def test_logits_depend_on_both():
    D = JointDiscriminator(16, NetOptions(z_dim=5, image_channels=1, channels=2)).eval()
    images, z = torch.rand(2, 1, 16, 16), torch.randn(2, 5)
    for other in (D(images.flip(0), z), D(images, z.flip(0))):
        assert not torch.equal(D(images, z), other)


def test_too_small():
    with pytest.raises(ConfigError, match="at least 8 pixels, not 7"):
        Encoder(7)
