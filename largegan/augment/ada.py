"""Adaptive discriminator augmentation: as much as keeps D from memorizing its images.

Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data".
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from largegan.augment.pipeline import augment, multipliers_of


class ADA(nn.Module):
    """Augments D's images with probability `p`, and adapts `p` to D's confidence on real ones.

    Overfitting is r_t = E[sign(D(real))] (Eq. 1): every `every` iterations p moves towards the
    value where r_t is `target`, by as much as takes it from 0 to 1 in `nimg_to_full` images. Unlike
    in the published implementation, p stays within [0, `most`]: above 1 nothing happens more often
    but what has a multiplier, and p takes for ever to come down again.

    Use, in a recipe: `self.ada(images)` on everything that D sees, reals and fakes, in D's phases
    and in G's; `self.ada.observe(logits)` on the logits of real images in D's phase, and
    `self.ada.adapt(at.step, batch_size)` in `after_iteration`. Signs are summed over micro-batches
    and ranks (`recipe.SumsOverBatch`), so p is the same everywhere; p and the sums are buffers, so
    a resumed run goes on exactly.

    Args:
        transforms: a group of transforms (`GROUPS`, "bgc" is the paper's choice), or every
            transform's multiplier.
        target: r_t to aim for. None keeps p where it is.
        every: iterations between two changes of p.
        nimg_to_full: images in which p could go from 0 to 1; 100_000 when fine-tuning.
        p: where to begin.
        most: p's limit.
    """

    def __init__(
        self,
        transforms: str | Mapping[str, float] = "bgc",
        *,
        target: float | None = 0.6,
        every: int = 4,
        nimg_to_full: int = 500_000,
        p: float = 0.0,
        most: float = 1.0,
    ):
        super().__init__()
        if not 0 <= p <= most <= 1:
            raise ValueError(f"ADA needs 0 <= p <= most <= 1, got p = {p}, most = {most}")
        self.transforms = multipliers_of(transforms)
        self.target, self.every, self.nimg_to_full, self.most = target, every, nimg_to_full, most
        self.waits = True
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros(2))  # their sum, and how many
        self.register_buffer("pending", torch.zeros(2), persistent=False)  # of this phase

    def forward(self, images: Tensor) -> Tensor:
        """`[N, 1 to 4, H, W]` -> the same shape; gradients of any order flow to the images."""
        return augment(images, self.p, self.transforms, waits=self.waits)

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Counts the signs of D's logits on (augmented) real images."""
        total = real_logits.float().sign().sum()
        self.pending += torch.stack([total, total.new_full((), real_logits.numel())])

    @torch.no_grad()
    def absorb_pending(self) -> None:
        """What a good phase counted, on all ranks."""
        self.signs += self.pending
        self.pending.zero_()

    @torch.no_grad()
    def adapt(self, step: int, batch_size: int) -> None:
        """After iteration `step` (counted from 1) of `batch_size` images."""
        if step % self.every:
            return
        if self.target is not None and self.signs[1] > 0:  # 0: the steps were skipped
            too_sure = torch.sign(self.signs[0] / self.signs[1] - self.target)
            self.p += too_sure * (batch_size * self.every / self.nimg_to_full)
            self.p.clamp_(0, self.most)
        self.signs.zero_()
