"""The page about engines says what the tests saw."""

import json

from benchmarks import engines


def test_the_table_is_that_of_the_results():
    page = engines.PAGE.read_text()
    assert page == engines.filled(
        page, engines.table(json.loads(engines.RESULTS.read_text())["cells"])
    )


def test_what_does_not_train_is_said():
    cells = {"a": {"x": "trains", "y": "no, because"}, "b": {"x": "no, because"}}
    lines = engines.table(cells).splitlines()
    assert lines[2] == "| `a` | trains | (1) |" and lines[3] == "| `b` | (1) | (2) |"
    assert "(1) no, because" in lines and "(2) not tried" in lines
