"""The parts of a report that are text: HTML, one function each, in the order of the page."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from largegan.viz.report.contents import Band, Run, Setting

STATES = {"finished": "good", "running": "busy", "stopped": "quiet"}


def header(runs: Sequence[Run]) -> str:
    """What ran, and the choice of light or dark."""
    names = " <i>and</i> ".join(escape(run.name) for run in runs)
    return f"""<header><div><p class="maker">largegan report</p><h1>{names}</h1></div>
<button id="theme" type="button" title="light or dark">◐</button></header>
<main>
"""


def summary(runs: Sequence[Run]) -> str:
    """A row of tiles for each run."""
    return section("", "".join(tiles(run, named=len(runs) > 1) for run in runs))


def tiles(run: Run, *, named: bool) -> str:
    part = min(run.nimg / run.total_nimg, 1) if run.total_nimg else 1
    shown = [
        tile(
            "images seen",
            compact(run.nimg),
            f'of {compact(run.total_nimg)}<span class="bar"><span style="width:{part:.1%}"></span>'
            "</span>",
        )
    ]
    shown += [best_tile(run)] if run.best else []
    if last := run.last:
        shown += [
            tile("speed", measured(last["speed/img_per_s"]), "images per second"),
            tile("memory", measured(last.get("memory/gib")), "GiB, the peak of one process"),
        ]
        shown += trouble_tiles(last)
    open_ = [band for band in run.bands if band.end is None]
    if open_:
        shown.append(tile("health", str(len(open_)), escape(open_[-1].title), "bad"))
    head = f'<span class="chip {STATES[run.state]}">{run.state}</span> {escape(run.recipe)}'
    name = f"<b>{run_mark(run.name)}</b> " if named else ""
    return f'<p class="run">{name}{head}</p><div class="tiles">{"".join(shown)}</div>'


def best_tile(run: Run) -> str:
    score = next(s for s in run.scores if s.name == run.best_score)
    error = run.best.get(score.error) if score.error else None
    spread = f" ± {error:.2g}" if error else ""
    value = f"{run.best[score.name]:.4g}<small>{spread}</small>"
    return tile(f"best {escape(score.title)}", value, f"at {compact(run.best['nimg'])} images")


def trouble_tiles(last: Mapping[str, Any]) -> list[str]:
    """Only what is not zero."""
    steps = last.get("health/skipped_steps") or 0
    samples = last.get("data/skipped_samples") or 0
    shown = []
    if steps:
        shown.append(tile("skipped steps", f"{steps:,.0f}", "were not finite", "bad"))
    if samples:
        shown.append(tile("damaged samples", f"{samples:,.0f}", "were left out", "bad"))
    return shown


def tile(name: str, value: str, note: str, kind: str = "") -> str:
    """`value` and `note` are HTML."""
    return f'<div class="tile {kind}"><span>{name}</span><b>{value}</b><small>{note}</small></div>'


def pictures(runs: Sequence[Run]) -> str:
    """Samples through time; the script fills it."""
    if not any(run.pictures for run in runs):
        return ""
    figures = "".join(
        f'<figure data-run="{i}"><figcaption></figcaption><div class="frames">'
        f'<img class="sample" alt="samples of {escape(run.name)}">'
        '<img class="reals" alt="training images" hidden></div></figure>'
        for i, run in enumerate(runs)
        if run.pictures
    )
    controls = """<div class="controls"><button id="play" type="button" title="play">▶</button>
<input id="time" type="range" min="0" step="1" value="0" aria-label="images seen">
<output id="moment"></output>
<label><input id="compare" type="checkbox"> training images</label></div>
<div id="thumbs"></div>"""
    return section("Samples", f'<div class="card">{controls}<div id="strip">{figures}</div></div>')


def curves(runs: Sequence[Run]) -> str:
    """Charts; the script fills them."""
    bar = """<div class="tools"><label>from <input id="from" type="number" min="0"></label>
<label>to <input id="to" type="number" min="0"></label><button id="whole" type="button">all</button>
<span class="hint">drag to zoom every chart, double-click for all</span></div>
<div id="legend"></div>"""
    return f'{bar}<div id="charts"></div>' if any(run.lines for run in runs) else ""


def health(runs: Sequence[Run]) -> str:
    """Verdicts with their evidence and remedies."""
    cards = "".join(
        verdict(band, run.name if len(runs) > 1 else "")
        for run in runs
        for band in sorted(run.bands, key=lambda b: (b.end is not None, b.begin))
    )
    return section("Health", f'<div class="cards">{cards}</div>') if cards else ""


def verdict(band: Band, name: str) -> str:
    until = "until now" if band.end is None else f"to {compact(band.end)} images"
    numbers = ", ".join(
        f"{escape(k.removeprefix('health/'))} {v:.3g}" for k, v in band.evidence.items()
    )
    steps = "".join(
        f"<li>{escape(why)}<code>{escape(words)}</code></li>" for words, why in band.remedies
    )
    remedies = f"<details open><summary>what helps</summary><ol>{steps}</ol></details>"
    return f"""<article class="card {"bad" if band.end is None else ""}">
