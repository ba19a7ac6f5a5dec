"""One recording of a step: what it reads and writes, and how it is made on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from largegan.recipe import Batch, Progress, Said, Terms
from largegan.run.outcome import Plain

Slot = tuple[Tensor, Callable[[Progress], float]]  # a scheduled number, and how it is computed
Record = Callable[[Callable[[], None]], Callable[[], None]]  # something that ran; how to repeat it


@dataclass
class Recording:
    """What a replay reads and writes: always the same memory.

    `batch` are the inputs and what the loss leaves beside them, for a later phase of the iteration;
    `left` are numbers that it leaves on modules; `slots` are filled before each replay.
    """

    inputs: Batch
    params: list[nn.Parameter]
    repeat: Callable[[], None] = lambda: None
    batch: Batch = field(default_factory=dict)
    terms: Terms = field(default_factory=dict)
    said: Said = field(default_factory=Said)
    gradients: list[Tensor | None] = field(default_factory=list)
    left: Plain = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)

    def fits(self, batch: Batch) -> bool:
        """Whether a batch has the names, shapes and types of the one that was recorded.

        And whether gradients that are there lie where the recording adds to them.
        """
        pairs = zip(self.params, self.gradients, strict=True)
        if any(p.grad is not None and p.grad is not gradient for p, gradient in pairs):
            return False
        return batch.keys() == self.inputs.keys() and all(
            value.shape == self.inputs[name].shape and value.dtype == self.inputs[name].dtype
            for name, value in batch.items()
        )

    def __call__(self, batch: Batch, at: Progress) -> Terms:
        """Replays on `batch`, which gets what the loss leaves; returns the loss's terms."""
        for tensor, value in self.slots:
            tensor.fill_(value(at))
        for name, value in self.inputs.items():
            value.copy_(batch[name])
        self.repeat()
        for p, gradient in zip(self.params, self.gradients, strict=True):
            p.grad = gradient
        for (module, name), value in self.left.items():
            setattr(module, name, value)
        batch.update({n: value for n, value in self.batch.items() if n not in self.inputs})
        return self.terms


class RecordedProgress(Progress):
    """Progress for a loss that is recorded: scheduled numbers are tensors, filled before a replay.

    It remembers that somebody looked at it otherwise.
    """

    def __init__(self, at: Progress, tensors: list[Tensor], device: torch.device):
        super().__init__(at.step, at.nimg)
        given = {"asked": False, "slots": [], "plain": at, "tensors": tensors, "device": device}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __getattribute__(self, name: str):
        if name in ("step", "nimg"):
            object.__setattr__(self, "asked", True)
        return super().__getattribute__(name)

    def scheduled(self, value: Callable[[Progress], float]) -> Tensor:
        number = len(self.slots)
        if number < len(self.tensors):
            tensor = self.tensors[number]
        else:
            tensor = torch.full((), value(self.plain), device=self.device)
        self.slots.append((tensor, value))
        return tensor


class OnGPU:
    """Records as CUDA graphs, which share one pool of memory: they run one after the other."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()  # of the runs before: a recording has memory of its own
        # Not "global": threads that read data may pin memory meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            run()
        return graph.replay
