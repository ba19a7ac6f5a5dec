"""A run that goes back to before an illness: exact, said, at most so many times, and by hand."""

import filecmp
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from largegan import checkpoint
from largegan.commands import main as largegan
from largegan.config.parse import parse
from largegan.errors import ConfigError
from largegan.health.records import Notice
from largegan.health.verdicts import DISTANCE, VERDICTS
from largegan.run import branches, rollback
from largegan.train import main
from tests.run.falls_ill import falling_ill, on_two_ranks
from tests.test_resume import arguments

ILL = 96  # images at which the verdict begins; checkpoints are at 32, 64, 96, ...
BACK = {"health.on_mode_collapse": "rollback"}
LR = {"health.rollback.change": "{train.seed: plus 1, recipe.lr: times 0.5}"}


def words(folder: Path, total: int = 128, **more) -> list[str]:
    often = {"train.log_every_nimg": 16, "train.keep_last": 9}
    return arguments("gan", folder, total, **{**often, **more})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(words(folder)) == 0
    return folder


def same_bytes(a: Path, b: Path, nimg: int = 128) -> None:
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        ends = [run / "checkpoints" / f"{nimg:09d}" / file for run in (a, b)]
        assert filecmp.cmp(*ends, shallow=False), file


def lines(run: Path, log: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (run / log).read_text().splitlines()]


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in checkpoint.numbered(folder))


def test_after_a_rollback_without_a_change_it_is_the_unbroken_run(whole, tmp_path, capsys):
    with falling_ill(ILL, 1):
        assert main(words(tmp_path / "a", **BACK)) == 0
    same_bytes(tmp_path / "a", whole)
    for key in ("nimg", "D.discriminator/adv", "health/auc"):
        mine, unbroken = ([line.get(key) for line in lines(r)] for r in (tmp_path / "a", whole))
        assert mine == unbroken, key
    said = capsys.readouterr().out
    assert "rollback 1: from 96 to 64 images because of mode_collapse; nothing changes" in said
    left = tmp_path / "a" / "checkpoints" / "left-from-000000064"
    assert [x["nimg"] for x in lines(left)] == [16, 32, 48, 64, 80, 96]
    assert [x["verdict"] for x in lines(left, "health.jsonl")] == ["mode_collapse"]
    (event,) = lines(tmp_path / "a", "health.jsonl")
    assert event["event"] == "rollback" and (event["nimg"], event["from_nimg"]) == (64, 96)


def test_settings_change_and_stay_changed(tmp_path, capsys):
    run = tmp_path / "a"
    with falling_ill(ILL, 1):
        assert main(words(run, 96, **BACK, **LR)) == 0
    assert "from here on train.seed 1, recipe.lr 0.0001" in capsys.readouterr().out
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["train"]["seed"], config["recipe"]["lr"]) == (1, 1e-4)
    # The same command again goes on with them; other words of a person hold.
    assert main(words(run, 112, **BACK, **LR, **{"run.resume": "auto"})) == 0
    said = capsys.readouterr().out
    assert "since the rollback at 64: recipe.lr: 0.0002 -> 0.0001" in said
    assert "changed since then: recipe.lr" not in said
    theirs = {"recipe.lr": 0.003, "run.resume": "auto"}
    assert main(words(run, 128, **BACK, **LR, **theirs)) == 0
    assert "recipe.lr is 0.003, as given now, not 0.0001" in capsys.readouterr().out
    # Before the rollback's place nothing of it holds.
    older = {"run.resume": run / "checkpoints" / "000000032"}
    assert main(words(run, 48, **BACK, **LR, **older)) == 0
    said = capsys.readouterr().out
    assert "since the rollback" not in said and "000000064" not in said


def test_it_gives_up_after_so_many_times(tmp_path, capsys):
    run = tmp_path / "a"
    with falling_ill(ILL, 99):
        assert main(words(run, **BACK, **LR)) == 5
    said = capsys.readouterr()
    assert "mode_collapse since 80 images" in said.err and "after 2 rollbacks already" in said.err
    assert "rollback 2: from 96 to 32" in said.out, (
        "64 had it in it, too" and "train.seed 2, recipe.lr 5e-05" in said.out
    )
    assert branches.left_branches(run) == ["left-from-000000032", "left-from-000000064"]
    assert kept(run / "checkpoints") == [32, 64, 96]


def test_without_an_older_checkpoint_it_says_so(tmp_path, capsys):
    with falling_ill(32, 1):
        assert main(words(tmp_path / "a", **BACK)) == 5
    assert "no checkpoint of before to go back to; set train.save_" in capsys.readouterr().err


