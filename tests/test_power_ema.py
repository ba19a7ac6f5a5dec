"""Averages of any width, found after training: the formulas, every recipe, a run and its tool."""

import filecmp
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from largegan import checkpoint, train
from largegan.ema import powers as power_ema
from largegan.ema.powers import PowerEma, gamma_of_width, width_of_gamma
from largegan.errors import ConfigError, DataError
from largegan.evaluation import progress
from largegan.metrics import features
from largegan.restore import restore
from largegan.run import snapshots
from tests.ending import code_of
from tests.evaluation.images import tiny_extractor
from tests.recipes.common import NAMES, iterate, make_recipe, make_trainer, weights
from tests.recipes.test_every_recipe import restore as restore_trainer
from tests.recipes.test_every_recipe import save
from tests.test_resume import arguments
from tests.tools.test_sample import load_tool

ROOT = Path(__file__).parents[1]
tool = load_tool(ROOT / "tools" / "ema.py")
WIDTHS = [0.05, 0.1]


@pytest.mark.parametrize("width", [0.005, 0.05, 0.1, 0.25, 0.2886])
def test_width_and_exponent_are_inverse(width):
    assert width_of_gamma(gamma_of_width(width)) == pytest.approx(width, rel=1e-9)


def test_a_width_is_the_standard_deviation_of_the_profile():
    length = 200_000
    weights = power_ema.profile(length - 1, gamma_of_width(0.1), length)
    t = torch.arange(length, dtype=torch.float64) / (length - 1)
    p = torch.from_numpy(weights)
    mean = (t * p).sum()
    assert float(((t - mean).square() * p).sum().sqrt()) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.29, math.nan])
def test_other_widths_are_refused(width):
    with pytest.raises(ValueError, match="width"):
        gamma_of_width(width)


