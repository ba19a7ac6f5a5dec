"""Pages say what tests saw and benchmarks measured."""

import json

from benchmarks import engines, kills, memory
from largegan.parallel.reduce import BUCKET_BYTES

COPIES = {"fsdp2": 1, "zero3": 2}  # that a rank holds of its part of the weights
BUCKETS = 2 * BUCKET_BYTES  # DeepSpeed's, of two players


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


def test_bytes_of_each_rank_are_those_of_the_results():
    document = json.loads((memory.RESULTS / "memory.json").read_text())
    page = memory.PAGE.read_text()
    assert page == memory.published(page, document)
    for by_ranks in document["bytes"].values():
        whole = by_ranks["1"]["replicated"]
        for ranks, by_engine in by_ranks.items():
            for engine, found in by_engine.items():
                parts = [found[part] for part in ("weights", "gradients", "optimizer", "averages")]
                assert sum(parts) + found["buffers"] == found["between phases"]
                if engine in COPIES:
                    allowed = COPIES[engine] * whole["weights"] / int(ranks)
                    assert found["weights"] < 1.01 * allowed + BUCKETS


def test_what_does_not_train_is_said():
    cells = {"a": {"x": "trains", "y": "no, because"}, "b": {"x": "no, because"}}
    lines = engines.table(cells).splitlines()
    assert lines[2] == "| `a` | trains | (1) |" and lines[3] == "| `b` | (1) | (2) |"
    assert "(1) no, because" in lines and "(2) not tried" in lines
