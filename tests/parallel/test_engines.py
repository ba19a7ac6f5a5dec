"""Every engine on two real processes: the steps of one process, to 1e-5, and its checkpoints."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from largegan.parallel.launch import World
from tests.parallel.engines_worker import (
    ENGINES,
    HALF,
    RECIPES,
    RESUMES,
    keep,
    make,
    make_real,
    restore,
    save,
    toy,
    train,
)
from tests.parallel.launching import run_ranks

ALONE = World(0, 1, torch.device("cpu"))
each_engine = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder of what both ranks wrote, and their numbers."""
    folder = tmp_path_factory.mktemp("engines")
    run_ranks(["-m", "tests.parallel.engines_worker", str(folder)], world=2, timeout_s=600)
    return folder, [json.loads((folder / f"rank{r}.json").read_text()) for r in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same on one process: with second-order phases, and without (for ZeRO-3)."""
    folder = tmp_path_factory.mktemp("alone")
    results = {}
    for name in ("replicated", "zero3"):
        trainer = make(toy(name), "toy")
        history = train(trainer, HALF)
        save(trainer, folder / name, ALONE)
        history += train(trainer, HALF)
        keep(folder / f"{name}.safetensors", trainer, ALONE)
        results[name] = history, load_file(folder / f"{name}.safetensors")
    return lambda name: results["zero3" if name == "zero3" else "replicated"]


def assert_close(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5, msg=key)


@each_engine
def test_every_step_is_that_of_one_process(ranks, alone, name):
    """Terms and gradient norms of all phases (R1, path length, spectral norm), step by step."""
    history, _ = alone(name)
    for result in ranks[1]:
        found = result[name]["history"]
        assert len(found) == len(history) == 2 * HALF
        for step, wanted in zip(found, history, strict=True):
            assert step.keys() == wanted.keys()
            for key, value in wanted.items():
                assert step[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key


@each_engine
def test_it_ends_where_one_process_ends(ranks, alone, name):
    """Weights, averages, spectral-norm vectors, buffers, optimizer moments."""
    assert_close(load_file(ranks[0] / f"{name}.safetensors"), alone(name)[1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_real_recipes(ranks, tmp_path, recipe):
    trainer = make_real(recipe)
    train(trainer, 2)
    keep(tmp_path / "a", trainer, ALONE)
    wanted = load_file(tmp_path / "a")
    for name in RECIPES[recipe]:
        assert_close(load_file(ranks[0] / f"{recipe}-{name}.safetensors"), wanted)


@pytest.mark.parametrize("name", RESUMES)
def test_a_run_moves_between_engines(ranks, alone, name):
    """What `RESUMES[name]` saved on two processes goes on under engine `name`."""
    found = load_file(ranks[0] / f"{RESUMES[name]}-to-{name}.safetensors")
    assert_close(found, alone(name)[1])


@each_engine
def test_a_run_moves_to_one_process(ranks, alone, name, tmp_path):
    """What two processes saved under any engine goes on alone."""
    trainer = make(toy(name, seed=3), "toy")
    restore(trainer, ranks[0] / name / f"{HALF * 8:09d}")
    train(trainer, HALF)
    keep(tmp_path / "a", trainer, ALONE)
    assert_close(load_file(tmp_path / "a"), alone(name)[1])


def test_optimizer_memory_shrinks(ranks):
    """The two ranks of ZeRO and FSDP2 hold together what each holds of replicated moments."""
    held = {name: [rank[name]["moment_bytes"] for rank in ranks[1]] for name in ENGINES}
    params = [p for player in toy("fsdp2").players.values() for p in player.parameters()]
    whole = sum(8 * p.numel() for p in params)  # two float32 moments
    assert held["replicated"] == [whole, whole]
    for name in ("zero1", "zero2", "zero3"):  # equal parts, padded by a few numbers
        assert held[name][0] == held[name][1] and whole / 2 <= held[name][0] < whole / 2 + 128
    # Rows of each tensor; rank 0 has the odd one (of networks this small, many are odd).
    first = sum(8 * math.ceil(len(p) / 2) * p[0].numel() for p in params)
    assert held["fsdp2"] == [first, whole - first] and first < 0.6 * whole


@each_engine
def test_a_bad_step_is_skipped_without_a_trace(ranks, name):
    assert all(result[name]["skipped"] for result in ranks[1])


@each_engine
def test_rank_0_draws_alone(ranks, name):
    picture = ranks[1][0][name]["picture"]
    assert len(picture) == 2 * 3 * 16 * 16
    if name != "zero3":
        assert picture == pytest.approx(ranks[1][0]["replicated"]["picture"], abs=1e-5)
