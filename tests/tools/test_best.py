"""`largegan best`: the best checkpoint among runs, of those that are there and can be compared."""

import json

import pytest
import torch

from largegan.checkpoint import Checkpoint, save
from largegan.commands.best import main

PROTOCOL = {
    "backbone": {"name": "inception", "sha256": "a" * 64, "resize": "pil", "precision": "fp32"},
    "reference": {"identity": "x", "count": 100},
    "generated": {"count": 50, "weights": "EMA"},
    "metrics": {"names": ["fid"]},
}


@pytest.fixture
def runs(tmp_path):
    """Three starts: scores at 10, 20 and 30 images, checkpoints at 20 and 30."""
    scores = {"one": [9.0, 5.0, 6.0], "two": [1.0, 4.0, 7.0], "three": [9.0, 8.0, 4.5]}
    for name, values in scores.items():
        folder = tmp_path / name
        for nimg in (20, 30):
            tensors = {"w": torch.zeros(1)}
            save(folder / "checkpoints", nimg, Checkpoint(tensors, tensors, {"nimg": nimg}))
        lines = [
            {"nimg": 10 * (i + 1), "score/fid": v, "score/fid_error": 0.2, "score/kid": -v}
            for i, v in enumerate(values)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "scores.json").write_text(json.dumps(PROTOCOL))
    return [tmp_path / name for name in scores]


def test_the_best_of_what_is_there(runs, capsys, tmp_path):
    """The 1.0 of the second run is of a checkpoint that is gone."""
    out = tmp_path / "best.json"
    assert main([*map(str, runs), "--json", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split("/")[-1].split()[0] for line in said[:3]] == ["two", "three", "one"]
    assert said[0].endswith("FID 4 ± 0.2  at 20 images")
    assert said[3] == f"best: {runs[1] / 'checkpoints' / '000000020'}"
    rows = json.loads(out.read_text())["runs"]
    assert [(row["score"], row["nimg"]) for row in rows] == [(4.0, 20), (4.5, 30), (5.0, 20)]


def test_another_score_decides_otherwise(runs, capsys):
    assert main([*map(str, runs), "--metric", "kid"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split("/")[-1].startswith("three")


def test_a_run_without_scores_is_named(runs, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(runs[0])]) == 0
    said = capsys.readouterr()
    assert "empty has no fid of a checkpoint: left out" in said.err
    assert f"best: {runs[0]}" in said.out


def test_scores_that_were_not_measured_alike_are_refused(runs, capsys):
    other = PROTOCOL | {"reference": {"identity": "y", "count": 100}}
    (runs[1] / "scores.json").write_text(json.dumps(other))
    assert main([*map(str, runs)]) == 2
    assert "were not measured alike (reference.identity: x and y)" in capsys.readouterr().err


BAD = {
    "nowhere": (lambda runs: ["nowhere"], 2, "there is no such folder"),
    "no score": (lambda runs: [str(runs[0]), "--metric", "loss"], 2, "loss is no score"),
    "no scores": (lambda runs: [str(runs[0].parent)], 2, "none of these runs has a fid"),
    "damaged": (lambda runs: [broken(runs[0])], 3, "metrics.jsonl, line 1, is no line of a log"),
    "taken": (lambda runs: [str(runs[0]), "--json", str(runs[0] / "scores.json")], 2, "exists"),
}


def broken(folder) -> str:
    (folder / "metrics.jsonl").write_text("{nonsense\n")
    return str(folder)


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_one_sentence(what, runs, capsys):
    words, code, sentence = BAD[what]
    assert main(words(runs)) == code
    said = capsys.readouterr().err
    assert sentence in said and said.rstrip().count("error:") == 1