def test_stop_saves_and_stays_stopped(tmp_path, capsys):
    stop = {"health.on_mode_collapse": "stop"}
    with falling_ill(80, 1):
        assert main(words(tmp_path / "a", **stop)) == 5
        assert "stopped at 80 images, as health.on_mode_collapse says" in capsys.readouterr().err
        assert kept(tmp_path / "a" / "checkpoints") == [32, 64, 80]
        again = {"run.resume": "auto"}
        assert main(words(tmp_path / "a", **stop, **again)) == 5, "until somebody decides"
        assert main(words(tmp_path / "a", **again)) == 0


def test_warn_goes_on(whole, tmp_path, capsys):
    with falling_ill(ILL, 1):
        assert main(words(tmp_path / "a", **{"health.on_mode_collapse": "warn"})) == 0
    assert "warning: health: modes have collapsed since 80" in capsys.readouterr().err
    same_bytes(tmp_path / "a", whole)


def interrupted(*arguments) -> None:
    raise KeyboardInterrupt


def test_a_kill_before_the_turn_was_carried_out(whole, tmp_path, monkeypatch, capsys):
    """The note is written, nothing has moved: `auto` finishes it, with the settings that change."""
    run = tmp_path / "a"
    with monkeypatch.context() as patch, falling_ill(ILL, 1):
        patch.setattr(branches, "carry_out", interrupted)
        assert main(words(run, **BACK)) == 130
    assert (run / "checkpoints" / branches.TURN).exists()
    assert main(words(run, **BACK, **{"run.resume": "auto"})) == 0
    assert "goes on from 000000064" in capsys.readouterr().out
    same_bytes(run, whole)


def test_two_processes_go_back_alike(whole, tmp_path):
    run = tmp_path / "a"
    ranks = {**BACK, "train.micro_batch_size": 4, "parallel.processes": 2}
    said = on_two_ranks(ILL, 1, words(run, **ranks), tmp_path / "log")
    assert said.count("rollback 1: from 96 to 64") == 1
    assert [x["nimg"] for x in lines(run)] == [x["nimg"] for x in lines(whole)]
    assert kept(run / "checkpoints") == kept(whole / "checkpoints")
    one = tmp_path / "one"
    with falling_ill(ILL, 1):
        assert main(words(one, **BACK, **{"train.micro_batch_size": 4})) == 0
    mine, its = (lines(r, "health.jsonl") for r in (run, one))
    assert mine == its, "the same branch, for the same reason"


def test_the_best_score_before_the_illness_is_where_it_goes_back_to(whole, tmp_path):
    run = tmp_path / "a"
    shutil.copytree(whole, run)
    config = parse(words(run, **BACK, **{"evaluate.every_nimg": 32}))
    scores = {64: 9.0, 96: 12.0, 128: 3.0}
    with open(run / "metrics.jsonl", "a") as log:
        log.writelines(json.dumps({"nimg": n, "score/fid": s}) + "\n" for n, s in scores.items())
    assert rollback.best_before(run, config, 128) == 64
    assert rollback.best_before(run, config, 129) == 128
    shutil.rmtree(run / "checkpoints" / "000000064")
    assert rollback.best_before(run, config, 128) == 96
    config.evaluate.every_nimg = None
    forget_looks(run)
    assert rollback.best_before(run, config, 200) == 128, "nobody looked: the newest"
    assert rollback.best_before(run, config, 20) is None
    with open(run / "metrics.jsonl", "a") as log:
        near = {32: 0.9, 90: 0.4, 128: 0.6}
        log.writelines(json.dumps({"nimg": n, DISTANCE: d}) + "\n" for n, d in near.items())
    assert rollback.best_before(run, config, 200) == 96, "the nearest to real images"
    assert rollback.best_before(run, config, 96) == 32, "64 is gone"


def forget_looks(run):
    """Leaves the log as that of a run whose samples were never compared with images."""
    log = run / "metrics.jsonl"
    log.write_text("".join(x for x in log.read_text().splitlines(True) if DISTANCE not in x))


def test_an_illness_that_comes_again_was_there_before():
    """The next rollback goes behind the place of the last one; another illness does not."""
    one = rollback.Rollback(64, 128, "mode_collapse", 1)

    def until(verdict, since):
        notice = Notice(since + 32, verdict, "begins", since, 1.0, {}, "")
        return rollback.healthy_until([one], notice)

    assert until("mode_collapse", 96) == 64
    assert until("mode_collapse", 128) == 64
    assert until("mode_collapse", 160) == 160, "it was well beyond where it had been ill"
    assert until("diverges", 96) == 96


