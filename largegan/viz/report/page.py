"""The page: text as HTML, numbers and pictures as JSON inside it, and the library that draws them.

The library comes last: text and pictures are there at once, and curves a second later.
Nothing is fetched: style, script and plotly.js (from the package `plotly`) are part of the file.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from largegan.errors import ConfigError
from largegan.files.output import MARK, writing
from largegan.files.version import VERSION
from largegan.viz.report import sections
from largegan.viz.report.contents import Run
from largegan.viz.report.curves import charts
from largegan.viz.report.strip import Album

HERE = Path(__file__).parent


def write_report(path: Path, runs: Sequence[Run], album: Album | None = None) -> None:
    """Writes the report of some runs, complete or not at all.

    `album` remembers pictures between reports of the same run. Raises `ConfigError` without plotly
    and `EnvironmentFault` for what the disk refuses.
    """
    text = page(runs, album or Album(len(runs)))
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def page(runs: Sequence[Run], album: Album) -> str:
    """The whole file."""
    title = escape(" and ".join(run.name for run in runs))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{MARK} {VERSION}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title} · {MARK}</title>
<style>
{(HERE / "page.css").read_text()}
</style>
</head>
<body>
{"".join(section(runs) for section in sections.ALL)}
<script type="application/json" id="data">{data(runs, album)}</script>
<script>
{(HERE / "page.js").read_text()}
</script>
<script>{plotly()}</script>
<script>drawAll();</script>
</body>
</html>
"""


def data(runs: Sequence[Run], album: Album) -> str:
    """What the script draws, as JSON that cannot end the element it stands in."""
    values = {
        "runs": [run.name for run in runs],
        "charts": [asdict(chart) for chart in charts(runs)],
        "bands": [
            {"run": i, "verdict": b.verdict, "title": b.title, "begin": b.begin,
             "end": run.nimg if b.end is None else b.end}
            for i, run in enumerate(runs) for b in run.bands
        ],
        "strips": [album.strip(run.pictures) for run in runs],
        "reals": [album.address(run.reals) if run.reals else None for run in runs],
    }  # fmt: skip
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


@cache
def plotly() -> str:
    """The JavaScript of the package `plotly`, which is not imported. Raises ConfigError."""
    found = find_spec("plotly")
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder) / "package_data" / "plotly.min.js"
        if file.is_file():
            return file.read_text(encoding="utf-8").replace("</script", "<\\/script")
    raise ConfigError("reports need plotly, which is not installed; pip install plotly")
