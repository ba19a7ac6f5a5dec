"""The table of docs/engines.md: every recipe under every engine, from what the tests saw.

LARGEGAN_WRITE_RESULTS=1 python -m pytest -n 0 tests/parallel/test_product.py   # sees it
python benchmarks/engines.py                                                     # writes the table

A test holds the page to the file, and the tests of the product hold the file to what they see.
"""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "engines.json"
PAGE = ROOT / "docs" / "engines.md"
BEGIN, END = "<!-- from benchmarks/results/engines.json -->", "<!-- end -->"


def table(cells: dict[str, dict[str, str]]) -> str:
    """Markdown: a row for each recipe; what does not train is numbered and said below."""
    engines = list(next(iter(cells.values())))
    lines = ["| recipe | " + " | ".join(engines) + " |", "|---" * (len(engines) + 1) + "|"]
    notes: list[str] = []
    for recipe, found in cells.items():
        marks = []
        for engine in engines:
            verdict = found.get(engine, "not tried")
            if verdict != "trains" and verdict not in notes:
                notes.append(verdict)
            marks.append("trains" if verdict == "trains" else f"({notes.index(verdict) + 1})")
        lines.append(f"| `{recipe}` | " + " | ".join(marks) + " |")
    lines += [f"\n({i}) {note}" for i, note in enumerate(notes, 1)]
    return "\n".join(lines)


def filled(page: str, text: str) -> str:
    """The page with `text` between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), table(json.loads(RESULTS.read_text())["cells"])))