def test_by_hand(whole, tmp_path, capsys):
    """The run after it equals the unbroken one; `auto` goes on from there."""
    run = tmp_path / "a"
    shutil.copytree(whole, run)
    assert largegan(["rollback", str(run), "--to", "64"]) == 0
    said = capsys.readouterr().out
    assert "rollback by hand: from 128 to 64 images because of a person; nothing changes" in said
    assert kept(run / "checkpoints") == [32, 64]
    assert kept(run / "checkpoints" / "left-from-000000064") == [96, 128]
    assert main(words(run, **{"run.resume": "auto"})) == 0
    assert "resuming from" in (said := capsys.readouterr().out) and "000000064" in said
    same_bytes(run, whole)


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (
            ["--to", "65"],
            "has no checkpoint at 65 images; its checkpoints are at: 32, 64, 96, 128",
            2,
        ),
        (["--to", "128"], "is the newest checkpoint already: nothing to do", 0),
    ],
)
def test_by_hand_bad_words_are_one_sentence(options, says, code, whole, capsys):
    assert largegan(["rollback", str(whole), *options]) == code
    assert says in "".join(capsys.readouterr())


def test_by_hand_a_number_of_images_is_one(whole, capsys):
    with pytest.raises(SystemExit) as left:
        largegan(["rollback", str(whole), "--to", "-1"])
    assert left.value.code == 2 and "--to is -1;" in capsys.readouterr().err


def test_by_hand_damage_and_strangers(whole, tmp_path, capsys):
    assert largegan(["rollback", str(tmp_path), "--to", "1"]) == 2
    assert "holds no run" in capsys.readouterr().err
    run = tmp_path / "a"
    shutil.copytree(whole, run)
    with open(run / "checkpoints" / "000000064" / checkpoint.MODEL, "r+b") as file:
        file.write(b"x")
    assert largegan(["rollback", str(run), "--to", "64"]) == 3
    assert "damaged model.safetensors" in capsys.readouterr().err
    assert not branches.left_branches(run)


ROLL = ("--health.on_mode_collapse", "rollback")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--health.on_boredom", "stop"], "there is no setting health.on_boredom"),
        (["--health.on_mode_collapse", "sing"], "health.on_mode_collapse: expected"),
        ([*ROLL, "--health.rollback.times", "0"], "health.rollback.times is 0"),
        ([*ROLL, "--health.rollback.change", "{recipe.lr: twice}"], "recipe.lr is to become twice"),
        ([*ROLL, "--health.rollback.change", "{recipe.lrr: 1}"], "recipe.lrr, which is none here"),
        ([*ROLL, "--health.rollback.change", "{recipe.lr: times -1}"], "recipe.lr is -0.0002"),
        ([*ROLL, "--train.save_every_nimg", "9999999"], "no checkpoint before the end"),
        (["--health.rollback.change", "{recipe.lr: 1}"], "no verdict asks for a rollback"),
        (["--health.on_discriminator_overfits", "stop"], "nothing is held out"),
        (["--health.on_diverges", "warn", "--health.signals", "false"], "health.signals is off"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(given, says):
    with pytest.raises(ConfigError) as fault:
        parse(["--recipe.name", "dcgan", *given])
    assert says in str(fault.value)


@pytest.mark.parametrize("change", ["{recipe.width: 16}", "{ada.p: 0.5}"])
def test_changes_that_no_checkpoint_fits_are_refused_at_the_start(change, tmp_path, capsys):
    more = {**BACK, "health.rollback.change": change}
    assert main(words(tmp_path / "a", **more)) == 2
    assert "health.rollback.change" in capsys.readouterr().err


def test_every_verdict_has_its_setting():
    health = vars(parse(["--recipe.name", "gan"]).health)
    assert {k.removeprefix("on_") for k in health if k.startswith("on_")} == set(VERDICTS)


@pytest.mark.parametrize(
    ("change", "new"), [("plus 0.1", 0.3), ("times 0.5", 0.1), (0.6, 0.6), ("plus 5", 1.0), (-1, 0)]
)
def test_what_augmentation_adapted_is_changed_once(change, new):
    """In the checkpoint that the run goes back to, within its range; not in later ones."""
    found = rollback.Rollback(64, 96, "memorises", 1, state={"ada.p": change})
    for nimg, wanted in ((64, new), (96, 0.2)):
        model = {"augment.p": torch.tensor(0.2), "G.weight": torch.ones(2)}
        rollback.change_state(model, Path(f"{nimg:09d}"), found)
        assert model["augment.p"].item() == pytest.approx(wanted)
        assert model["G.weight"].tolist() == [1, 1]
