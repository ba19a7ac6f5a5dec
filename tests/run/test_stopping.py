"""A measured stop: by the score's own error, or by a number; kept where it is best; exit code 0."""

from types import SimpleNamespace

import pytest

from largegan.run.stopping import stalled

FID = "score/fid"


def history(scores: list[float], error: float = 0.5, metric: str = "fid") -> list[dict]:
    return [
        {"nimg": 100 * (i + 1), f"score/{metric}": score, f"score/{metric}_error": error}
        for i, score in enumerate(scores)
    ]


def stop(metric: str | None = "fid", patience: int = 300, gain="error_bars") -> SimpleNamespace:
    return SimpleNamespace(metric=metric, patience_nimg=patience, min_gain=gain)


CASES = {
    # scores, min_gain, images at which the last score that counted as better was, or None: goes on
    "still falling": ([9, 8, 7, 6, 5, 4], "error_bars", None),
    "flat": ([9, 5, 5, 5, 5], "error_bars", 200),
    "within its error": ([9, 5, 4.9, 4.8, 4.7], "error_bars", 200),
    "slowly, by steps that add up": ([9, 5, 4.8, 4.6, 4.4, 4.2], "error_bars", None),
    "by more than its error": ([9, 5, 5, 4.4, 4.4], "error_bars", None),
    "worse": ([9, 5, 6, 7, 8], "error_bars", 200),
    "a number": ([9, 5.5, 5.2, 5.1, 5.05], 4.0, 100),
    "any gain counts": ([9, 5, 4.99, 4.98, 4.97], 0.0, None),
    "one score": ([9], "error_bars", None),
    "none": ([], "error_bars", None),
}


@pytest.mark.parametrize("what", CASES)
def test_a_run_ends_when_its_score_stands_still(what):
    scores, gain, since = CASES[what]
    found = stalled([{"nimg": 50}, *history(scores)], stop(gain=gain))
    assert (found and found.since_nimg) == since
    if found:
        assert found.best == min(scores)
        assert f"the best was {min(scores):.4g} at {found.best_nimg} images" in found.sentence()


def test_where_more_is_better():
    rising = history([0.1, 0.2, 0.3, 0.4, 0.5], metric="precision")
    flat = history([0.5, 0.5, 0.4, 0.5, 0.5], metric="precision")
    assert stalled(rising, stop("precision", gain=0.05)) is None
    assert stalled(flat, stop("precision", gain=0.05)).best == 0.5


def test_without_a_metric_nothing_ends():
    assert stalled(history([5] * 50), stop(None)) is None