<h3><span class="dot" data-verdict="{escape(band.verdict)}"></span>{escape(band.title)}</h3>
<p class="when">{escape(name)} from {compact(band.begin)} {until} · {band.confidence:.0%} sure</p>
<p>{escape(band.sentence)}</p><p class="numbers">{numbers}</p>{remedies if steps else ""}</article>
"""


def trouble(runs: Sequence[Run]) -> str:
    """Skipped steps and rollbacks, the last fifty of each run."""
    rows = [
        f"<tr><td>{escape(run.name)}</td><td>{compact(nimg)}</td><td>{escape(what)}</td></tr>"
        for run in runs
        for nimg, what in run.events[-50:]
    ]
    head = "<tr><th>run</th><th>images</th><th>what happened</th></tr>"
    return section("Events", table(head, rows)) if rows else ""


def going_on(runs: Sequence[Run]) -> str:
    """Commands, each with a button that copies it."""
    return section("Going on", "".join(commands(run, named=len(runs) > 1) for run in runs))


def commands(run: Run, *, named: bool) -> str:
    rows = "".join(
        f'<dt>{escape(what)}</dt><dd><code>{escape(words)}</code><button type="button" '
        'class="copy" title="copy">copy</button></dd>'
        for what, words in run.commands
    )
    kept = ", ".join(compact(n) for n in run.checkpoints) or "none"
    left = f"; left branches: {escape(', '.join(run.branches))}" if run.branches else ""
    name = f"<h3>{run_mark(run.name)}</h3>" if named else ""
    where = f'<p class="when">{escape(run.folder)}, checkpoints at {kept} images{left}</p>'
    return f'<div class="card">{name}{where}<dl>{rows}</dl></div>'


def settings(runs: Sequence[Run]) -> str:
    """What differs from the defaults, or between the runs; the rest folded away."""
    by_run = [{s.name: s for s in run.settings} for run in runs]
    names = list(dict.fromkeys(name for found in by_run for name in found))
    first = [n for n in names if notable([found.get(n) for found in by_run])]
    rest = [n for n in names if n not in first]
    head = "<tr><th>setting</th>" + "".join(f"<th>{run_mark(r.name)}</th>" for r in runs)
    head += "<th>default</th></tr>"
    main = table(head, [row(n, by_run) for n in first])
    others = table(head, [row(n, by_run) for n in rest])
    folded = f"<details><summary>{len(rest)} settings as they come</summary>{others}</details>"
    return section("Settings", f"{main}{folded if rest else ''}")


def notable(found: Sequence[Setting | None]) -> bool:
    values = [None if s is None else s.value for s in found]
    return any(s is not None and s.changed for s in found) or any(v != values[0] for v in values)


def row(name: str, by_run: Sequence[Mapping[str, Setting]]) -> str:
    found = [settings.get(name) for settings in by_run]
    cells = "".join(
        "<td>-</td>" if s is None else f'<td class="{"new" if s.changed else ""}">{shown(s.value)}'
        for s in found
    )
    default = next(s.default for s in found if s is not None)
    return f"<tr><td>{escape(name)}</td>{cells}<td>{shown(default)}</td></tr>"


def facts(runs: Sequence[Run]) -> str:
    """The machine and the software."""
    names = list(dict.fromkeys(name for run in runs for name in run.facts))
    head = "<tr><th></th>" + "".join(f"<th>{run_mark(r.name)}</th>" for r in runs) + "</tr>"
    rows = [
        f"<tr><td>{escape(n)}</td>"
        + "".join(f"<td>{escape(run.facts.get(n, '-'))}</td>" for run in runs)
        + "</tr>"
        for n in names
    ]
    return section("Machine", table(head, rows)) + "</main>\n"


def run_mark(name: str) -> str:
    """A run's name with its color, which the script knows."""
    return f'<span class="dot" data-name="{escape(name)}"></span>{escape(name)}'


def section(title: str, content: str) -> str:
    head = f"<h2>{title}</h2>" if title else ""
    return f"<section>{head}{content}</section>\n"


def table(head: str, rows: Sequence[str]) -> str:
    body = "".join(rows)
    return (
        f'<div class="scroll card"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
    )


def shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return escape(f"{value:,}" if isinstance(value, int) else str(value))


def compact(number: float) -> str:
    """1234567 -> 1,234,567."""
    return f"{number:,.0f}"


def measured(number: float | None) -> str:
    """Three digits, and all that stand before the point; a dash where there is no number."""
    if number is None:
        return "-"
    return compact(number) if abs(number) >= 100 else f"{number:.3g}"


ALL: tuple[Callable[[Sequence[Run]], str], ...] = (
    header,
    summary,
    health,
    pictures,
    curves,
    going_on,
    settings,
    trouble,
    facts,
)
