"""A run as a person starts it: signals in its log, verdicts said once, the same after a resume."""

import filecmp
import json
from pathlib import Path

import pytest

from largegan.files.lines import read_lines
from largegan.health.records import merged, read_notices
from largegan.health.signals import PREFIX, SIGNALS
from largegan.train import main
from tests.forked import run_ranks
from tests.test_resume import arguments

OPTIONS = {
    "train.batch_size": 4,
    "health.look_every_nimg": 16,
    "health.look_count": 16,
    "data.held_out": 40,
    "train.log_every_nimg": 32,
    "train.save_every_nimg": 160,
    "train.sample_every_nimg": 10_000,
    "recipe.g_lr": 1e-9,  # samples stand still
}


def start(folder: Path, total_nimg: int, **options) -> int:
    return main(arguments("gan", folder, total_nimg, **(OPTIONS | options)))


def signals(folder: Path) -> list[dict]:
    return [
        {key: value for key, value in line.items() if key.startswith((PREFIX, "nimg"))}
        for line in merged(read_lines(folder / "metrics.jsonl"))
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health") / "whole"
    assert start(folder, 320) == 0
    return folder


def test_a_run_says_how_it_is(whole):
    """Every signal of the table that a recipe without spectral norm and classes can have."""
    seen = {key for line in signals(whole) for key in line}
    assert set(SIGNALS) - seen == {"health/singular_max", "health/diversity_worst_class"}


def test_an_illness_is_written_once(whole):
    notices = read_notices(whole)
    mine = [n for n in notices if n.verdict == "no_progress"]
    assert [n.state for n in mine] == ["begins"]
    assert {"recipe.g_lr": 4e-9} in [one.settings for one in mine[0].remedies]


def test_a_run_without_signals_trains_to_the_same_bytes(whole, tmp_path):
    assert start(tmp_path / "silent", 320, **{"health.signals": "false"}) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        files = [f / "checkpoints" / "000000320" / name for f in (whole, tmp_path / "silent")]
        assert filecmp.cmp(*files, shallow=False), name
    lines = (tmp_path / "silent" / "metrics.jsonl").read_text()
    assert "health/auc" not in lines and "health/skipped_steps" in lines


def test_signals_and_verdicts_are_the_same_across_a_resume(whole, tmp_path):
    folder = tmp_path / "cut"
    assert start(folder, 160) == 0
    assert start(folder, 320, **{"run.resume": "auto"}) == 0
    last = {"health/diversity", "health/duplicates"}  # of the look at the first part's end
    assert [line for line in signals(folder) if line["nimg"] != 160 or not last & line.keys()] == [
        line for line in signals(whole) if line["nimg"] != 160 or not last & line.keys()
    ]
    assert read_notices(folder) == read_notices(whole)


BAD = {
    "more than there are": ({"data.held_out": 1633}, "leaves none to train on; hold out fewer"),
    "none": ({"data.held_out": 0}, "data.held_out is 0; it must be a whole number of at least 1"),
    "no samples": ({"health.look_count": 0}, "health.look_count is 0"),
    "an unknown setting": ({"health.looks": 3}, "there is no setting health.looks"),
    "streamed data": ({"data.mode": "stream"}, "streamed shards cannot be picked from"),
    "a probability": ({"recipe.label_flip": 1.5}, "recipe.label_flip is 1.5; it must be"),
    "dropping all": ({"recipe.d_dropout": 1}, "recipe.d_dropout is 1; it must be"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_refused_in_a_sentence(what, tmp_path, capsys):
    options, sentence = BAD[what]
    assert start(tmp_path / "bad", 8, **options) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_other_held_out_examples_are_other_data(whole, capsys):
    assert start(whole, 328, **{"run.resume": "auto", "data.held_out": 50}) != 0
    assert "data" in capsys.readouterr().err


def test_nothing_of_a_line_is_hidden(whole):
    """JSON numbers only: a NaN would not be one."""
    for line in (whole / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.slow
def test_two_processes_say_what_one_says(tmp_path):
    """The same signals but for the order of sums, and the same verdicts."""
    options = OPTIONS | {"train.micro_batch_size": 2}
    alone, shared = (arguments("gan", tmp_path / name, 320, **options) for name in ("one", "two"))
    assert main(alone) == 0
    run_ranks(["-m", "largegan.train", *shared, "--parallel.processes", "2"], world=2)
    one, two = signals(tmp_path / "one"), signals(tmp_path / "two")
    assert [line.keys() for line in one] == [line.keys() for line in two]
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, rel=2e-3, abs=2e-3)
    said = [
        [(n.verdict, n.state, n.nimg) for n in read_notices(tmp_path / name)]
        for name in ("one", "two")
    ]
    assert said[0] == said[1] and said[0]
