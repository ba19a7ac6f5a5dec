"""Measures the house: long files, arguments, import chains, arrows between rooms, repeated blocks.

python -m tests.house            this tree, as rows of docs/architecture.md
python -m tests.house FOLDER     another tree, such as a worktree of an older commit
"""

import ast
import statistics
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

LONG = 300  # lines of a file
BLOCK = 6  # lines of code, the same in two places


def measure(root: Path) -> dict[str, str]:
    """What the table in docs/architecture.md shows, by its words."""
    files = sorted((root / "largegan").rglob("*.py"))
    edges = imports(root, files)
    arguments = sorted(argument_counts(files))
    rooms = {(room(a), room(b)) for a, found in edges.items() for b in found}
    long = [f for f in files if len(f.read_text().splitlines()) > LONG]
    programs = [f for f in (root / "tools").glob("*.py")]
    return {
        "files in the package": str(len(files)),
        f"files over {LONG} lines": str(len(long)),
        "arguments, 90th percentile and most": (
            f"{statistics.quantiles(arguments, n=10)[-1]:.0f} and {arguments[-1]}"
        ),
        "longest import chain from train": str(depth(edges, "largegan.train")),
        "rooms": str(len({room(name) for name in edges})),
        "arrows between rooms": str(len({(a, b) for a, b in rooms if a != b})),
        f"pairs of equal blocks of {BLOCK} lines and more": str(repeated([*files, *programs])),
    }


def argument_counts(files: list[Path]) -> list[int]:
    """Arguments of every function, without self and cls."""
    counts = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                a = node.args
                names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
                counts.append(len([n for n in names if n not in ("self", "cls")]))
    return counts


def module(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def imports(root: Path, files: list[Path]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, also within functions."""
    names = {module(root, file) for file in files}
    edges: dict[str, set[str]] = defaultdict(set)
    for file in files:
        me = module(root, file)
        edges[me] |= set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                deep = {f"{node.module}.{alias.name}" for alias in node.names} & names
                found = deep or {node.module}
            else:
                continue
            edges[me] |= (found & names) - {me}
    return edges


def depth(edges: dict[str, set[str]], start: str) -> int:
    """Modules on the longest way along imports; a cycle is walked once."""

    @cache
    def longest(name: str) -> int:
        if name in walking:
            return 0
        walking.add(name)
        found = 1 + max((longest(other) for other in sorted(edges.get(name, ()))), default=0)
        walking.discard(name)
        return found

    walking: set[str] = set()
    return longest(start)


def repeated(files: list[Path]) -> int:
    """Pairs of places with the same block; longer blocks count once, as do imports never."""
    places = defaultdict(list)
    for file in files:
        text = file.read_text()
        imported = {
            number
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for number in range(node.lineno, node.end_lineno + 1)
        }
        lines = enumerate((line.strip() for line in text.splitlines()), 1)
        code = [line for n, line in lines if line and line[0] != "#" and n not in imported]
        for i in range(len(code) - BLOCK + 1):
            places["\n".join(code[i : i + BLOCK])].append((file, i))
    pairs = set()
    for found in places.values():
        for n, (a, i) in enumerate(found):
            pairs |= {(a, i, b, j) for b, j in found[n + 1 :] if a != b or j >= i + BLOCK}
    return len([p for p in pairs if (p[0], p[1] - 1, p[2], p[3] - 1) not in pairs])


if __name__ == "__main__":
    for words, figure in measure(Path(*sys.argv[1:2] or [Path(__file__).parents[1]])).items():
        print(f"| {words} | {figure} |")
