"""The doctor takes the steps that training would take, saves and restores."""

import pytest

from largegan.parallel.engine import Engine
from tests.forked import run_ranks


def test_a_checkpoint_goes_there_and_back(examined, tmp_path):
    failures, found = examined()
    assert failures == []
    assert "MiB saved in" in found["checkpoint"][0] and "restored" in found["checkpoint"][0]
    assert list(tmp_path.iterdir()) == [], "nothing is left on the disk"


def test_what_is_not_restored_is_found(examined, monkeypatch):
    monkeypatch.setattr(Engine, "load_optimizer_state", lambda self, state: None)
    load = Engine.load_model_state
    monkeypatch.setattr(Engine, "load_model_state", lambda self, s: load(self, {**s, **spoiled(s)}))
    failures, found = examined()
    assert failures == [4] and "is not what was saved" in found["checkpoint"][0]


def spoiled(state: dict) -> dict:
    name = next(iter(state))
    return {name: state[name] + 1}


def test_a_tracker_that_is_not_installed(examined):
    failures, found = examined("--log.trackers", "[mlflow]")
    assert failures == [4] and "mlflow, which is not installed" in found["trackers"][0]
    assert examined("--log.trackers", "[tensorboard]")[1]["trackers"] == [
        "ok    trackers: tensorboard"
    ]


def test_scores_are_rehearsed(examined):
    words = ["--evaluate.every_nimg", "64", "--evaluate.backbone", "efficientnet_lite0"]
    failures, found = examined(*words)
    assert failures == [], found
    assert "looks at 8 images" in found["evaluation"][0]
    failures, found = examined(*words, "--evaluate.reference", "nowhere")
    assert failures == [2] and "nowhere" in found["evaluation"][0]


def test_one_process_says_that_it_does_not_try_what_several_would_do(examined):
    failures, found = examined("--parallel.engine", "fsdp2")
    assert failures == [] and found["engine"][0].startswith("warn")
    assert "with engine replicated" in found["phases"][0]


@pytest.mark.parametrize("engine", ["fsdp2", "{G: zero2, D: zero3}"])
def test_the_engine_that_was_asked_for_takes_the_steps(engine, tmp_path):
    """Once, under engines that StyleGAN2 could not start with while the doctor found nothing."""
    words = ["-m", "largegan", "doctor", "--recipe.name", "stylegan2", "--train.batch_size", "4"]
    words += ["--recipe.channel_base", "64", "--recipe.channel_max", "4", "--recipe.z_dim", "4"]
    words += ["--recipe.w_dim", "4", "--train.precision", "bf16", "--train.cpu_threads", "1"]
    words += ["--run.dir", str(tmp_path / "run"), "--parallel.engine", engine]
    first = run_ranks(words, world=2)[0]
    assert "one step each with engine" in first and "G.path_length" in first, first
    assert "and restored" in first, first
