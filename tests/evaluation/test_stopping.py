"""A measured stop: by the score's own error, or by a number; kept where it is best; exit code 0."""

from types import SimpleNamespace

import pytest

from largegan import checkpoint, train
from largegan.evaluation import during_training
from largegan.run import history as log
from largegan.run.stopping import stalled
from tests.test_resume import arguments
from tests.tools.test_fid import tiny_extractor

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


def test_a_run_ends_well_and_stays_ended(tmp_path, monkeypatch, capsys):
    """Nothing is learned: three scores are enough; started again, it is still at its end."""
    monkeypatch.setattr(during_training, "open_extractor", lambda *a, **k: tiny_extractor())
    options = {
        "evaluate.every_nimg": 16,
        "evaluate.count": 30,
        "evaluate.reference_count": 40,
        "train.stop.metric": "fid",
        "train.stop.patience_nimg": 32,
        "data.labels": "false",
        "recipe.lr": 1e-9,
        "run.resume": "auto",
    }
    words = arguments("gan", tmp_path / "run", 10_000, **options)
    assert train.main(words) == 0
    said = capsys.readouterr().out
    assert "stopped at 48 images: FID has not improved" in said and "it is kept in" in said
    best = int(said.split(" at ")[2].split()[0])
    assert checkpoint.is_complete(tmp_path / "run" / "checkpoints" / f"{best:09d}")
    assert train.main(words) == 0
    assert "stopped at 48 images" in capsys.readouterr().out
    assert len(log.history(tmp_path / "run")) == 3


BAD = {
    "nothing is scored": ({}, "nothing is scored while training; set evaluate.every_nimg"),
    "another score": ({"train.stop.metric": "kid"}, "evaluate.metrics gives only fid"),
    "another is best": (
        {"train.stop.metric": "kid", "evaluate.metrics": "[fid,kid]"},
        "evaluate.best is fid; set both alike",
    ),
    "no error bars": ({"evaluate.error_bars": "false"}, "but fid is scored without one"),
    "no patience": ({"train.stop.patience_nimg": 0}, "train.stop.patience_nimg is 0"),
    "a negative gain": ({"train.stop.min_gain": -1}, "train.stop.min_gain is -1"),
    "a misspelling": ({"train.stop.metrik": "fid"}, "did you mean train.stop.metric?"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_refused_in_a_sentence(what, tmp_path, capsys):
    options, sentence = BAD[what]
    scored = {} if what == "nothing is scored" else {"evaluate.every_nimg": 16}
    options = {"train.stop.metric": "fid"} | scored | options
    assert train.main(arguments("gan", tmp_path / "run", 16, **options)) == 2
    assert sentence in capsys.readouterr().err
