"""The inner order of the room: short chains of imports, no circle, folders that know few others."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_MODULES = 6  # one below the other, `largegan.ops` and `largegan.errors` among them
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [*(ROOT / "largegan" / "ops").rglob("*.py"), ROOT / "largegan" / "errors.py"]
}
FOLDERS = {path.parent.name for path in (ROOT / "largegan" / "ops").glob("*/reference.py")}


@cache
def imported(name: str) -> frozenset[str]:
    """Modules of the room, and `errors`, that a module imports anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= inner or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found & set(FILES))


def longest(name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The longest chain of imports that begins there."""
    assert name not in above, f"a circle: {' > '.join((*above, name))}"
    chains = [longest(other, (*above, name)) for other in sorted(imported(name))]
    return (name, *max(chains, key=len, default=()))


def test_no_chain_is_long_and_none_is_a_circle():
    chain = longest("largegan.ops")
    assert len(chain) <= MOST_MODULES, " > ".join(chain)
    for name in FILES:
        longest(name)


def test_specifications_know_specifications_and_records_alone():
    """No operator, no kernel, no runtime: they are PyTorch's operations."""
    for folder in FOLDERS:
        below = set()
        for name in reach(f"largegan.ops.{folder}.reference"):
            below.add(name.removeprefix("largegan.ops.").rpartition(".")[2])
        assert below <= {"reference", "filter", "activations", "constants", "leaky"}, folder


def reach(name: str) -> set[str]:
    """A module and all that it imports, directly or not."""
    return {name}.union(*(reach(other) for other in imported(name)))


def test_folders_do_not_know_the_loader():
    """Plans are handed to the backend, so that an op can be tried without a GPU."""
    for name in FILES:
        if name.split(".")[2:3] and name.split(".")[2] in FOLDERS:
            known = {other.rpartition(".")[2] for other in imported(name)}
            assert not known & {"loader", "driver", "cubins", "nvrtc"}, name
