"""Verdicts on windows of numbers: found where they are, not where they are not, begun and ended."""

import json

import pytest

from largegan.errors import DataError
from largegan.files.lines import read_lines
from largegan.health.diagnosis import Diagnosis, sentence
from largegan.health.records import Notice, merged, read_notices, still_there
from largegan.health.remedies import REMEDIES
from largegan.health.signals import SIGNALS
from largegan.health.verdicts import VERDICTS

# A generator that learns while the discriminator is a little ahead.
WELL = {
    "health/score_real": 0.7,
    "health/score_fake": 0.35,
    "health/score_d": 0.675,
    "health/score_g": 0.35,
    "health/accuracy_real": 0.8,
    "health/accuracy_fake": 0.78,
    "health/auc": 0.85,
    "health/logit_spread": 2.0,
    "health/grad_norm_d": 1.0,
    "health/grad_norm_g": 1.0,
    "health/skipped_steps": 0,
    "health/accuracy_seen": 0.8,
    "health/accuracy_held_out": 0.75,
    "health/overfit": 0.1,
    "health/diversity": 0.9,
    "health/duplicates": 0.02,
    "health/copies": 0.01,
    "health/coverage": 0.8,
    "health/distance": 0.5,
}
FOOLED = {"health/score_fake": 0.95, "health/accuracy_fake": 0.05, "health/auc": 0.1}
BEATEN = {
    "health/score_real": 0.99,
    "health/score_fake": 0.01,
    "health/score_d": 0.99,
    "health/grad_norm_d": 1e-3,
    "health/accuracy_real": 1.0,
    "health/accuracy_fake": 1.0,
    "health/auc": 1.0,
}
# What each illness looks like, beside numbers of a healthy run that stands still.
ILL = {
    "discriminator_dominates": BEATEN,
    "generator_dominates": FOOLED,
    "mode_collapse": {"health/diversity": 0.1, "health/duplicates": 0.9},
    "discriminator_overfits": {
        "health/overfit": 0.9,
        "health/accuracy_seen": 0.95,
        "health/accuracy_held_out": 0.3,
    },
    "memorises": {"health/copies": 0.6},
    "diverges": {"health/logit_spread": 1e5},
    "random_feedback": {"health/auc": 0.5},
    "no_progress": {},
}


def lines(changes: dict, count: int, *, first: int = 1, falls: float = 0.9) -> list[dict]:
    """Log lines 1,000 images apart, in which the distance to real images falls by a factor."""
    return [
        WELL | {"nimg": 1000 * n, "health/distance": 0.9 * falls**n} | changes
        for n in range(first, first + count)
    ]


def notices(diagnosis: Diagnosis, many: list[dict]) -> list[Notice]:
    return [notice for line in many for notice in diagnosis.add(line)]


def test_the_tables_agree():
    assert set(VERDICTS) == set(REMEDIES) == set(ILL)
    assert {key for row in VERDICTS.values() for key in row.needs} <= set(SIGNALS)


def test_a_run_that_learns_is_well():
    assert notices(Diagnosis({}), lines({}, 30)) == []


def test_the_start_is_no_illness():
    """One picture for every latent, a discriminator without an error: so everything begins."""
    one = {"health/diversity": 0.05, "health/duplicates": 1.0, "health/grad_norm_d": 0.5}
    start = BEATEN | one
    assert notices(Diagnosis({}), lines(start, 20)) == []


def test_one_lucky_look_is_no_mode_to_lose():
    """Coverage that was seen once was luck; that was there three times and is lost, an illness."""
    for lucky, said in ((1, []), (3, ["mode_collapse"])):
        many = [*lines({"health/coverage": 0.3}, 3)]
        many += lines({"health/coverage": 0.9}, lucky, first=4)
        many += lines({"health/coverage": 0.3}, 3, first=4 + lucky)
        assert [n.verdict for n in notices(Diagnosis({}), many)] == said


