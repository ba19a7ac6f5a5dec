"""Singular vectors of a BigGAN-PyTorch file that do not belong to the layer's weight."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from largegan.errors import DataError
from largegan.interop.biggan_pytorch import derive, theirs


def stored(tensor: Tensor) -> SimpleNamespace:
    return SimpleNamespace(load=lambda: tensor)


@pytest.mark.parametrize("kind", ["u", "v"])
@pytest.mark.parametrize("rows", [4, 0])
def test_another_length_is_one_sentence(kind, rows):
    base = theirs("x.weight").removesuffix("weight")
    state = {f"{base}u0": stored(torch.ones(1, rows)), f"{base}weight": stored(torch.ones(9, 3))}
    with pytest.raises(DataError, match="another number of rows"):
        derive(f"x.{kind}", torch.zeros(1, 3), state)
