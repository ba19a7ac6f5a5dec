"""Bytes to floats on the device, mirrored where the batch says so."""

import numpy as np
import torch

from largegan.data import open_data
from largegan.data.transforms import to_device


def test_range_and_layout() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    moved = to_device({"image": image, "label": torch.tensor([1, 2])}, "cpu")
    assert moved["image"].dtype == torch.float32
    assert torch.equal(moved["image"], image.float() / 127.5 - 1)
    assert moved["image"].min() == -1 and moved["image"].max() == 1
    assert moved["image"].is_contiguous(memory_format=torch.channels_last)
    assert moved["label"].tolist() == [1, 2]


def test_flips_only_where_set_and_leaves_the_bytes_alone() -> None:
    micro = open_data("bundled:noto32").read(np.arange(8))
    before = micro["image"].clone()
    flip = torch.tensor([True, False] * 4)
    moved = to_device({**micro, "flip": flip}, "cpu")
    plain = to_device(micro, "cpu")["image"]
    assert torch.equal(moved["image"][1::2], plain[1::2])
    assert torch.equal(moved["image"][::2], plain[::2].flip(3))
    assert not torch.equal(moved["image"][::2], plain[::2])
    assert "flip" not in moved and torch.equal(micro["image"], before)
    assert moved["image"].is_contiguous(memory_format=torch.channels_last)


def test_other_tensors_pass_through() -> None:
    micro = open_data("synthetic:gaussian").read(np.arange(4))
    moved = to_device(micro, "cpu")
    assert torch.equal(moved["x"], micro["x"]) and torch.equal(moved["index"], micro["index"])
