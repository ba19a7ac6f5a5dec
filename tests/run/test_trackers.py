"""Trackers are asked politely, and do not end a run."""

import pytest

from largegan.errors import EnvironmentFault
from largegan.run import trackers as trackers_module
from largegan.run.trackers import ID, WANDB, Trackers, wandb_options


def test_wandb_has_its_folder_in_the_run_and_goes_on_with_its_run(tmp_path):
    first = wandb_options(tmp_path)
    assert first["dir"] == str(tmp_path) and first["resume"] == "allow"
    assert wandb_options(tmp_path) == first
    assert wandb_options(tmp_path / "other")["id"] != first["id"]
    (tmp_path / WANDB / ID).write_text("../no id\n")
    assert wandb_options(tmp_path)["id"].isalnum()


class Locked:
    """An Accelerator whose tracker wants a key."""

    is_main_process = True

    def __init__(self, **_: object):
        self.trackers = []

    def init_trackers(self, *_: object, **options: dict) -> None:
        type(self).seen = options
        raise KeyError("No API key configured.\nUse `wandb login`.")


def test_what_cannot_start_is_one_sentence(tmp_path, monkeypatch):
    import accelerate

    monkeypatch.setattr(accelerate, "Accelerator", Locked)
    monkeypatch.setattr(trackers_module, "missing_trackers", lambda names: set())
    with pytest.raises(EnvironmentFault, match=r"wandb cannot start: .No API key configured"):
        Trackers(["wandb"], tmp_path, project="p", settings={"a.b": None})
    assert Locked.seen == {
        "config": {"a.b": "None"},
        "init_kwargs": {"wandb": wandb_options(tmp_path)},
    }
    monkeypatch.setattr(trackers_module, "missing_trackers", lambda names: {"mlflow"})
    with pytest.raises(EnvironmentFault, match="names mlflow, which is not installed"):
        Trackers(["mlflow"], tmp_path, project="p", settings={})


def test_a_tracker_that_fails_does_not_end_training(tmp_path, capsys):
    class Broken:
        trackers = ()

        def log(self, values: dict, step: int) -> None:
            raise ConnectionError("the network\nis away")

    trackers = Trackers([], tmp_path, project="p", settings={})
    trackers.accelerator = Broken()
    for _ in range(2):
        trackers.log({"a": 1}, 1)
    trackers.close()
    said = capsys.readouterr().err
    assert said.count("warning:") == 1 and "without its trackers" in said
