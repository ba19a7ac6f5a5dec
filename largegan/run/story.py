"""A run directory as a report shows it, while it is written to or afterwards."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import yaml

from largegan import checkpoint
from largegan.config.schema import GROUPS
from largegan.errors import ConfigError, DataError, reason, shown
from largegan.files.documents import text_of
from largegan.files.lines import read_lines
from largegan.health.records import Notice, bands, notices_of
from largegan.health.signals import SIGNALS
from largegan.health.verdicts import VERDICTS
from largegan.metrics import table
from largegan.metrics.features import Backbone
from largegan.recipes import TABLE, options_class
from largegan.run import advice, history
from largegan.run.branches import FAKES, left_branches
from largegan.run.directory import flatten
from largegan.run.lock import NAME as LOCK
from largegan.run.rollback import rollbacks
from largegan.viz.report.contents import Band, Run, Score, Setting

MOST = 1 << 53  # images: what every program takes for a whole number
FRESH_S = 60  # a lock whose time stamp is older belongs to nobody


def tell(folder: Path, *, state: str | None = None, name: str | None = None) -> Run:
    """All that a report says of a run.

    `state` is "finished", "running" or "stopped"; left out, it is what the directory looks like.

    Raises `ConfigError` where there is no run, and `DataError` for files that are damaged.
    """
    config = read_config(folder)
    lines = numbered(read_lines(folder / "metrics.jsonl"), folder / "metrics.jsonl")
    health = folder / "health.jsonl"
    records = numbered(read_lines(health), health)
    kept = sorted(int(p.name) for p in checkpoint.numbered(folder / "checkpoints")
                  if checkpoint.is_complete(p))  # fmt: skip
    nimg = max([line["nimg"] for line in lines[-2:]] + kept, default=0)
    total = config["train"]["total_nimg"]
    scores = scores_in(lines, backbone_of(folder))
    best, best_score = best_of(folder, config, lines)
    facts = environment(folder)
    state = state or looks(folder, nimg, total)
    return Run(
        name=name or folder.resolve().name,
        folder=str(folder),
        recipe=f"{config['recipe']['name']} on {config['data'].get('path')}",
        state=state,
        nimg=nimg,
        total_nimg=total,
        settings=settings_of(config),
        facts=facts,
        lines=[numbers_of(line) for line in lines],
        scores=scores,
        meanings={name: signal.meaning for name, signal in SIGNALS.items()},
        bands=[band_of(begun, end) for begun, end in bands(notices_of(records, health))],
        events=events_of(records, health),
        pictures=pictures_of(folder),
        reals=existing(folder / "samples" / "reals.png"),
        best=best,
        best_score=best_score,
        checkpoints=kept,
        branches=left_branches(folder),
        commands=advice.commands(
            folder, config, finished=nimg >= total, processes=int(facts.get("processes", "1")),
            best_nimg=best["nimg"] if best else None, kept=kept,
        ),
    )  # fmt: skip


def tell_all(folders: Sequence[Path]) -> list[Run]:
    """Several runs, under names that differ. Raises ConfigError, DataError."""
    names = [folder.resolve().name for folder in folders]
    return [
        tell(folder, name=name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def read_config(folder: Path) -> dict[str, Any]:
    """The config.yaml of a run. Raises ConfigError, DataError."""
    path = folder / "config.yaml"
    try:
        content = yaml.safe_load(text_of(path.read_bytes()))
        flatten(content if isinstance(content, dict) else {})  # refuses what holds itself
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{shown(folder)} holds no run: there is no config.yaml; give a run directory, such as "
            "runs/NAME"
        ) from None
    except OSError as fault:
        raise DataError(f"{shown(path)} cannot be read ({reason(fault)})") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        why = shown(" ".join(str(fault).split()))
        raise DataError(f"{shown(path)} is no YAML ({why}); {advice.REPAIR}") from fault
    needed = {"recipe", "data", "train"}
    if (
        not isinstance(content, dict)
        or not needed <= content.keys()
        or not all(isinstance(group, dict) for group in content.values())
    ):
        raise DataError(
            f"{shown(path)} is not the configuration of a run: it lacks recipe, data or train; "
            f"{advice.REPAIR}"
        )
    total = content["train"].get("total_nimg")
    words = (content["recipe"].get("name"), content.get("evaluate", {}).get("best", "fid"))
    right = type(total) is int and 0 < total <= MOST
    if not right or not all(isinstance(word, str) for word in words):
        raise DataError(
            f"{shown(path)} is not the configuration of a run: recipe.name, train.total_nimg "
            f"or evaluate.best is wrong; {advice.REPAIR}"
        )
    return content


def numbered(lines: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Lines of a log, each of which says at how many images it was written. Raises DataError."""
    for number, line in enumerate(lines, 1):
        if type(line.get("nimg")) is not int or not 0 <= line["nimg"] <= MOST:
            raise DataError(
                f"{shown(path)}, line {number}, does not say after how many images (nimg); remove "
                "that line, the others suffice"
            )
    return lines


