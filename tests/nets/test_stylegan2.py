"""StyleGAN2's networks: any size and channels, sixteen bits only where they may be, truncation."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import path_lengths, r1
from largegan.nets.stylegan2 import Generator, Synthesis, SynthesisOptions, block_sizes, widths
from largegan.nets.stylegan2_discriminator import Discriminator, DiscriminatorOptions
from largegan.nets.stylegan2_mapping import Mapping

SMALL = {"channel_base": 64, "channel_max": 8}


def pair(height: int, width: int, *, channels: int = 3, architecture: str = "skip", **options):
    torch.manual_seed(0)
    common = SMALL | {"image_channels": channels, "architecture": architecture}
    synthesis = Synthesis(height, width, SynthesisOptions(w_dim=6, **common))
    mapping = Mapping(z_dim=5, w_dim=6, num_ws=synthesis.num_ws, layers=2)
    D = Discriminator(height, width, DiscriminatorOptions(**common, **options))
    return Generator(mapping, synthesis), D


def test_blocks_halve_while_they_can():
    assert block_sizes(512, 256)[0] == (8, 4) and len(block_sizes(512, 256)) == 7
    assert block_sizes(96, 96)[0] == (6, 6)
    assert block_sizes(4, 4) == [(4, 4)]
    assert block_sizes(20, 36) == [(5, 9), (10, 18), (20, 36)]
    assert widths(block_sizes(32, 16), 256, 16) == [16, 16, 8]


@pytest.mark.parametrize("size", [(3, 8), (2, 2), (130, 130)])
def test_sizes_that_cannot_be_are_refused(size):
    with pytest.raises(ConfigError, match=f"{size[0]}x{size[1]} ends at"):
        block_sizes(*size)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(8, 16, 1), (12, 20, 2), (16, 8, 4), (4, 4, 3)]
)
def test_any_size_and_channels_to_second_order(architecture, height, width, channels):
    G, D = pair(height, width, channels=channels, architecture=architecture)
    z = torch.randn(4, 5)
    ws = G.mapping(z)
    assert ws.shape == (4, 2 * len(block_sizes(height, width)), 6)
    images = G.synthesis(ws)
    assert images.shape == (4, channels, height, width)
    path_lengths(images, ws).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in G.parameters() if p.grad is not None)
    images = images.detach().requires_grad_()
    logits = D(images)
    assert logits.shape == (4,)
    r1(logits, images).backward()
    assert D.conv.weight.grad.abs().sum() > 0


def test_noise_modes():
    G, _ = pair(8, 8)
    with torch.no_grad():
        for block in G.synthesis.blocks:
            block.conv1.noise_strength.fill_(0.5)
        ws = G.mapping(torch.randn(2, 5))
        const, none = (G.synthesis(ws, noise=mode) for mode in ("const", "none"))
        assert torch.equal(const, G.synthesis(ws, noise="const"))
        assert not torch.equal(const, none)
        assert not torch.equal(G.synthesis(ws), G.synthesis(ws))


def test_truncation_moves_the_first_layers_towards_the_mean():
    G, _ = pair(8, 8)
    G.mapping.w_avg.mean.normal_()
    z = torch.randn(2, 5)
    ws, cut = G.mapping(z), G.mapping(z, truncation=0.0, cutoff=2)
    torch.testing.assert_close(cut[:, :2], G.mapping.w_avg.mean.expand(2, 2, -1))
    assert torch.equal(cut[:, 2:], ws[:, 2:])


def test_only_training_and_tracked_calls_enter_the_mean():
    G, _ = pair(8, 8)
    mapping = G.mapping
    mapping(torch.randn(3, 5), track=False)
    mapping.eval()(torch.randn(3, 5))
    assert mapping.w_avg.pending[-1] == 0
    ws = mapping.train()(torch.randn(3, 5))
    mapping.w_avg.absorb_pending()
    torch.testing.assert_close(mapping.w_avg.mean, 0.005 * ws[:, 0].mean(0).detach())


def test_sixteen_bits_in_convolutions_only():
    """Under autocast images and logits are float32, near the exact ones, and not equal to them."""
    G, D = pair(16, 16)
    z, seen = torch.randn(4, 5), []
    G.synthesis.blocks[-1].conv1.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    D.blocks[0].conv1.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    D.conv.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.no_grad():
        exact = G(z, noise="const")
        logits = D(exact)
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            rough = G(z, noise="const")
            assert torch.equal(G.mapping(z, track=False), G.eval().mapping(z))
            rough_logits = D(exact)
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert rough.dtype == rough_logits.dtype == torch.float32
    for got, want in ((rough, exact), (rough_logits, logits)):
        assert 0 < (got - want).abs().max() < 0.05 * want.abs().max()
