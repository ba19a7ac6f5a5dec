"""Attention, rotations, places and patches of transformers for images."""

import pytest
import torch
import torch.nn.functional as F

from largegan.layers.running_mean import RunningClassMeans
from largegan.layers.transformer import (
    Attention,
    Rotary,
    SwiGLU,
    position_table,
    rms_norm,
    unpatched,
)


def test_rms_norm_gives_a_mean_square_of_one():
    x = torch.randn(4, 7, 16) * 5
    assert rms_norm(x).square().mean(-1) == pytest.approx(torch.ones(4, 7), abs=1e-5)


def test_places_differ_by_row_and_by_column():
    table = position_table(3, 5, 16)
    assert table.shape == (15, 16)
    by_column, by_row = table.view(3, 5, 16).split(8, dim=2)
    assert torch.equal(by_column[0], by_column[2]) and torch.equal(by_row[:, 0], by_row[:, 4])
    assert len(torch.unique(table, dim=0)) == 15
    # Sines of all speeds come first, then cosines; the first speed is 1.
    assert by_column[0, 3, 0] == pytest.approx(torch.sin(torch.tensor(3.0)).item())
    assert by_row[2, 0, 4] == pytest.approx(torch.cos(torch.tensor(2.0)).item())


def test_rotated_products_depend_on_the_distance_alone():
    """What rotary positions are for (Su et al., 2021, Eq. 11), in both directions."""
    rotary = Rotary(6, 6, 16)
    torch.manual_seed(0)
    q, k = torch.randn(16), torch.randn(16)
    turned_q = rotary(q.expand(1, 1, 36, 16))[0, 0].view(6, 6, 16)
    turned_k = rotary(k.expand(1, 1, 36, 16))[0, 0].view(6, 6, 16)

    def product(at: tuple[int, int], to: tuple[int, int]) -> float:
        return float((turned_q[at] * turned_k[to]).sum())

    assert product((1, 1), (2, 4)) == pytest.approx(product((3, 0), (4, 3)), abs=1e-4)
    assert product((1, 1), (2, 4)) != pytest.approx(product((1, 1), (4, 2)), abs=1e-2)
    assert turned_q.norm(dim=-1) == pytest.approx(q.norm().expand(6, 6), abs=1e-4)


def test_tokens_before_the_patches_are_not_rotated():
    rotary = Rotary(2, 3, 8, prefix=1)
    x = torch.randn(2, 4, 7, 8)
    y = rotary(x)
    assert torch.equal(y[:, :, :2], x[:, :, :2])  # the class token, and the patch at (0, 0)
    assert not torch.equal(y[:, :, 2:], x[:, :, 2:])


@pytest.mark.parametrize("qk_norm", [True, False])
def test_attention_is_the_formula(qk_norm):
    torch.manual_seed(0)
    layer, rotary, x = Attention(16, 2, qk_norm=qk_norm), Rotary(2, 2, 8), torch.randn(3, 4, 16)
    q, k, v = (part.view(3, 4, 2, 8).transpose(1, 2) for part in layer.qkv(x).split(16, dim=2))
    q, k = rotary(layer.q_norm(q)), rotary(layer.k_norm(k))
    found = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
    wanted = layer.proj(found.transpose(1, 2).reshape(3, 4, 16))
    torch.testing.assert_close(layer(x, rotary), wanted)


def test_a_gated_mlp_is_two_thirds_as_wide():
    layer = SwiGLU(24, 4.0)
    assert layer.w3.in_features == 64
    x = torch.randn(2, 3, 24)
    a, b = layer.w12(x).chunk(2, dim=-1)
    torch.testing.assert_close(layer(x), layer.w3(F.silu(a) * b))


def test_unpatched_undoes_cutting_into_patches():
    image = torch.arange(2 * 3 * 6 * 8.0).view(2, 3, 6, 8)
    patches = F.unfold(image, 2, stride=2)  # channel, row, column
    tokens = patches.mT.unflatten(2, (3, 2, 2)).permute(0, 1, 3, 4, 2).flatten(2)
    assert torch.equal(unpatched(tokens, 3, 4, 2), image)


def test_class_means_move_where_the_batch_had_the_class():
    means = RunningClassMeans(3, 2, beta=0.9)
    means.mean.fill_(1.0)
    means.add(torch.tensor([[3.0, 0.0], [5.0, 0.0]]), torch.tensor([2, 2]))
    means.add(torch.tensor([[1.0, 8.0]]), torch.tensor([0]))
    means.absorb_pending()
    wanted = torch.tensor([[1.0, 1.7], [1.0, 1.0], [1.3, 0.9]])
    torch.testing.assert_close(means.mean, wanted)
    means.absorb_pending()  # nothing was added since
    torch.testing.assert_close(means.mean, wanted)