@pytest.mark.parametrize("name", VERDICTS)
def test_an_illness_begins_once_and_ends_once(name):
    """Within 24 lines, said with numbers that are among the signals, and no longer when it ends."""
    diagnosis = Diagnosis({"recipe.lr": 1e-3})
    notices(diagnosis, lines({}, 3))
    begun = [n for n in notices(diagnosis, lines(ILL[name], 24, first=4, falls=1.0))]
    mine = [n for n in begun if n.verdict == name]
    assert [n.state for n in mine] == ["begins"]
    assert 4000 <= mine[0].since_nimg <= mine[0].nimg <= 27_000
    assert 0.5 <= mine[0].confidence <= 1
    assert mine[0].evidence and set(mine[0].evidence) <= set(SIGNALS)
    assert VERDICTS[name].title in sentence(mine[0])
    ended = notices(diagnosis, lines({}, 24, first=28, falls=0.8))
    assert [n.state for n in ended if n.verdict == name] == ["ends"]


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("cut", [5, 21])
def test_verdicts_are_a_function_of_the_log(name, cut):
    """A run that goes on after reading its log says what it would have said."""
    many = lines({}, 3) + lines(ILL[name], 24, first=4, falls=1.0)
    whole = Diagnosis({})
    said = [whole.add(line) for line in many]
    resumed = Diagnosis({})
    resumed.replay(merged(json.loads(json.dumps(many[:cut]))))
    assert [resumed.add(line) for line in many[cut:]] == said[cut:]


def test_signals_of_one_moment_are_one_line():
    """A log has them on several lines; other lines between say nothing of health."""
    parts = [
        {"nimg": 5, "health/auc": 0.5},
        {"nimg": 6, "mean": 4.0},
        {"nimg": 5, "score/fid": 9.0},
    ]
    assert merged(parts) == [
        {"nimg": 5, "health/auc": 0.5, "score/fid": 9.0},
        {"nimg": 6, "mean": 4.0},
    ]


def test_skipped_steps_diverge():
    bad = [line | {"health/skipped_steps": 4 * n} for n, line in enumerate(lines({}, 4))]
    found = notices(Diagnosis({}), bad)
    assert [(n.verdict, n.confidence) for n in found] == [("diverges", 1.0)]


def test_notices_are_read_as_they_were_written(tmp_path):
    diagnosis = Diagnosis({"recipe.lr": 1e-3, "recipe.label_flip": 0.0})
    many = lines({}, 3) + lines(BEATEN, 24, first=4, falls=1.0)
    said = notices(diagnosis, many + lines({}, 24, first=28, falls=0.8))
    assert {n.state for n in said} == {"begins", "ends"} and any(n.remedies for n in said)
    event = {"event": "skipped_step", "nimg": 3}
    rows = [json.dumps(event), *(json.dumps(n.line()) for n in said), '{"nimg": 9, "verd']
    (tmp_path / "health.jsonl").write_text("\n".join(rows))
    assert read_notices(tmp_path) == said and still_there(said) == []
    assert read_notices(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "text", ['{"nimg": 1, "verdict": 3}\n', "nonsense\n", "[1]\n", '{"verdict": "x", "nimg": -1}\n']
)
def test_a_damaged_line_is_named(tmp_path, text):
    (tmp_path / "health.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"health.jsonl, line 1,"):
        read_notices(tmp_path)
    with pytest.raises(DataError, match=r"health.jsonl, line 1,"):
        read_notices(tmp_path)


def test_numbers_that_are_none_are_no_news():
    """A log may hold them; no verdict sees them."""
    bad = [line | {"health/distance": float("nan")} for line in lines(ILL["no_progress"], 20)]
    assert notices(Diagnosis({}), bad) == []


def test_an_unfinished_last_line_is_left_out(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"nimg": 1, "loss": NaN}\n')
    assert len(read_lines(tmp_path / "odd.jsonl")) == 1
    (tmp_path / "metrics.jsonl").write_text('{"nimg": 1}\n{"nimg": 2')
    assert read_lines(tmp_path / "metrics.jsonl") == [{"nimg": 1}]
