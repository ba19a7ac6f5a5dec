"""Pages say what tests saw and benchmarks measured."""

import json

import pytest

from benchmarks import checkpoint_pause, engines, kills, memory


def test_the_table_is_that_of_the_results():
    page = engines.PAGE.read_text()
    assert page == engines.filled(
        page, engines.table(json.loads(engines.RESULTS.read_text())["cells"])
    )


def test_kills_are_those_of_the_results():
    document = json.loads((kills.RESULTS / "kills.json").read_text())
    page = kills.PAGE.read_text()
    assert page == kills.published(page, document)
    assert kills.summary(document["cases"]).items() <= document.items()


def test_the_pause_of_a_checkpoint_is_that_of_the_results():
    document = json.loads(checkpoint_pause.RESULTS.read_text())
    page = checkpoint_pause.PAGE.read_text()
    assert page == checkpoint_pause.published(page, document)
    assert document["machine"] in page and all(f"| {m} MiB |" in page for m in document["by_mib"])


def test_bytes_of_each_rank_are_those_of_the_results():
    document = json.loads((memory.RESULTS / "memory.json").read_text())
    page = memory.PAGE.read_text()
    assert page == memory.published(page, document)
    for title, by_ranks in document["bytes"].items():
        whole, players = by_ranks["1"]["replicated"], document["players"][title]
        for ranks, by_engine in by_ranks.items():
            for engine, found in by_engine.items():
                rule = memory.computed(whole, players, int(ranks), engine)
                assert {key: found[key] for key in rule} == pytest.approx(rule, rel=0.01, abs=2**20)


def test_what_does_not_train_is_said():
    cells = {"a": {"x": "trains", "y": "no, because"}, "b": {"x": "no, because"}}
    lines = engines.table(cells).splitlines()
    assert lines[2] == "| `a` | trains | (1) |" and lines[3] == "| `b` | (1) | (2) |"
    assert "(1) no, because" in lines and "(2) not tried" in lines
