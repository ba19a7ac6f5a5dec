"""tools/curve.py as a person uses it, with a small feature network."""

import json
from pathlib import Path

import pytest

from largegan import train
from largegan.metrics import features
from tests.ending import code_of
from tests.evaluation.images import picture, save, tiny_extractor
from tests.tools.test_sample import load_tool

ROOT = Path(__file__).parents[2]
curve = load_tool(ROOT / "tools" / "curve.py")
sample = load_tool(ROOT / "tools" / "sample.py")
fid = load_tool(ROOT / "tools" / "fid.py")


@pytest.fixture(autouse=True)
def small_network(monkeypatch, tmp_path):
    monkeypatch.setattr(features, "open_extractor", lambda *a, **o: tiny_extractor())
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path) -> Path:
    for i in range(24):
        save(tmp_path / "photos" / f"{i:02d}.png", picture(32, i))
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "biggan"
    options = {"name": "biggan", "g_channels": 2, "d_channels": 2, "attention": 0, "z_dim": 16}
    words = [word for k, v in options.items() for word in (f"--recipe.{k}", str(v))]
    words += ["--run.dir", str(folder), "--data.workers", "0", "--train.sample_rows", "2"]
    words += ["--train.batch_size", "8", "--train.total_nimg", "16", "--train.cpu_threads", "1"]
    assert train.main(words) == 0
    return folder


def points(out: Path) -> list[dict]:
    return json.loads(out.with_suffix(".json").read_text())["points"]


def test_a_checkpoint_and_the_sweep_drawn_from_it_give_the_same_curve(
    photos, run_folder, tmp_path, capsys
):
    request = ["--thresholds", "0.3,1", "--count", "40"]
    assert curve.main([str(photos), str(run_folder), str(tmp_path / "a.png"), *request]) == 0
    assert sample.main([str(run_folder), str(tmp_path / "sweep"), *request]) == 0
    assert curve.main([str(photos), str(tmp_path / "sweep"), str(tmp_path / "b.png")]) == 0
    said = capsys.readouterr().out
    direct, swept = points(tmp_path / "a.png"), points(tmp_path / "b.png")
    assert [p["truncation"] for p in direct] == [p["truncation"] for p in swept] == [0.3, 1.0]
    for a, b in zip(direct, swept, strict=True):
        assert a["scores"] == pytest.approx(b["scores"], rel=1e-9)
    # Less truncation, more different images: the points are not one.
    assert direct[0]["scores"]["fid"] != pytest.approx(direct[1]["scores"]["fid"], rel=1e-3)
    assert "recall" in said and (tmp_path / "a.png").stat().st_size > 5000


def test_standing_statistics_change_what_is_scored(photos, run_folder, tmp_path):
    request = [str(photos), str(run_folder), "--count", "40", "--json"]
    for name, more in {"plain": [], "standing": ["--standing", "2"]}.items():
        assert fid.main([*request, str(tmp_path / name), "--metrics", "fid", *more]) == 0
    plain, standing = (json.loads((tmp_path / n).read_text()) for n in ("plain", "standing"))
    assert plain["scores"]["fid"] != pytest.approx(standing["scores"]["fid"], rel=1e-6)
    assert "standing_batches" not in plain["protocol"]["generated"]
    compare = ["--metrics", "fid", "--compare", str(tmp_path / "plain"), "--standing", "2"]
    assert fid.main([*request[:-1], *compare]) == 2  # not measured alike


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["photos", "run", "curve.jpg"], "must end in .png"),
        (["photos", "run", "c.png", "--thresholds", "1"], "two --thresholds or more"),
        (["photos", "run", "c.png", "--count", "0"], "--count is 0"),
        (["photos", "run", "c.png", "--standing", "-1"], "--standing is -1"),
        (["photos", "nothing", "c.png"], "does not exist"),
        (["photos", "run", "c.png", "--thresholds", "0,1"], "truncation"),
        (["photos", "drawn", "c.png", "--standing", "2"], "drawn already"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    words, sentence, photos, run_folder, tmp_path, capsys
):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "manifest.json").write_text('{"sets": []}')
    places = {"photos": photos, "run": run_folder, "c.png": tmp_path / "c.png"}
    words = [str(places.get(w, tmp_path / w if w[0].isalpha() else w)) for w in words]
    assert code_of(curve.main, words) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


@pytest.mark.parametrize("sets", ['[{"folder": "1"}]', "[]"])
def test_a_damaged_sweep_is_a_fault_of_the_data(sets, photos, tmp_path, capsys):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "manifest.json").write_text(f'{{"sets": {sets}}}')
    assert curve.main([str(photos), str(tmp_path / "sweep"), str(tmp_path / "c.png")]) == 3
    assert "draw the sweep again" in capsys.readouterr().err
