"""How kernels see a tensor's memory: element types, channels or planes, words of 16 bytes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # as common.cuh has them


def layout(*tensors: Tensor) -> torch.memory_format:
    """channels_last if any of the tensors is laid out so and in no other way."""
    for t in tensors:
        if t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous():
            return torch.channels_last
    return torch.contiguous_format


def is_planes(x: Tensor) -> bool:
    """Whether kernels see `[N, C, H, W]` as N C images of one channel: all but channels_last."""
    return layout(x) is torch.contiguous_format


def vector(x: Tensor) -> int:
    """Channels that a kernel reads at once from a dense x: 16 bytes of them, or 1."""
    fit = 16 // x.element_size()
    return 1 if is_planes(x) or x.shape[1] % fit or x.dtype not in KINDS else fit


def dense(x: Tensor, form: torch.memory_format) -> Tensor:
    """x without gaps, laid out in `form`, from an address that 16 bytes divide."""
    x = x.contiguous(memory_format=form)
    return x.clone() if x.data_ptr() % 16 else x


def floats(t: Tensor | None) -> Tensor | None:
    """A small tensor beside an image as kernels take it: float32, without gaps."""
    return None if t is None else t.detach().float().contiguous()


class View(NamedTuple):
    """Memory as `[images, rows, columns]`; with `planes` an image is one channel of one image."""

    images: int
    rows: int
    columns: int
    vector: int
    planes: bool


def view(x: Tensor, dim: int = 1, *, per_image: bool = False) -> View | None:
    """How a kernel sees x, whose channels are dimension `dim`; None if it cannot.

    `per_image`: sums are wanted for each image, `[N, C]`.
    """
    fit = 16 // x.element_size()
    c, inner, outer = x.shape[dim], math.prod(x.shape[dim + 1 :]), math.prod(x.shape[:dim])
    last = x.ndim == 4 and dim == 1 and not is_planes(x)  # channels_last
    if not last and not x.is_contiguous():
        return None
    if last or inner == 1:
        rows = outer * inner // (x.shape[0] if per_image else 1)
        fits = c % fit == 0 and x.data_ptr() % 16 == 0
        return View(x.shape[0] if per_image else 1, rows, c, fit if fits else 1, False)
    v = fit if inner % fit == 0 and x.data_ptr() % 16 == 0 else 1
    return View(outer * c, inner // v, v, v, True)
