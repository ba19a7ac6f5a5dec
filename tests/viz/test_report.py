"""Reports: curves that lose no peak, pages that stay small, and sentences for bad directories."""

import contextlib
import json
import math
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from largegan.commands import main as largegan
from largegan.errors import ConfigError, DataError
from largegan.metrics.features import Backbone
from largegan.run.story import tell, tell_all
from largegan.viz.report import curves, page, strip
from largegan.viz.report.contents import Score
from tests.docs.pages import largegan_words
from tests.viz.made_runs import EVERY, made_run, write_lines

MIB = 1 << 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return made_run(folder / "one"), made_run(folder / "two", lines=60, ill=False, seed=9)


def data_of(text: str) -> dict:
    """What the script of a page draws."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def written(folder: Path) -> str:
    """The report that the command writes."""
    assert largegan(["report", str(folder)]) == 0
    return (folder / "report.html").read_text()


@pytest.mark.parametrize("count", [1, 7, 299, 5000, 5003])
@pytest.mark.parametrize("buckets", [20, 300])
def test_fewer_points_lose_no_peak(count, buckets):
    y = np.random.default_rng(count).normal(size=count)
    y[count // 3] = 1e3
    x = np.arange(count) * 10
    if count < buckets:
        return
    middle, mean, low, high = curves.thinned(x, y, np.zeros(count), buckets)
    assert len(middle) == buckets and middle == sorted(middle)
    assert max(high) == 1e3 and math.isclose(min(low), y.min(), rel_tol=1e-4)
    assert all(a <= b <= c for a, b, c in zip(low, mean, high, strict=True))
    each = [(count * (i + 1)) // buckets - (count * i) // buckets for i in range(buckets)]
    total = sum(m * n for m, n in zip(mean, each, strict=True))
    assert total == pytest.approx(y.sum(), rel=1e-3)


def test_a_number_that_is_none_leaves_a_gap():
    x, y = np.arange(1000), np.ones(1000)
    y[500] = math.nan
    _, mean, low, _ = curves.thinned(x, y, np.zeros(1000), 100)
    assert mean.count(None) == low.count(None) == 1
    columns = curves.columns_of([{"nimg": 1, "a": 1.0}, {"nimg": 2, "a": None}, {"nimg": 3}])
    assert columns["a"][0] == [1, 2] and curves.plain(columns["a"][1]) == [1.0, None]


NAMES = [
    "nimg", "step", "G.adv/loss", "G.adv/grad_norm", "D.r1/penalty", "D.adv/loss",
    "speed/img_per_s", "time/G.adv_s_per_kimg", "time/data_s_per_kimg", "speed/data_wait",
    "memory/gib", "score/fid",
    "score/fid_error", "health/score_real", "health/score_fake", "health/auc", "mean",
    "health/diversity/3", "time/elapsed_s",
]  # fmt: skip


def test_every_number_that_says_something_is_in_one_chart():
    plans = curves.plan(NAMES, [Score("score/fid", "FID", "score/fid_error", "lower")])
    shown = [name for plan in plans for name in plan.names]
    left_out = {"nimg", "step", "score/fid_error", "time/elapsed_s"}
    assert sorted(shown) == sorted(set(NAMES) - left_out)
    titles = [plan.title for plan in plans]
    assert titles[0] == "FID" and len(set(titles)) == len(titles)
    together = next(plan for plan in plans if "health/score_real" in plan.names)
    assert "health/score_fake" in together.names and "health/auc" not in together.names


def test_a_page_of_ten_thousand_lines_and_many_pictures_is_small(tmp_path):
    text = written(made_run(tmp_path / "big", lines=10_000, pictures=12, side=540))
    data = data_of(text)
    moments = [nimg for nimg, _ in data["strips"][0]]
    assert moments == [i * 10_000 * EVERY // 12 for i in range(12)]
    room_of_others = (strip.MOST + 2 - len(moments)) * strip.Album().most_bytes * 4 / 3
    assert len(text.encode()) + room_of_others < 8 * MIB
    points = [len(curve["x"]) for chart in data["charts"] for curve in chart["curves"]]
    assert max(points) <= 2 * curves.MOST_BUCKETS and len(points) > 20


def test_pictures_shrink_until_they_fit():
    noise = np.random.default_rng(0).integers(0, 255, (900, 1400, 3), dtype=np.uint8)
    for most in (20_000, 200_000):
        data = strip.small(Image.fromarray(noise), most)
        assert 0 < len(data) <= most


@pytest.mark.parametrize("count", [0, 1, 2, 40, 41, 81, 1000])
def test_moments_are_spread_evenly_with_the_first_and_the_last(count):
    items = [object() for _ in range(count)]
    chosen = strip.evenly(items)
    assert len(chosen) <= strip.MOST + 1
    assert chosen[:1] == items[:1] and chosen[-1:] == items[-1:]
    assert len(set(map(id, chosen))) == len(chosen)


def test_a_page_fetches_nothing_and_cannot_be_broken_by_words(runs):
    text = written(runs[0])
    own = text.replace(page.plotly(), "")
    assert not re.search(r'(src|href)="(?!data:)', own) and "http" not in own
    assert "</script><b>" not in own, "a sentence of a verdict does not end the script"
    assert "&lt;loss&gt; is nan" in own


def test_what_differs_from_the_defaults_comes_first(runs):
    found = {s.name: s for s in tell(runs[0]).settings}
    changed = {name for name, setting in found.items() if setting.changed}
    assert changed == {"train.total_nimg", "train.batch_size"}
    assert sum(name.startswith("recipe.") for name in found) > 5
    text = written(runs[0])
    assert text.index("train.batch_size") < text.index("settings as they come")


def test_verdicts_with_evidence_and_remedies_as_options(runs):
    text = unescape(written(runs[0]))
    assert "--recipe.d_lr 0.0001" in text and "a slower discriminator" in text
    assert "auc 0.98" in text and "from 5,000 to 20,000 images" in text
    bands = data_of(text)["bands"]
    assert [(b["verdict"], b["begin"], b["end"]) for b in bands] == [
        ("discriminator_dominates", 5_000, 20_000),
        ("mode_collapse", 21_000, 40_000),
    ]


def test_a_distance_of_another_network_is_called_by_its_name(tmp_path):
    run = made_run(tmp_path / "a", lines=4, pictures=0)
    assert tell(run).scores[0].title == "FID"
    about = Backbone("efficientnet_lite0", "0" * 64, 1280, 224).as_dict()
    (run / "scores.json").write_text(json.dumps({"backbone": about}))
    assert tell(run).scores[0].title == "FD-efficientnet_lite0"
    (run / "scores.json").write_text('{"backbone": 3}')
    assert tell(run).scores[0].title == "FID"


def test_commands_to_go_on_are_commands(runs):
    """They parse; the first one is of training, with as many processes as there were."""
    words = dict(tell(runs[0]).commands)
    assert "--num_processes 2" in words["go on"]
    for command in words.values():
        assert largegan_words(command), command
    assert f"{runs[0]}/checkpoints/000040000" in words["draw from the best one"]
    assert f"--to {20 * EVERY}" in words["go back to 20,000 images"]


def test_two_runs_side_by_side(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert largegan(["report", *map(str, runs)]) == 0
    data = data_of(Path("report.html").read_text())
    assert data["runs"] == ["one", "two"] and [len(s) for s in data["strips"]] == [5, 5]
    labels = [[c["label"] for c in chart["curves"]] for chart in data["charts"]]
    assert all(set(names) <= {"one", "two"} for names in labels)
    assert len(Path("report.html").read_bytes()) < 8 * MIB
    again = ["report", *map(str, runs), "--out", "both.html"]
    assert largegan(again) == 0 and largegan(again) == 0, "a report takes the place of a report"
    Path("mine.html").write_text("<p>mine</p>")
    assert largegan(["report", str(runs[0]), "--out", "mine.html"]) == 2
    assert Path("mine.html").read_text() == "<p>mine</p>"


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    other = made_run(tmp_path / "one", lines=4, pictures=0)
    assert [run.name for run in tell_all([runs[0], other])] == [str(runs[0]), str(other)]


def test_a_run_that_has_just_begun(tmp_path):
    run = made_run(tmp_path / "a", lines=1, pictures=0, ill=False)
    (run / "metrics.jsonl").unlink()
    (run / "env.json").write_text("{")
    text = written(run)
    assert "go on" in text and data_of(text)["charts"] == []


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path):
    run = made_run(tmp_path / "a", lines=8)
    with open(run / "metrics.jsonl", "a") as log:
        log.write('{"nimg": 9000, "st')
    assert tell(run).lines[-1]["nimg"] == 8 * EVERY


def breaks(name: str, text: str | bytes):
    def do(run: Path) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (run / name).write_bytes(data)

    return do


def lost(run: Path) -> None:
    (run / "config.yaml").unlink()


DAMAGE = {
    "no config": (lost, 2, "holds no run"),
    "config of somebody else": (breaks("config.yaml", "a: 1\n"), 3, "not the configuration of a"),
    "config cut short": (breaks("config.yaml", "run: {"), 3, "is no YAML"),
    "config of bytes": (breaks("config.yaml", b"\x00\xff\x01"), 3, "config.yaml is no"),
    "words for a number": (
        breaks("config.yaml", "recipe: {name: gan}\ndata: {}\ntrain: {total_nimg: many}\n"),
        3, "train.total_nimg or evaluate.best is wrong",
    ),
    "log of words": (breaks("metrics.jsonl", "hello\n"), 3, "metrics.jsonl, line 1, is no line"),
    "log of lists": (breaks("metrics.jsonl", "[1]\n"), 3, "metrics.jsonl, line 1, is no line"),
    "log without images": (breaks("metrics.jsonl", '{"a": 1}\n'), 3, "does not say after how many"),
    "images of words": (breaks("metrics.jsonl", '{"nimg": "1"}\n'), 3, "line 1, does not say"),
    "verdict without facts": (
        breaks("health.jsonl", '{"nimg": 1, "verdict": "x"}\n'), 3, "line 1, holds no verdict",
    ),
}  # fmt: skip


WEIRD = [None, True, "word", [1], {"a": [1]}, -1, 10**400, math.nan, math.inf, 1e308, ""]
PLACES = [
    "score/fid", "score/fid_error", "score/fid/3", "score/nonsense", "speed/img_per_s", "a.b/c",
    "memory/gib", "health/skipped_steps", "health/auc", "", "</script>",
]  # fmt: skip


@pytest.fixture(scope="module")
def bent(tmp_path_factory) -> Path:
    """A run whose files a test may change, if it puts them back."""
    return made_run(tmp_path_factory.mktemp("bent") / "run", lines=2, pictures=0)


@pytest.mark.parametrize("value", WEIRD, ids=lambda value: repr(value)[:9])
def test_no_value_of_a_log_breaks_a_report(value, bent):
    """All numbers that can be shown are, and what cannot is left out or leaves a gap."""
    path = bent / "metrics.jsonl"
    kept = path.read_text()
    each = [{"nimg": 2000, place: value} for place in PLACES]
    more = [*each, {"nimg": 2000, **dict.fromkeys(PLACES, value)}]
    path.write_text(kept + "".join(json.dumps(line) + "\n" for line in more))
    try:
        assert data_of(page.page([tell(bent)], strip.Album()))["charts"]
    finally:
        path.write_text(kept)


CONFIG_PLACES = ["recipe.name", "recipe.lr", "data.path", "train.total_nimg", "evaluate.best"]


@pytest.mark.parametrize("place", [*CONFIG_PLACES, "recipe", "data", "train", "evaluate", "log"])
def test_no_value_of_a_configuration_breaks_a_report(place, bent):
    path = bent / "config.yaml"
    kept = path.read_text()
    group, _, key = place.partition(".")
    try:
        for value in [*WEIRD, "&x {a: *x}"]:
            content = yaml.safe_load(kept)
            (content[group] if key else content)[key or group] = value
            path.write_text(yaml.safe_dump(content).replace("'&x {a: *x}'", "&x {a: *x}"))
            with contextlib.suppress(ConfigError, DataError):
                assert "go on" in page.page([tell(bent)], strip.Album())
    finally:
        path.write_text(kept)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_sentence_and_writes_nothing(kind, tmp_path, capsys):
    do, code, says = DAMAGE[kind]
    run = made_run(tmp_path / "a", lines=4, pictures=1)
    do(run)
    assert largegan(["report", str(run)]) == code
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (run / "report.html").exists()


def test_damaged_pictures_are_left_out(tmp_path):
    run = made_run(tmp_path / "a", lines=4, pictures=2)
    (run / "samples" / "fakes-000000000.png").write_bytes(b"no picture")
    assert [nimg for nimg, _ in data_of(written(run))["strips"][0]] == [2000]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "holds no run"),
        (["{run}", "{run}"], "given twice"),
        (["{run}", "--out", "x.png"], "ends in .html"),
        (["{run}", "--out", "{run}/config.yaml/x.html"], "config.yaml"),
    ],
)
def test_bad_words_are_one_sentence(words, says, runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [word.format(run=runs[0]) for word in words]
    assert largegan(["report", *given]) in (2, 4)
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_without_plotly_it_is_one_sentence(runs, capsys, monkeypatch):
    page.plotly.cache_clear()
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install plotly"):
        page.plotly()
    assert largegan(["report", str(runs[1])]) == 2
    monkeypatch.undo()
    page.plotly.cache_clear()


def test_lines_are_written_as_json(tmp_path):
    """What the made runs write is what `read_lines` reads: no test passes over an empty log."""
    write_lines(tmp_path / "x.jsonl", [{"nimg": 1}])
    assert (tmp_path / "x.jsonl").read_text() == '{"nimg": 1}\n'
