"""Resizing against clean-fid's own functions and Pillow, bit for bit on the host."""

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer, make_resizer

from largegan.metrics import resize

SHAPES = [(32, 32), (256, 256), (1024, 1024), (299, 299), (37, 53), (1, 1), (300, 7)]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise: every frequency, so that a wrong filter shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def planes(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_clean_resize_is_the_published_one(shape):
    image = picture(*shape)
    published = torch.from_numpy(build_resizer("clean")(image))
    host = torch.from_numpy(resize.host_resize(image, (299, 299)))
    assert torch.equal(host, published)
    device = resize.device_resize(planes(image), (299, 299))[0].permute(1, 2, 0)
    assert float((device - published).abs().max()) < 2e-4  # of 255


@pytest.mark.parametrize("filter", resize.FILTERS)
@pytest.mark.parametrize("size", [(20, 24), (96, 45)], ids=str)
def test_other_filters_and_sizes(filter, size):
    image = picture(70, 61)
    for rounded in (False, True):
        published = make_resizer("PIL", rounded, filter, size[::-1])(image)
        ours = resize.host_resize(image, size, filter=filter, rounded=rounded)
        assert ours.dtype == published.dtype and (ours == published).all()
    device = resize.device_resize(planes(image), size, filter=filter)[0].permute(1, 2, 0)
    exact = torch.from_numpy(resize.host_resize(image, size, filter=filter))
    assert float((device - exact).abs().max()) < 2e-4


def test_legacy_pytorch_rule():
    image = picture(70, 61)
    published = torch.from_numpy(build_resizer("legacy_pytorch")(image))
    ours = resize.torch_bilinear(planes(image), (299, 299))[0].permute(1, 2, 0)
    assert torch.equal(ours, published)


def test_tensorflow_rule_samples_without_half_pixels():
    """Twice the size: even pixels are the image, odd ones means of neighbors, the edge stays."""
    row = torch.tensor([10.0, 20.0, 40.0]).double().reshape(1, 1, 1, 3)
    wide = resize.tensorflow_bilinear(row, (1, 6)).flatten().tolist()
    assert wide == pytest.approx([10, 15, 20, 30, 40, 40])


def test_batches_do_not_matter():
    images = torch.cat([planes(picture(40, 40, seed)) for seed in range(3)])
    together = resize.device_resize(images, (299, 299))
    for i, image in enumerate(images):
        alone = resize.device_resize(image[None], (299, 299))
        assert float((alone[0] - together[i]).abs().max()) < 1e-4


def test_tf32_is_off_inside_and_as_before_outside():
    torch.set_float32_matmul_precision("high")
    try:
        with resize.exact_products():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