def numbers_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line without what is no number."""
    return {
        name: value
        for name, value in line.items()
        if value is None or type(value) is float or (type(value) is int and abs(value) <= MOST)
    }


def events_of(records: list[dict[str, Any]], log: Path) -> list[tuple[int, str]]:
    """(images, what happened) of skipped steps and rollbacks. Raises DataError."""
    found = [(rolled.nimg, rolled.sentence()) for rolled in rollbacks(log)]
    for line in records:
        if line.get("event") == "skipped_step":
            what = f"skipped a step of {line.get('phase')}: {line.get('culprit')}"
            found.append((line["nimg"], what))
    return sorted(found)


def band_of(begun: Notice, end: int | None) -> Band:
    row = VERDICTS.get(begun.verdict)
    return Band(
        verdict=begun.verdict,
        title=row.title if row else begun.verdict.replace("_", " "),
        begin=begun.since_nimg,
        end=end,
        confidence=begun.confidence,
        sentence=begun.sentence,
        evidence=begun.evidence,
        remedies=[(advice.options(r.settings), r.why) for r in begun.remedies],
    )


def backbone_of(folder: Path) -> Backbone | None:
    """The feature network of a run's scores, as scores.json has it; None: it is not known."""
    try:
        return Backbone(**json.loads((folder / "scores.json").read_text())["backbone"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def scores_in(lines: Sequence[Mapping[str, Any]], backbone: Backbone | None) -> list[Score]:
    """The scores that a log holds, in the order of their first appearance.

    They bear the names that people write: a FID is one of Inception, of others an FD-NAME.
    """
    names = dict.fromkeys(n for line in lines for n in line if n.startswith(history.PREFIX))
    found = []
    for name in names:
        short = name.removeprefix(history.PREFIX)
        base, _, part = short.partition("/")
        if table.is_score(base):
            error = table.error_of(short)
            title = table.title(base)
            title = (backbone.title(title) if backbone else title) + (f", {part}" if part else "")
            found.append(
                Score(name, title, error and f"{history.PREFIX}{error}", table.better(short))
            )
    return found


def best_of(
    folder: Path, config: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any] | None, str | None]:
    """The line of the best score whose checkpoint is kept, and the name of that score."""
    metric = config.get("evaluate", {}).get("best", "fid")
    name = f"{history.PREFIX}{metric}"
    if not table.is_score(metric) or not any(name in line for line in lines):
        return None, None
    line = history.best(folder, metric)
    return line, name if line else None


def settings_of(config: Mapping[str, Any]) -> list[Setting]:
    """Every setting beside its default, but where the run lies."""
    defaults = flatten(default_settings(config["recipe"]["name"]))
    given = {k: v for k, v in flatten(dict(config)).items() if k not in ("run.dir", "run.resume")}
    return [Setting(k, plain(v), plain(defaults.get(k))) for k, v in given.items()]


def default_settings(recipe: str) -> dict[str, Any]:
    """Of all groups, and of a recipe if there still is one of that name."""
    found: dict[str, Any] = {group: asdict(schema()) for group, schema in GROUPS.items()}
    options = fields(options_class(recipe)) if recipe in TABLE else ()
    found["recipe"] = {"name": recipe} | {
        f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in options
    }
    return found


def plain(value: Any) -> Any:
    """A value as YAML gives it back."""
    return list(value) if isinstance(value, tuple) else value


def environment(folder: Path) -> dict[str, str]:
    """What env.json says, in a few words each; nothing where it is missing or damaged."""
    try:
        content = json.loads((folder / "env.json").read_text())
        versions = content.get("versions", {})
        shown_versions = ", ".join(f"{k} {v}" for k, v in versions.items() if v)
        known = {
            "device": content.get("device"),
            "processes": content.get("processes"),
            "python": content.get("python"),
            "packages": shown_versions,
            "platform": content.get("platform"),
            "revision": content.get("git"),
            "slurm": ", ".join(f"{k} {v}" for k, v in content.get("slurm", {}).items()),
        }
    except (OSError, ValueError, AttributeError):
        return {}
    return {name: str(value) for name, value in known.items() if value}


def looks(folder: Path, nimg: int, total: int) -> str:
    """Whether a run goes on, as its lock and its progress have it."""
    try:
        if time.time() - (folder / LOCK).stat().st_mtime < FRESH_S:
            return "running"
    except OSError:
        pass
    return "finished" if nimg >= total else "stopped"


def pictures_of(folder: Path) -> list[tuple[int, Path]]:
    """Sample grids by the images seen, in order."""
    found = []
    for path in (folder / "samples").glob(FAKES):
        number = path.stem.rpartition("-")[2]
        if number.isdecimal():
            found.append((int(number), path))
    return sorted(found)


def existing(path: Path) -> Path | None:
    return path if path.is_file() else None