class Point(nn.Module):
    """A network of one parameter and one buffer."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(64))
        self.register_buffer("seen", torch.zeros(()))


def test_a_reconstruction_is_the_average_tracked_directly():
    """Weights that drift and shake; 25 snapshots in 16 bits give the widths in between."""
    torch.manual_seed(0)
    net, batch, steps = Point(), 16, 1000
    kept = [PowerEma(net, width) for width in WIDTHS]
    wanted = {width: PowerEma(net, width) for width in (0.05, 0.07, 0.1, 0.15)}
    parts, times = [], []
    for step in range(1, steps + 1):
        net.x.data += 0.05 * torch.randn(64) + 0.01
        for average in (*kept, *wanted.values()):
            average.update(net, step * batch, batch)
        if step % (steps // 25) == 0:
            parts += [average.net.x.detach().half() for average in kept]
            times += [step * batch] * len(kept)
    gammas = [gamma_of_width(width) for width in WIDTHS] * (len(parts) // len(WIDTHS))
    moved = float((wanted[0.05].net.x - wanted[0.15].net.x).abs().max())
    for width, average in wanted.items():
        mix = power_ema.mixture(times, gammas, times[-1], [gamma_of_width(width)])[:, 0]
        error = float((power_ema.combined(parts, mix) - average.net.x).abs().max())
        assert error < 0.02 * moved, f"width {width}: {error:.4f} of {moved:.4f}"


@pytest.mark.parametrize("name", NAMES)
def test_resume_is_exact_and_nothing_else_changes(name, tmp_path):
    """With the averages on, other weights are the same bytes as without, across a resume too."""
    plain = iterate(make_trainer(make_recipe(name), name), 4)
    runs = []
    for seed in (0, 99):
        recipe = make_recipe(name, seed=seed)
        snapshots.follow(recipe, WIDTHS)
        runs.append(make_trainer(recipe, name))
    whole, resumed = runs
    iterate(whole, 2)
    restore_trainer(resumed, save(whole, tmp_path))
    iterate(whole, 2)
    iterate(resumed, 2)
    a, b = weights(whole.recipe), weights(resumed.recipe)
    assert any(power_ema.POWERS in key for key in a)
    for key, value in a.items():
        assert torch.equal(value, b[key]), key
    for key, value in weights(plain.recipe).items():
        assert torch.equal(value, a[key]), key


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dcgan"
    words = arguments("dcgan", folder, 96, **{"train.snapshot_every_nimg": 16})
    assert train.main(words) == 0
    return folder


def test_snapshots_are_small_and_the_same_after_a_resume(run_folder, tmp_path):
    assert snapshots.times(run_folder) == [16, 32, 48, 64, 80, 96]
    model = load_file(run_folder / "checkpoints" / "000000096" / checkpoint.MODEL)
    path = snapshots.path_of(run_folder, 96)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["widths"]) == WIDTHS
        parameters = [file.get_tensor(k) for k in file.keys() if "/0/" in k]  # noqa: SIM118
    assert {p.dtype for p in parameters} == {torch.float16}
    assert not any(power_ema.POWERS in key for key in restore(run_folder).recipe.state_dict())
    assert sum(p.numel() for p in parameters) < sum(t.numel() for t in model.values())
    first = tmp_path / "dcgan"
    options = {"train.snapshot_every_nimg": 16}
    assert train.main(arguments("dcgan", first, 64, **options)) == 0
    # What a run wrote that went on from here and was left: it is not this run's future.
    snapshots.path_of(first, 70).write_bytes(b"left behind")
    again = arguments("dcgan", first, 96, **options, **{"run.resume": "auto"})
    assert train.main(again) == 0
    assert snapshots.times(first) == snapshots.times(run_folder)
    for nimg in snapshots.times(first):
        assert filecmp.cmp(
            snapshots.path_of(first, nimg), snapshots.path_of(run_folder, nimg), shallow=False
        )


def test_a_kept_width_is_found_again(run_folder):
    """At a width that snapshots hold, the answer is that average, to 16 bits."""
    model = load_file(run_folder / "checkpoints" / "000000096" / checkpoint.MODEL)
    found = snapshots.open_snapshots(run_folder).average(WIDTHS[1])
    names = {name for name in model if name.startswith("G_ema.net.")}
    assert set(found) == names
    for name in names:
        tracked = model[name.replace("G_ema.net.", "G_ema.powers.1.net.")]
        torch.testing.assert_close(found[name].to(tracked), tracked, rtol=1e-2, atol=2e-3)


def test_the_tool_scores_widths_and_writes_the_best(run_folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(features, "open_extractor", lambda *a, **o: tiny_extractor())
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(progress, "WORTH_SAYING", 20.0)
    words = [str(run_folder), "--widths", "0.05,0.2", "--count", "40"]
    assert tool.main(words) == 0
    said = capsys.readouterr()
    assert said.err.startswith(progress.cost("2 widths", 80))
    answer = json.loads((run_folder / "posthoc" / "ema.json").read_text())
    scores = {p["width"]: p["scores"]["fid"] for p in answer["points"]}
    assert answer["chosen"] == min(scores, key=scores.get)
    assert f"width {answer['chosen']:g} is the best" in said.out
    assert (run_folder / "posthoc" / "ema.png").stat().st_size > 5000
    chosen = restore(run_folder / "posthoc")
    assert chosen.state["posthoc_width"] == answer["chosen"]
    wanted = snapshots.open_snapshots(run_folder).average(answer["chosen"])
    for name, value in chosen.recipe.state_dict().items():
        if name in wanted:
            assert torch.equal(value, wanted[name].to(value)), name


def test_one_width_is_written_without_scores(run_folder):
    assert tool.main([str(run_folder), "--width", "0.13"]) == 0
    assert restore(run_folder / "posthoc").state["posthoc_width"] == 0.13


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--width", "0.5"], "a width is from"),
        (["--widths", "0.1,x"], "--widths is x"),
        (["--width", "0.1", "--widths", "0.1,0.2"], "give one"),
        (["--at", "17"], "no snapshot at 17 images"),
        (["--at", "16"], "no checkpoint at 16 images"),
        (["--count", "0"], "--count is 0"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words, sentence, run_folder, capsys):
    assert code_of(tool.main, [str(run_folder), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_run_without_snapshots_says_how_to_get_some(tmp_path):
    with pytest.raises(ConfigError, match="snapshot_every_nimg"):
        snapshots.open_snapshots(tmp_path)


def test_a_damaged_snapshot_is_named(run_folder, tmp_path):
    target = snapshots.path_of(tmp_path, 16)
    target.parent.mkdir(parents=True)
    target.write_bytes(snapshots.path_of(run_folder, 16).read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        snapshots.open_snapshots(tmp_path)


def test_a_resume_cannot_ask_for_averages_of_a_past_without(run_folder, tmp_path, capsys):
    """Others would be taken for them, whose shapes are the same. To keep none is allowed."""

    def resumed(**more) -> tuple[int, str]:
        words = arguments("dcgan", run, 112, **{"run.resume": "auto"} | more)
        return train.main(words), capsys.readouterr().err

    run = tmp_path / "dcgan"
    shutil.copytree(run_folder, run)
    keeps = {"train.snapshot_every_nimg": 16}
    code, said = resumed(**keeps, **{"train.snapshot_widths": "[0.1, 0.2]"})
    assert code == 2 and said.count("\n") == 1
    assert "averages of widths [0.05, 0.1], train.snapshot_widths asks for [0.1, 0.2]" in said
    assert resumed() == (0, "") and snapshots.times(run)[-1] == 96
    code, said = resumed(**keeps)
    assert code == 2 and said.count("\n") == 1 and "has no averages for train.snapshot" in said


@pytest.mark.parametrize("widths", [[0.1], [0.1, 0.1], [0.1, 0.5]])
def test_widths_that_span_nothing_are_refused_before_training(widths):
    with pytest.raises(ConfigError, match="snapshot_widths"):
        snapshots.follow(make_recipe("dcgan"), widths)
