"""Tensors cut over the ranks: every rank holds an N-th of each, and all meet to see it whole.

A tensor is laid out flat in its own memory order and cut into N runs of ceil(n / N) numbers; the
last runs may be shorter or empty. So any shape can be cut: none dimensions, one element, fewer
elements than ranks.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.parallel.launch import contact


class Form:
    """Shape and strides of a tensor without its numbers, and the way to flat memory and back."""

    def __init__(self, tensor: Tensor):
        # As `empty_like` would lay it out: dense, in the tensor's own order of dimensions.
        dense = torch.empty_like(tensor, device="meta")
        self.shape, self.stride, self.numel = dense.shape, dense.stride(), dense.numel()

    def flat(self, tensor: Tensor) -> Tensor:
        """`[numel]` in memory order; shares the memory of a tensor that is laid out like this."""
        if tensor.stride() != self.stride:
            tensor = tensor.new_empty_strided(self.shape, self.stride).copy_(tensor)
        return tensor.as_strided((self.numel,), (1,))

    def view(self, flat: Tensor) -> Tensor:
        """What `flat` shows in this form, in the same memory."""
        return flat.as_strided(self.shape, self.stride)


class Window:
    """A network's parameter whose numbers lie elsewhere: there to be read while it is open.

    The parameter stays the same object, so networks and recipes need not know. Closed, it is empty.
    """

    def __init__(self, parameter: nn.Parameter, form: Form | None = None):
        """`form` is the parameter's own, unless it is to lie in memory like another."""
        self.parameter, self.form = parameter, form or Form(parameter)

    def flat(self) -> Tensor:
        """What it shows, `[numel]`."""
        return self.form.flat(self.parameter.detach())

    def open(self, flat: Tensor) -> None:
        """Shows `flat`, in the same memory."""
        self.parameter.data = self.form.view(flat.detach())

    def close(self) -> None:
        self.parameter.data = self.parameter.data.new_empty(0)

    def take_gradient(self) -> Tensor:
        """The gradient `[numel]`, which the parameter gives away; a missing one is zero."""
        gradient, self.parameter.grad = self.parameter.grad, None
        if gradient is None:
            return self.parameter.new_zeros(self.form.numel)
        return self.form.flat(gradient)


def length(numel: int, ranks: int) -> int:
    """Numbers in a full piece."""
    return -(-numel // ranks)


def span(numel: int, rank: int, ranks: int) -> tuple[int, int]:
    """Where the piece of `rank` begins and ends; shorter than others, or empty, at the end."""
    size = length(numel, ranks)
    return min(numel, size * rank), min(numel, size * (rank + 1))


def cut(flat: Tensor, rank: int, ranks: int) -> Tensor:
    """The piece of `rank`, in the same memory."""
    start, stop = span(flat.numel(), rank, ranks)
    return flat[start:stop]


def gather(pieces: Sequence[Tensor], forms: Iterable[Form]) -> list[Tensor]:
    """Whole tensors, on every rank, from every rank's pieces of them; one trip for all."""
    ranks = dist.get_world_size()
    forms = list(forms)
    sizes = [length(form.numel, ranks) for form in forms]
    mine = torch.cat([padded(p, size) for p, size in zip(pieces, sizes, strict=True)])
    everyone = mine.new_empty(ranks * mine.numel())
    with contact():
        dist.all_gather_into_tensor(everyone, mine)
    columns = everyone.view(ranks, -1).split(sizes, dim=1)
    # Contiguous, not reshaped: a column of one number a rank would be a view with gaps.
    flats = [column.contiguous().view(-1) for column in columns]
    return [form.view(flat[: form.numel]) for form, flat in zip(forms, flats, strict=True)]


def reduce_scatter_sum(flats: Sequence[Tensor]) -> list[Tensor]:
    """This rank's pieces of the sums over ranks of flat tensors; one trip for all."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    sizes = [length(flat.numel(), ranks) for flat in flats]
    rows = [padded(f, n * ranks).view(ranks, n) for f, n in zip(flats, sizes, strict=True)]
    everyone = torch.cat(rows, dim=1).contiguous()
    mine = everyone.new_empty(everyone.shape[1])
    with contact():
        dist.reduce_scatter_tensor(mine, everyone.view(-1))
    found = zip(mine.split(sizes), flats, strict=True)
    return [piece[: cut(f, rank, ranks).numel()].to(f.dtype) for piece, f in found]


def padded(flat: Tensor, size: int) -> Tensor:
    return F.pad(flat, (0, size - flat.numel()))
