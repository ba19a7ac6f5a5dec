"""Sums over ranks in buckets; those of gradients may leave while backward still runs."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from largegan.parallel.launch import contact

BUCKET_BYTES = 25 * 2**20


def in_buckets(tensors: Iterable[Tensor], bucket_bytes: int = BUCKET_BYTES) -> list[list[Tensor]]:
    """Neighbors share a bucket until it holds `bucket_bytes`."""
    buckets: list[list[Tensor]] = []
    size = bucket_bytes
    for tensor in tensors:
        if size >= bucket_bytes:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.numel() * tensor.element_size()
    return buckets


@dataclass
class Trip:
    """One all-reduce under way: a flat copy of some tensors."""

    tensors: list[Tensor]
    flat: Tensor
    work: dist.Work

    @classmethod
    def start(cls, tensors: list[Tensor]) -> "Trip":
        """Sends them off; the sums are there when it lands."""
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with contact():
            return cls(tensors, flat, dist.all_reduce(flat, async_op=True))

    def land(self) -> None:
        """Waits, and puts the sums where the tensors are."""
        with contact():
            self.work.wait()
        parts = self.flat.split([t.numel() for t in self.tensors])
        for tensor, part in zip(self.tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def all_reduce_sum(tensors: list[Tensor]) -> None:
    """Sums tensors over ranks in place, flattened into buckets so that small ones share a trip."""
    for trip in [Trip.start(bucket) for bucket in in_buckets(tensors)]:
        trip.land()


def norm_over_ranks(gradients: list[Tensor], extras: list[Tensor]) -> Tensor:
    """The norm of gradients of which every rank has a piece; `extras` are summed on the way."""
    squares = torch.stack(torch._foreach_norm(gradients)).square().sum()
    all_reduce_sum([*extras, squares])
    return squares.sqrt()


@dataclass
class Timing:
    """What a benchmark wants to know of one reduction; seconds since the backward began."""

    started: float = 0.0
    backward_ended: float = 0.0
    launches: list[tuple[float, int]] = field(default_factory=list)  # (second, bytes)
    landed: float = 0.0


class GradientReduction:
    """Sums one player's gradients over ranks, the last layers' first.

    Buckets and their order depend on the parameters alone, so that all ranks send the same
    sequence, and so that the result is the same bits whether or not a bucket leaves early. With
    `overlap` a bucket leaves during the last micro-batch's backward, as soon as the gradients
    that arrived in such phases before are there. One that arrives after its bucket has left, on
    any rank, makes the bucket travel again on all (no phase used that parameter until now, or
    backward came by twice).
    """

    def __init__(
        self, params: list[nn.Parameter], *, overlap: bool, bucket_bytes: int = BUCKET_BYTES
    ):
        self.buckets: list[list[nn.Parameter]] = in_buckets(reversed(params), bucket_bytes)
        self.home = {p: i for i, bucket in enumerate(self.buckets) for p in bucket}
        self.expected: dict[bool, set[nn.Parameter]] = {}  # by second_order
        self.armed, self.timing, self.overlap = False, Timing(), overlap
        self._forget()
        if overlap:
            for p in params:
                p.register_post_accumulate_grad_hook(self._arrived)

    def begin(self, *, second_order: bool) -> None:
        """Before a phase."""
        self._forget()
        self.kind = second_order

    def arm(self) -> None:
        """Before the phase's last backward."""
        self.armed, self.timing = True, Timing(started=time.perf_counter())
        expected = self.expected.get(self.kind, self.home.keys())
        self.waiting = [{p for p in bucket if p in expected} for bucket in self.buckets]

    def disarm(self) -> None:
        """After it."""
        self.armed = False
        self.timing.backward_ended = time.perf_counter() - self.timing.started
        known = self.expected.get(self.kind, set())
        self.expected[self.kind] = known | self.seen

    def finish(self, extras: list[Tensor]) -> None:
        """Sums what has not left yet, `extras` with the last bucket, and waits for all of it."""
        while len(self.trips) < len(self.buckets) - 1:
            self._launch()
        # Ranks may have used different parameters: all decide together which buckets go again.
        late = [float(i in self.stale) for i in range(len(self.buckets))]
        again = torch.tensor(late, device=extras[0].device)
        self._launch([*extras, again])
        self.trips[-1].land()
        for i, ranks in enumerate(again[:-1].tolist()):
            if ranks:
                with contact():
                    self.trips[i].work.wait()
                self.trips[i] = Trip.start([p.grad for p in self.buckets[i]])
        for trip in self.trips[:-1]:
            trip.land()
        self.timing.landed = time.perf_counter() - self.timing.started
        self._forget()

    def _forget(self) -> None:
        self.trips: list[Trip] = []
        self.stale: set[int] = set()
        self.seen: set[nn.Parameter] = set()

    def _arrived(self, p: nn.Parameter) -> None:
        """A gradient is complete (autograd adds up a backward's parts before it says so)."""
        if not self.armed:
            return
        self.seen.add(p)
        i = self.home[p]
        if i < len(self.trips):
            self.stale.add(i)
            return
        self.waiting[i].discard(p)
        # The last bucket waits for `finish`: it takes the verdict along.
        while len(self.trips) < len(self.buckets) - 1 and not self.waiting[len(self.trips)]:
            self._launch()

    @torch.no_grad()
    def _launch(self, extras: Iterable[Tensor] = ()) -> None:
        bucket = self.buckets[len(self.trips)]
        for p in bucket:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        trip = Trip.start([*(p.grad for p in bucket), *extras])
        self.trips.append(trip)
        if self.timing.started:
            seconds = time.perf_counter() - self.timing.started
            self.timing.launches.append((seconds, trip.flat.numel() * trip.flat.element_size()))
