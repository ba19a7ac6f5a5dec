"""The program as a person meets it: what it writes, what it says, how it ends."""

import json
import subprocess
import sys
import time

import pytest

from largegan import checkpoint
from largegan.train import main
from tests.parallel.launching import ROOT, clean_environment
from tests.test_resume import arguments


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    assert main(arguments("gan", folder, 64)) == 0
    return folder


def test_a_run_explains_itself(finished):
    names = {str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file()}
    assert {
        "config.yaml",
        "env.json",
        "metrics.jsonl",
        "samples/reals.png",
        "samples/fakes-000000000.png",
        "samples/fakes-000000064.png",
        "checkpoints/000000064/model.safetensors",
        "checkpoints/000000064/COMPLETE",
    } <= names
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["nimg"] for line in lines if "step" in line] == [32, 64]
    for key in ("D.discriminator/adv", "speed/s_per_kimg", "memory/gib", "time/data_s_per_kimg"):
        assert key in lines[0]


def test_a_finished_run_has_nothing_to_do(finished, capsys):
    assert main(arguments("gan", finished, 64, **{"run.resume": "auto"})) == 0
    assert "done: 64 images" in capsys.readouterr().out


def test_its_own_config_continues_it(finished, capsys):
    words = ["--config", str(finished / "config.yaml"), "--run.resume", "auto"]
    assert main([*words, "--train.total_nimg", "72"]) == 0
    out = capsys.readouterr().out
    assert "resuming from" in out and "train.total_nimg: 64 -> 72" in out


def test_changed_shapes_are_refused_by_name(finished, capsys):
    options = {"run.resume": "auto", "recipe.width": 16}
    assert main(arguments("gan", finished, 96, **options)) == 2
    assert "holds G.mlp.0.weight as [32, 4]" in capsys.readouterr().err


def test_another_recipe_is_refused(finished, capsys):
    assert main(arguments("dcgan", finished, 96, **{"run.resume": "auto"})) == 2
    assert "is of recipe gan" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(finished, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    for path in checkpoint.numbered(copy / "checkpoints"):
        (path / checkpoint.MODEL).write_bytes(b"nonsense")
    assert main(arguments("gan", copy, 96, **{"run.resume": "must"})) == 2
    assert "truncated model.safetensors" in capsys.readouterr().err
    newest = max(checkpoint.numbered(copy / "checkpoints"), key=lambda p: p.name)
    assert main(arguments("gan", tmp_path / "new", 96, **{"run.resume": newest})) == 3
    assert "resume from an older one" in capsys.readouterr().err


ENDINGS = {
    "taken directory": ("gan", {}, 2, "already holds a run"),
    "unknown option": ("gan", {"train.sede": 1}, 2, "did you mean train.seed"),
    "recipe needs numbers": ("gaussian", {"data.path": "bundled:noto32"}, 2, "synthetic:gaussian"),
    "recipe needs images": (
        "gan",
        {"data.path": "synthetic:gaussian"},
        2,
        "trains on image, but the data have x",
    ),
    "no data": ("gan", {"data.path": "nowhere"}, 3, "nowhere"),
    "unknown bundle": ("gan", {"data.path": "bundled:cats"}, 2, "choose one of noto32"),
    "too many processes": ("gan", {"parallel.processes": 2}, 4, "asks for 2 processes"),
    "unknown tracker": ("gan", {"log.trackers": "[nosuchthing]"}, 4, "nosuchthing"),
    "missing tracker": ("gan", {"log.trackers": "[mlflow]"}, 4, "mlflow"),
    "diverges": ("wgan_gp", {"recipe.lr": 1e3, "train.max_bad_steps": 2}, 5, "first bad tensor"),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_it_ends_with_one_sentence_and_its_exit_code(kind, finished, tmp_path, capsys):
    name, options, code, sentence = ENDINGS[kind]
    folder = finished if kind == "taken directory" else tmp_path / "run"
    assert main(arguments(name, folder, 200, **options)) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert sentence in err


def test_divergence_leaves_a_record(tmp_path):
    options = {"recipe.lr": 1e3, "train.max_bad_steps": 2}
    assert main(arguments("wgan_gp", tmp_path / "a", 200, **options)) == 5
    events = [json.loads(e) for e in (tmp_path / "a/health.jsonl").read_text().splitlines()]
    assert len(events) == len({(e["step"], e["phase"], e["in_a_row"]) for e in events})
    assert events[-1]["in_a_row"] == 2 and events[-1]["culprit"]


def test_unwritable_directory(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(arguments("gan", tmp_path / "file" / "run", 64)) == 4
    assert "cannot write" in capsys.readouterr().err


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    options = {"log.trackers": "[tensorboard]"}
    assert main(arguments("gan", tmp_path / "a", 64, **options)) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = set()
    for events in tmp_path.rglob("events.out.tfevents*"):
        reader = EventAccumulator(str(events.parent)).Reload()
        found |= set(reader.Tags()["scalars"]) | set(reader.Tags()["images"])
    assert {"D.discriminator/adv", "samples"} <= found


def test_the_module_runs_and_help_is_fast():
    start = time.perf_counter()
    words = [sys.executable, "-m", "largegan.train", "--help"]
    done = subprocess.run(
        words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert "usage: python -m largegan.train" in done.stdout
    assert time.perf_counter() - start < 10  # 0.4 s alone; generous for a loaded machine
