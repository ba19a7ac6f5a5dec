"""BigGAN's and BigGAN-deep's networks: what their options change. Their numbers: tests/golden."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.nets import biggan, biggan_deep
from largegan.nets.resnet_sn import blocks_that_give

LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize("net", [biggan, biggan_deep])
@pytest.mark.parametrize("classes", [0, 3])
def test_folding_keeps_weights_and_numbers(net, classes):
    torch.manual_seed(0)
    common = {"channels": 4, "num_classes": classes, "attention": [0]}
    nets = [
        (net.Generator(16, net.GeneratorOptions(z_dim=6, shared_dim=3, fold=f, **common)).eval(),
         net.Discriminator(16, net.DiscriminatorOptions(fold=f, **common)).eval())
        for f in (False, True)
    ]  # fmt: skip
    for plain, folded in zip(*nets, strict=True):
        folded.load_state_dict(plain.state_dict())
    z = torch.randn(2, nets[0][0].z_dim)
    images = [G(z, LABELS) for G, _ in nets]
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)
    logits = [D(images[0], LABELS) for _, D in nets]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_each_part_of_z_reaches_its_block():
    G = biggan.Generator(
        16, biggan.GeneratorOptions(z_dim=7, channels=2, num_classes=3, shared_dim=3, norm="none")
    )
    assert G.z_dim == 6 and G.part == 2
    z = torch.randn(2, 6)
    first, conditions = G._conditions(z, G.embed(LABELS))
    assert torch.equal(first, z[:, :2])
    assert torch.equal(conditions[1][0][:, 3:], z[:, 4:])


def test_parts_of_z_need_a_shared_embedding():
    with pytest.raises(ConfigError, match="shared_dim"):
        biggan.Generator(16, biggan.GeneratorOptions(num_classes=3, shared_dim=None))


@pytest.mark.parametrize(
    ("size", "up", "blocks"),
    [(64, True, (3,)), (64, False, (0,)), (8, False, (3,)), (128, True, (4,)), (5, True, ())],
)
def test_where_attention_stands(size, up, blocks):
    assert blocks_that_give(size, resolution=128, up=up) == blocks


@pytest.mark.parametrize("wide", [True, False])
def test_the_hidden_width_of_a_block(wide):
    D = biggan.Discriminator(
        32,
        biggan.DiscriminatorOptions(channels=2, image_channels=3, widths=[4, 6, 6, 8], wide=wide),
    )
    hidden = [block.conv1.out_channels for block in D.blocks]
    assert hidden == ([4, 6, 6, 8] if wide else [3, 4, 6, 6])
    assert D(torch.zeros(2, 3, 32, 32)).shape == (2,)
