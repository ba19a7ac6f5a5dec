"""The fuzzer, for a few seconds; `python benchmarks/fuzz.py --minutes N` goes on."""

import importlib
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("fuzz")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_three_inputs_of_every_kind(fuzz):
    """In a process of its own: the limit of memory counts what the tests before have left."""
    kinds = importlib.import_module("fuzz_kinds").KINDS
    count = 3 * sum(kind.share for kind in kinds.values())
    words = [sys.executable, fuzz.__file__, "--count", str(count), "--seed", "20"]
    answer = subprocess.run(words, capture_output=True, text=True)
    assert answer.returncode == 0 and f"{count} inputs" in answer.stdout, answer.stdout


def test_what_goes_wrong_is_counted(fuzz, tmp_path, monkeypatch, capsys):
    """A reader that does each of the harms once."""
    kinds = importlib.import_module("fuzz_kinds")

    def read(data: bytes, place, random: Random) -> None:
        place.put({"a": data})
        harm = random.choice((raises, starts, changes, writes))
        harm(place)

    def raises(place) -> None:
        raise KeyError("x")

    def starts(place) -> None:
        subprocess.run(["true"], check=True)

    def changes(place) -> None:
        (place.mine / "a").write_bytes(b"other")

    def writes(place) -> None:
        (tmp_path / "elsewhere").write_text("x")

    bad = {"bad": kinds.Kind(lambda: [b"abc"], read)}
    monkeypatch.setattr(kinds, "KINDS", bad)
    assert fuzz.main(["--count", "20", "--seed", "1"]) == 1
    said = capsys.readouterr().out
    for what in ("traceback", "started", "outside"):
        assert f"'{what}': 0" not in said, said


def test_an_input_is_a_function_of_its_number(fuzz):
    kinds = importlib.import_module("fuzz_kinds").KINDS
    for name in ("zip", "tar", "states", "settings", "weights"):
        row = kinds[name]
        made = []
        for _ in range(2):
            random = Random(f"0 {name} 7")
            made.append(row.spoil(random.choice(row.samples()), random))
        assert made[0] == made[1]
