"""Run directories: refused, resumed, explained."""

import json

import pytest

from largegan import checkpoint
from largegan.config.parse import as_dict, parse
from largegan.errors import ConfigError, EnvironmentFault
from largegan.run import directory
from tests.test_checkpoint import content


def config(folder, resume="never"):
    return parse(["--recipe.name", "gan", "--run.dir", str(folder), "--run.resume", str(resume)])


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "a"
    checkpoint.save(folder / "checkpoints", 100, content(100))
    directory.describe_run(folder, config(folder), nimg=0, world=1, device="cpu")
    return folder


def test_a_run_is_never_silently_reused(finished, tmp_path):
    with pytest.raises(ConfigError, match=r"already holds a run; continue it with --run\.resume"):
        directory.decide_start(config(finished))
    assert directory.decide_start(config(tmp_path / "new")) == (str(tmp_path / "new"), None, [])


def test_auto_continues_or_starts(finished, tmp_path):
    _, start, notes = directory.decide_start(config(finished, "auto"))
    assert start == str(finished / "checkpoints/000000100") and not notes
    assert directory.decide_start(config(tmp_path / "new", "auto"))[1] is None


def test_auto_says_what_it_skipped(finished):
    newer = checkpoint.save(finished / "checkpoints", 200, content(200))
    (newer / "COMPLETE").unlink()
    _, start, notes = directory.decide_start(config(finished, "auto"))
    assert start.endswith("000000100")
    assert "000000200" in notes[0] and "no COMPLETE marker" in notes[0]


def test_auto_without_any_checkpoint_says_so(finished):
    (finished / "checkpoints/000000100/COMPLETE").unlink()
    _, start, notes = directory.decide_start(config(finished, "auto"))
    assert start is None and "starting from zero" in notes[-1]


def test_must_insists(tmp_path):
    with pytest.raises(ConfigError, match="no complete checkpoint to resume from"):
        directory.decide_start(config(tmp_path / "new", "must"))


def test_a_path_starts_a_new_run_from_an_old_one(finished, tmp_path):
    _, start, _ = directory.decide_start(config(tmp_path / "new", finished))
    assert start.endswith("000000100")
    with pytest.raises(ConfigError, match="belongs to another"):
        other = tmp_path / "b"
        directory.describe_run(other, config(other), nimg=0, world=1, device="cpu")
        directory.decide_start(config(other, finished))
    with pytest.raises(ConfigError, match="neither a checkpoint nor a run"):
        directory.decide_start(config(tmp_path / "new", tmp_path / "nothing"))


def test_names_count_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = parse(["--recipe.name", "gan"])
    assert str(directory.fresh_name(fresh)) == "runs/gan-001"
    (tmp_path / "runs/gan-001").mkdir(parents=True)
    assert str(directory.fresh_name(fresh)) == "runs/gan-002"


def test_logs_forget_what_the_checkpoint_does_not_know(tmp_path):
    log = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"nimg": n}) for n in (50, 100, 150)]
    log.write_text("\n".join(lines) + '\n{"nimg": 1')  # and a line cut short by a kill
    directory.forget_after(log, 100)
    assert [json.loads(line)["nimg"] for line in log.read_text().splitlines()] == [50, 100]


def test_a_changed_configuration_is_kept_beside_the_new_one(finished):
    changed = config(finished, "auto")
    changed.train.seed = 7
    directory.describe_run(finished, changed, nimg=100, world=1, device="cpu")
    assert "seed: 0" in (finished / "config.before-000000100.yaml").read_text()
    assert "seed: 7" in (finished / "config.yaml").read_text()
    state = {"recipe": {"name": "gan"}, "train": {"seed": 0}}
    assert "train.seed: 0 -> 7" in directory.differences(state, changed)


def test_an_unwritable_directory_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot write run directory"):
        directory.describe_run(tmp_path / "file", config(tmp_path), nimg=0, world=1, device="cpu")


def test_environment_is_recorded(finished):
    facts = json.loads((finished / "env.json").read_text())
    assert facts["versions"]["torch"] and facts["processes"] == 1


def test_passwords_are_not_written_down(tmp_path, monkeypatch):
    secret = "https://anna:s3cret@host/shards/index.json?token=s3cret&v=1"
    words = ["--recipe.name", "gan", "--run.dir", str(tmp_path / "run"), "--data.path", secret]
    monkeypatch.setattr(directory.sys, "argv", ["largegan", *words])
    chosen = parse(words)
    directory.describe_run(tmp_path / "run", chosen, nimg=0, world=1, device="cpu")
    directory.describe_run(tmp_path / "run", config(tmp_path), nimg=0, world=1, device="cpu")
    for path in (tmp_path / "run").rglob("*.*"):
        assert "s3cret" not in path.read_text(), path
    assert "https://***@host/shards/index.json?token=***" in (tmp_path / "run/env.json").read_text()
    assert "s3cret" not in str(directory.differences(as_dict(chosen), config(tmp_path)))
    assert chosen.data.path == secret


@pytest.mark.parametrize("trained", [False, True])
def test_a_start_that_fails_leaves_nothing(tmp_path, trained):
    run = tmp_path / "run"
    run.mkdir()
    (run / "slurm.out").write_text("mine")
    (run / "wandb").mkdir()
    with (
        pytest.raises(EnvironmentFault),
        directory.withdrawn_if_nothing_came(run, lambda: trained),
    ):
        directory.describe_run(run, config(run), nimg=0, world=1, device="cpu")
        raise EnvironmentFault("no key")
    left = {path.name for path in run.iterdir()}
    assert ("config.yaml" in left) == trained and {"slurm.out", "wandb"} <= left


def test_a_run_that_fails_later_is_kept(finished):
    with (
        pytest.raises(EnvironmentFault),
        directory.withdrawn_if_nothing_came(finished, lambda: False),
    ):
        raise EnvironmentFault("no key")
    assert (finished / "config.yaml").exists()
