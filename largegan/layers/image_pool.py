"""The memory of generated images that CycleGAN's discriminators learn from."""

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """The last fakes, some of which stand in for new ones (Shrivastava et al., 2017, section 2.3).

    While it is not full it keeps every image it sees and hands it back. Once full, it hands back
    every other image, at random, and for the rest an old one, whose place the new image takes.

    The pool changes once per optimizer step, for the batch as a whole: what `exchange` would store
    waits in `pending` (`recipe.SumsOverBatch`). So it is the same on every rank, and does not
    depend on how a batch is split over micro-batches and ranks. At batch size 1 that is the
    published algorithm; at others, images of one batch do not replace each other before the batch
    is over.

        Args:
        size: images to keep; 0 hands everything back.
        shape: (channels, height, width) of an image.
    """

    def __init__(self, size: int, shape: tuple[int, int, int]):
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        # A row for each image of the batch: its pixels, then its place in the pool plus one.
        self.register_buffer("pending", torch.zeros(0), persistent=False)
        self.waiting = False

    def set_batch_size(self, batch_size: int) -> None:
        """Makes room for the images of a batch; the trainer says how many those are."""
        pixels = self.images[0].numel() if self.size else 0
        self.pending = self.images.new_zeros(batch_size if self.size else 0, pixels + 1)

    @torch.no_grad()
    def exchange(self, fakes: Tensor, *, first: int) -> Tensor:
        """`[N, C, H, W]`, old or new, for fakes that are images `first`, ... of the batch."""
        if self.size == 0:
            return fakes
        n, device = len(fakes), fakes.device
        swap = torch.rand(n, device=device) < 0.5
        place = torch.randint(0, self.size, (n,), device=device)
        full = self.count == self.size
        old = full & swap
        room = self.count + torch.arange(first, first + n, device=device)
        room = torch.where(~full & (room < self.size), room, -1)
        rows = self.pending[first : first + n]
        rows[:, :-1] = fakes.flatten(1)
        rows[:, -1] = torch.where(old, place, room) + 1
        self.waiting = True
        return torch.where(old[:, None, None, None], self.images[place].to(fakes.dtype), fakes)

    @torch.no_grad()
    def absorb_pending(self) -> None:
        """Stores what the batch brought, in its order: of two for one place the later stays."""
        if not self.waiting:
            return
        for row in self.pending:
            place = row[-1:].long() - 1  # [1]; -1: not stored
            target = place.clamp(min=0)
            image = row[:-1].view_as(self.images[0])[None]
            self.images.index_copy_(
                0, target, torch.where(place[:, None, None, None] < 0, self.images[target], image)
            )
        self.count += (self.pending[:, -1] > self.count).sum()
        self.pending.zero_()
        self.waiting = False
