"""`--dry-run` as a user meets it."""

from pathlib import Path

import pytest

from largegan.config.parse import DEVICES, parse
from largegan.doctor.dry_run import data_spec, dry_run
from largegan.doctor.hardware import GPUS
from largegan.recipe import DataSpec
from largegan.train import main

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ("--config", str(CONFIGS / "sngan_cifar10.yaml"), "--recipe.g_channels", "8")


def test_it_prints_everything_and_starts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "--dry-run", "--parallel.processes", "4", "--run.dir", str(tmp_path / "run")]
    assert main(words) == 0
    text = capsys.readouterr().out
    for line in ("parameters", "memory", "setting       4 H100", "speed", "whole run", "assumed"):
        assert f"\n{line}" in text, line
    assert "data/cifar10 is not here" in text and "3x32x32" in text
    assert "D.discriminator" in text and "GPU-hours" in text and "peak" in text
    assert list(tmp_path.iterdir()) == []


def test_the_kind_of_gpu_and_the_engine_matter():
    def of(*words: str) -> str:
        return dry_run(parse([*SMALL, "--parallel.processes", "8", *words]), {})

    fast, slow = of("--dry-run"), of("--dry-run", "v100")
    assert "H100 SXM" in fast and "V100 SXM" in slow
    assert "engines: D fsdp2, G replicated" in of("--dry-run", "--parallel.engine", "{D: fsdp2}")


def test_data_that_are_here_are_believed():
    config = parse(["--config", str(CONFIGS / "quickstart.yaml"), "--dry-run"])
    spec, known = data_spec(config)
    assert spec == DataSpec(3, 32, 32, 9) and "as bundled:noto32 has them" in known


def test_what_a_start_would_refuse_is_refused(capsys):
    engine = ["--parallel.engine", "zero3", "--parallel.processes", "1"]
    words = ["--config", str(CONFIGS / "wgan_gp_cifar10.yaml"), "--dry-run", *engine]
    assert main(words) == 2
    assert "engine zero3 shares player D out over processes" in capsys.readouterr().err


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["training", "dry run"])
def test_images_of_another_size_are_refused(dry, tmp_path, capsys):
    words = ["--config", str(CONFIGS / "quickstart.yaml"), "--data.resolution", "64"]
    assert main([*words, "--run.dir", str(tmp_path / "a"), *dry]) == 2
    assert "images of 32x32, data.resolution is 64" in capsys.readouterr().err


def test_every_gpu_can_be_asked_for():
    assert tuple(GPUS) == DEVICES


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration(path):
    text = dry_run(parse(["--config", str(path), "--dry-run"]), {})
    assert "GPU-hours" in text
