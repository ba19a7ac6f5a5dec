"""Run directories made of nothing: as many log lines and pictures as a test asks for."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from largegan import checkpoint
from largegan.config.parse import parse, resolved_yaml
from tests.test_checkpoint import content

EVERY = 1000  # images between log lines
SIGNALS = ("score_real", "score_fake", "score_d", "score_g", "accuracy_fake", "auc", "diversity")


def made_run(
    folder: Path,
    *,
    lines: int = 40,
    pictures: int = 5,
    ill: bool = True,
    seed: int = 0,
    side: int = 160,
) -> Path:
    """A run of `lines` log lines that fell ill half-way and still is."""
    folder.mkdir(parents=True)
    total = str(2 * lines * EVERY)
    words = ["--recipe.name", "biggan", "--run.dir", str(folder), "--train.total_nimg", total]
    config = parse([*words, "--train.batch_size", "32"])
    (folder / "config.yaml").write_text(resolved_yaml(config))
    facts = {"device": "cpu", "processes": 2, "python": "3.11", "versions": {"torch": "2.15"}}
    (folder / "env.json").write_text(json.dumps(facts))
    noise = np.random.default_rng(seed).normal(size=(lines, 64)).tolist()
    moments = [measured(i + 1, noise[i]) for i in range(lines)]
    write_lines(folder / "metrics.jsonl", [line for moment in moments for line in moment])
    write_lines(folder / "health.jsonl", troubles(lines) if ill else [])
    for i in range(pictures):
        nimg = i * lines * EVERY // pictures
        draw(folder / "samples" / f"fakes-{nimg:09d}.png", i + seed, side)
    if pictures:
        draw(folder / "samples" / "reals.png", 1000 + seed, side)
    for nimg in (lines // 2 * EVERY, lines * EVERY):
        checkpoint.save(folder / "checkpoints", nimg, content(nimg))
    return folder


def write_lines(path: Path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def measured(i: int, noise: list[float]) -> list[dict]:
    """The lines of metrics.jsonl of one moment."""
    falls = math.exp(-i / 30)
    values = {"nimg": i * EVERY, "step": i * 10}
    for k, phase in enumerate(("D.discriminator", "D.penalty", "G.generator")):
        values[f"{phase}/loss"] = 0.7 + falls + 0.1 * noise[k]
        values[f"{phase}/hinge"] = 0.2 * noise[k + 5] - falls
        values[f"{phase}/grad_norm"] = math.exp(0.4 * noise[k + 10])
        values[f"time/{phase}_s_per_kimg"] = 2 + k + 0.1 * abs(noise[k + 20])
    for k, signal in enumerate(SIGNALS):
        values[f"health/{signal}"] = 1 / (1 + math.exp(-0.3 * noise[k + 30] - 0.2 * k + 0.6))
    values |= {"speed/s_per_kimg": 7.5, "speed/img_per_s": 130 + 4 * noise[50],
               "speed/data_wait": 0.02 + 0.01 * abs(noise[51]), "memory/gib": 9.4 + i * 1e-5,
               "health/skipped_steps": i // 20, "data/skipped_samples": 2}  # fmt: skip
    if i % 4:
        return [values]
    score = {"score/fid": 12 + 90 * falls + noise[60], "score/fid_error": 0.5 + 3 * falls,
             "score/recall": 0.4 - 0.3 * falls}  # fmt: skip
    return [values, {"nimg": i * EVERY, **score}]


def troubles(lines: int) -> list[dict]:
    """The lines of health.jsonl: a skipped step, a verdict that ended, one that did not."""
    half = lines // 2 * EVERY
    verdict = {"confidence": 0.8, "evidence": {"health/auc": 0.98, "health/score_fake": 0.02}}
    words = "the discriminator knows 98 % of pairs apart, and the generator learns nothing from it"
    remedy = {"settings": {"recipe.d_lr": 1e-4}, "why": "a slower discriminator"}
    begun = {**verdict, "state": "begins", "sentence": words, "remedies": [remedy]}
    dominates = {"verdict": "discriminator_dominates", **begun}
    return [
        {"event": "skipped_step", "phase": "D.penalty", "player": "D", "culprit": "<loss> is nan",
         "in_a_row": 1, "step": 3, "nimg": 3 * EVERY},
        {"nimg": half // 2, "since_nimg": half // 4, **dominates},
        {"nimg": half, "since_nimg": half // 4, **dominates, "state": "ends", "remedies": []},
        {"nimg": half + 5 * EVERY, "since_nimg": half + EVERY, **begun, "verdict": "mode_collapse",
         "sentence": "samples are 4 times as alike as training images: </script><b>x</b>"},
    ]  # fmt: skip


def draw(path: Path, seed: int, side: int) -> None:
    path.parent.mkdir(exist_ok=True)
    low = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(low).resize((side, side), Image.Resampling.BICUBIC).save(path)
