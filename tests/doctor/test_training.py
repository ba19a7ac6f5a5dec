"""Configurations, networks and phases that do not work."""

import torch

from largegan.doctor import training
from largegan.trainer import Trainer


def test_recipe_that_does_not_fit_the_data(examined):
    failures, found = examined("--data.path", "synthetic:gaussian", "--recipe.name", "dcgan")
    assert failures == [2] and found["config"][0].startswith("FAIL")  # dcgan has no width
    assert examined("--train.batch_size", "9", "--train.micro_batch_size", "2")[0] == [2]


def test_data_of_another_kind(examined):
    failures, found = examined("--data.path", "synthetic:gaussian")
    assert failures == [2] and "trains on image, but the data have x" in found["networks"][1]


def test_loss_that_is_not_finite(examined, monkeypatch):
    monkeypatch.setattr(training, "try_phase", lambda *_: "loss term 'adv' = nan")
    failures, found = examined()
    assert failures == [2, 2] and "is not finite: loss term 'adv' = nan" in found["phases"][0]
    assert "checkpoint" not in found


def test_phases_run_in_the_precision_of_training(examined, monkeypatch):
    inside = []
    real = Trainer.autocast
    monkeypatch.setattr(Trainer, "autocast", lambda s, p: inside.append(real(s, p)) or inside[-1])
    assert examined("--train.precision", "bf16")[0] == []
    assert inside and all(isinstance(context, torch.autocast) for context in inside)


def test_memory_that_does_not_suffice(examined, monkeypatch):
    def explode(visit, engine):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "run_phases", explode)
    failures, found = examined()
    assert failures == [4] and "smaller train.micro_batch_size" in found["networks"][1]
