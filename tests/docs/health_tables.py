"""The tables of docs/health.md, from those of the package: `python -m tests.docs.health_tables`."""

from pathlib import Path

from largegan.health.signals import SIGNALS, Signal, short
from largegan.health.verdicts import VERDICTS

PAGE = Path(__file__).parents[2] / "docs" / "health.md"
END = "<!-- end -->"


def signals() -> str:
    """A row for each signal: its name, what it says, its range."""
    rows = [f"| `{name}` | {row.meaning} | {span(row)} |" for name, row in SIGNALS.items()]
    return "\n".join(["| signal | what it says | range |", "|---|---|---|", *rows])


def span(row: Signal) -> str:
    """The range in words."""
    if row.low is None:
        return "any number"
    return f"{row.low:g} or more" if row.high is None else f"{row.low:g} to {row.high:g}"


def verdicts() -> str:
    """A row for each verdict: its name, what it looks at, how long it has to last."""
    rows = [
        f"| `{name}` | {row.title} | {', '.join(map(short, row.needs))} | {row.lasts} |"
        for name, row in VERDICTS.items()
    ]
    head = "| verdict | says | of these signals | lines in a row |"
    return "\n".join([head, "|---|---|---|---|", *rows])


TABLES = {"signals": signals, "verdicts": verdicts}


def filled(page: str) -> str:
    """The page with both tables between their marks."""
    for name, table in TABLES.items():
        begin = f"<!-- from largegan/health/{name}.py -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table()}\n{END}{rest.split(END, 1)[1]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
