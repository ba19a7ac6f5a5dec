"""What a run says: metrics.jsonl always, a progress bar on a terminal, trackers when asked."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from largegan.errors import EnvironmentFault
from largegan.parallel.engine import Engine
from largegan.run.trackers import Trackers
from largegan.trainer import Tally, Trainer


def summarize(trainer: Trainer, seconds: float, images: int) -> dict[str, float]:
    """Numbers since the last line: means over ranks of every term, speed, memory.

    Called on all ranks (it reduces over them); empties the trainer's tally.
    """
    tally, trainer.tally = trainer.tally, Tally()
    values = tally.means()
    names = sorted(values)
    skipped = trainer.stream.skipped.get("samples", 0)
    packed = torch.tensor([values[n] for n in names] + [skipped], dtype=torch.float64)
    # Not through float64 on the device: not every device has it.
    *means, skipped = trainer.engine.mean(packed.float().to(trainer.engine.device)).tolist()
    images = max(images, 1)
    return {
        "nimg": trainer.at.nimg,
        "step": trainer.at.step,
        **dict(zip(names, means, strict=True)),
        "speed/s_per_kimg": seconds / images * 1000,
        "speed/img_per_s": images / max(seconds, 1e-9),
        "speed/data_wait": tally.seconds.get("data", 0.0) / max(seconds, 1e-9),
        **{
            f"time/{name}_s_per_kimg": spent / images * 1000
            for name, spent in tally.seconds.items()
        },
        "memory/gib": memory_gib(trainer.engine.device),
        "health/skipped_steps": trainer.bad_steps.total,
        "data/skipped_samples": round(skipped * trainer.engine.world),
    }


def tally_state(trainer: Trainer) -> dict[str, dict[str, float]]:
    """Sums and counts since the last line, for a checkpoint: JSON, the same on every rank.

    With them a run that was killed and goes on writes the lines of one that was not. Called on all
    ranks.
    """
    tally, engine = trainer.tally, trainer.engine
    names = sorted(tally.sums)
    sums = [float(tally.sums[name]) for name in names]
    if engine.world > 1 and names:
        sums = engine.mean(torch.tensor(sums).to(engine.device)).tolist()
    kept = {name: total for name, total in zip(names, sums, strict=True) if math.isfinite(total)}
    return {"sums": kept, "counts": {name: tally.counts[name] for name in kept}}


def restored_tally(state: dict[str, dict[str, float]] | None) -> Tally:
    """What `tally_state` gave; empty for checkpoints that have none."""
    state = state or {"sums": {}, "counts": {}}
    return Tally(dict(state["sums"]), {name: int(n) for name, n in state["counts"].items()})


def memory_gib(device: torch.device) -> float:
    """Peak memory of this process: of its GPU since it was reset, or resident without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30


class Logger:
    """Rank 0's voice. Other ranks build one too and call it alike; it then says nothing."""

    def __init__(
        self, folder: Path, engine: Engine, *, total_nimg: int, nimg: int, trackers: Trackers
    ):
        self.folder, self.speaks, self.trackers = folder, engine.rank == 0, trackers
        self.started = self.last_time = time.perf_counter()
        self.last_nimg = nimg
        self.total_nimg = total_nimg
        self.bar = None
        if self.speaks and on_terminal():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total_nimg,
                initial=nimg,
                unit="img",
                unit_scale=True,
                desc=folder.name,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} img "
                "[{elapsed}<{remaining}{postfix}]",
            )

    def progress(self, nimg: int) -> None:
        """Once per iteration: moves the bar."""
        if self.bar is not None:
            self.bar.update(min(nimg, self.total_nimg) - self.bar.n)

    def pause(self, seconds: float) -> None:
        """Time that went into something else than training: it does not count as slowness."""
        self.last_time += seconds

    def tick(self, trainer: Trainer, signals: Mapping[str, float] = {}) -> dict[str, float]:
        """One line of metrics.jsonl, one line of text or an update of the bar, and the trackers.

        `signals` of health are on the line, too.
        """
        now = time.perf_counter()
        values = summarize(trainer, now - self.last_time, trainer.at.nimg - self.last_nimg)
        values |= signals
        values["time/elapsed_s"] = now - self.started
        self.last_time, self.last_nimg = now, trainer.at.nimg
        if trainer.engine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.engine.device)
        if self.speaks:
            self.append("metrics.jsonl", values)
            for event in trainer.events:
                self.append("health.jsonl", event)
                self.say(f"skipped a step: {event['phase']}: {event['culprit']}")
            self.trackers.log(values, trainer.at.nimg)
            self._show(values)
        trainer.events.clear()
        return values

    def glance(self, trainer: Trainer) -> None:
        """A line of text between those of metrics.jsonl: this process's numbers, which stay."""
        if not self.speaks:
            return
        seconds, images = time.perf_counter() - self.last_time, trainer.at.nimg - self.last_nimg
        self._show(
            {
                "nimg": trainer.at.nimg,
                **trainer.tally.means(),
                "speed/s_per_kimg": seconds / max(images, 1) * 1000,
                "speed/img_per_s": images / max(seconds, 1e-9),
                "speed/data_wait": trainer.tally.seconds.get("data", 0.0) / max(seconds, 1e-9),
                "memory/gib": memory_gib(trainer.engine.device),
                "time/elapsed_s": time.perf_counter() - self.started,
            }
        )

    def append(self, name: str, values: dict) -> None:
        """Adds one JSON line. Raises `EnvironmentFault` when the disk refuses."""
        try:
            with open(self.folder / name, "a") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as fault:
            raise EnvironmentFault(
                f"cannot write {self.folder / name}: {fault.strerror}; make room and continue "
                "with --run.resume auto"
            ) from fault

    def say(self, text: str) -> None:
        """A line that does not break the bar."""
        if not self.speaks:
            return
        if self.bar is not None:
            self.bar.write(text)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Ends the bar and the trackers."""
        if self.bar is not None:
            self.bar.close()
        self.trackers.close()

    def _show(self, values: dict[str, float]) -> None:
        per_kimg = values["speed/s_per_kimg"]
        losses = " ".join(
            f"{name} {value:.3g}"
            for name, value in values.items()
            if name.count("/") == 1 and "." in name.split("/")[0] and "grad_norm" not in name
        )
        if self.bar is not None:
            self.bar.set_postfix_str(f"{per_kimg:.2f} s/kimg, {losses}")
            return
        left = (self.total_nimg - values["nimg"]) / 1000 * per_kimg
        print(
            f"kimg {values['nimg'] / 1000:.1f}/{self.total_nimg / 1000:g} "
            f"time {clock(values['time/elapsed_s'])} left {clock(left)} "
            f"s/kimg {per_kimg:.2f} img/s {values['speed/img_per_s']:.0f} "
            f"data {values['speed/data_wait']:.0%} mem {values['memory/gib']:.1f}G {losses}",
            flush=True,
        )


def on_terminal() -> bool:
    """Whether a person sees standard error. A terminal of no height would hide the bar."""
    return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).lines > 0


def clock(seconds: float) -> str:
    """3725 -> 1h02m, 65 -> 1m05s."""
    seconds = int(max(seconds, 0))
    if seconds >= 3600:
        return f"{seconds // 3600}h{seconds // 60 % 60:02d}m"
    return f"{seconds // 60}m{seconds % 60:02d}s"
