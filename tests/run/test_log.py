"""What a run says, and to whom."""

import json
import shutil

import numpy as np
import pytest
import torch

from largegan import checkpoint, train
from largegan.errors import EnvironmentFault
from largegan.run.log import Logger, clock, summarize
from largegan.run.trackers import Trackers, plain_setting
from tests.recipes.common import iterate, make_recipe, make_trainer


class FakeTracker:
    def __init__(self, name: str):
        self.name, self.shown = name, {}

    def log_images(self, values: dict, step: int) -> None:
        self.shown[step] = values


class FakeAccelerator:
    def __init__(self, *names: str):
        self.trackers = [FakeTracker(name) for name in names]

    def log(self, values: dict, step: int) -> None:
        self.logged = values, step

    def end_training(self) -> None:
        self.ended = True


@pytest.fixture
def trackers(tmp_path):
    made = Trackers([], tmp_path, project="p", settings={})
    made.accelerator = FakeAccelerator("tensorboard", "wandb", "mlflow")
    return made


def test_each_tracker_gets_pictures_in_its_own_shape(trackers):
    trackers.picture("samples", torch.zeros(3, 4, 5, dtype=torch.uint8), 64)
    tensorboard, wandb, mlflow = trackers.accelerator.trackers
    array = tensorboard.shown[64]["samples"]
    assert isinstance(array, np.ndarray) and array.shape == (1, 3, 4, 5)
    (image,) = wandb.shown[64]["samples"]
    assert image.size == (5, 4)
    assert not mlflow.shown, "it takes no images"


def test_settings_become_what_tensorboard_takes():
    values = [True, 1, 2.5, "a", None, [1, 2]]
    assert [plain_setting(v) for v in values] == [True, 1, 2.5, "a", "None", "[1, 2]"]


def test_a_line_has_means_speed_and_counts(tmp_path, capsys, trackers):
    trainer = make_trainer(make_recipe("gan"), "gan")
    options = {"total_nimg": 32, "nimg": 0, "trackers": trackers}
    logger = Logger(tmp_path, trainer.engine, **options)
    iterate(trainer, 2)
    terms = trainer.tally.means()["D.discriminator/adv"]
    logger.tick(trainer)
    (line,) = [json.loads(s) for s in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line["nimg"] == 16 and line["step"] == 2
    assert line["D.discriminator/adv"] == pytest.approx(terms)
    assert line["speed/img_per_s"] > 0 and line["memory/gib"] > 0
    assert line["speed/s_per_kimg"] * line["speed/img_per_s"] == pytest.approx(1000)
    spent = [v for k, v in line.items() if k.startswith("time/") and k.endswith("kimg")]
    assert len(spent) == 3, "data and two phases"
    assert sum(spent) <= line["speed/s_per_kimg"]
    assert trackers.accelerator.logged == (line, 16)
    assert "s/kimg" in capsys.readouterr().out
    assert not trainer.tally.sums, "the next line starts from nothing"
    logger.close()
    assert trackers.accelerator.ended


def test_a_tick_without_images_divides_by_nothing():
    trainer = make_trainer(make_recipe("gan"), "gan")
    assert summarize(trainer, 0.0, 0)["speed/img_per_s"] > 0


def test_a_full_disk_is_one_sentence(tmp_path, trackers):
    trainer = make_trainer(make_recipe("gan"), "gan")
    options = {"total_nimg": 32, "nimg": 0, "trackers": trackers}
    logger = Logger(tmp_path / "nowhere", trainer.engine, **options)
    with pytest.raises(EnvironmentFault, match=r"cannot write .*metrics\.jsonl"):
        logger.append("metrics.jsonl", {})


def test_clock():
    assert [clock(s) for s in (-1, 5, 65, 3725)] == ["0m00s", "0m05s", "1m05s", "1h02m"]


def test_skipped_samples_are_counted_over_all_ranks(monkeypatch):
    """The line of a run of four ranks that skipped 1, 2, 3 and 6 samples says 12."""
    trainer = make_trainer(make_recipe("gan"), "gan")
    monkeypatch.setattr(type(trainer.stream), "skipped", {"samples": 2, "shards": 0})
    others = torch.tensor([1.0])  # as many more on average
    monkeypatch.setattr(trainer.engine, "world", 4)
    monkeypatch.setattr(trainer.engine, "mean", lambda x: torch.cat([x[:-1], x[-1:] + others]))
    assert summarize(trainer, 1.0, 8)["data/skipped_samples"] == 12


def words_of(run, total_nimg: int = 32) -> list[str]:
    """A tiny run whose checkpoints lie between its log lines."""
    sizes = "--recipe.channels=4 --recipe.z_dim=4 --train.batch_size=4 --train.sample_rows=2"
    every = "--train.log_every_nimg=16 --train.save_every_nimg=12 --train.keep_last=9"
    rest = f"--data.workers=0 --train.cpu_threads=1 --train.total_nimg={total_nimg}"
    where = f"--recipe.name=dcgan --run.dir={run} --run.resume=auto"
    return f"{where} {sizes} {every} {rest}".split()


def lines_of(run) -> list[dict]:
    """What metrics.jsonl says, without what a clock or the machine says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clocks = ("time/", "speed/", "memory/")
    return [{k: v for k, v in line.items() if not k.startswith(clocks)} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    assert train.main(words_of(run)) == 0
    return run


@pytest.mark.parametrize("left", ["000000012", None])
def test_a_run_that_was_killed_writes_the_lines_of_one_that_was_not(finished, tmp_path, left):
    """It goes on from the checkpoint that is left, or from zero."""
    run = shutil.copytree(finished, tmp_path / "run")
    for path in (run / "checkpoints").iterdir():
        if path.name != left:
            shutil.rmtree(path)
    assert train.main(words_of(run)) == 0
    assert lines_of(run) == lines_of(finished)
    assert [line["nimg"] for line in lines_of(run) if "step" in line] == [16, 32]


def test_checkpoints_of_before_have_no_tally(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    path = run / "checkpoints" / "000000032"
    content = checkpoint.load(path)
    assert content.state.pop("tally")["sums"] == {}
    shutil.rmtree(path)
    checkpoint.save(run / "checkpoints", 32, content)
    assert train.main(words_of(run, 36)) == 0
