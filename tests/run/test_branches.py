"""Branches of a run: nothing is lost, mixed or overwritten, whenever the program is killed."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from largegan import checkpoint
from largegan.errors import DataError
from largegan.run import branches, snapshots
from tests.test_checkpoint import content

EVENT = {"event": "rollback", "nimg": 32, "from_nimg": 128, "number": 1}


def made(run: Path, nimgs=(32, 64, 96, 128), mark: int = 0) -> Path:
    """A run of these checkpoints; `mark` is in everything that it writes."""
    (run / "samples").mkdir(parents=True, exist_ok=True)
    (run / snapshots.FOLDER).mkdir(exist_ok=True)
    for nimg in nimgs:
        checkpoint.save(run / "checkpoints", nimg, content(nimg + mark))
        (run / "samples" / f"fakes-{nimg:09d}.png").write_text(str(mark))
        snapshots.path_of(run, nimg).write_text(str(mark))
        for log in branches.LOGS:
            with open(run / log, "a") as file:
                file.write(json.dumps({"nimg": nimg, "mark": mark}) + "\n")
    return run


def own(run: Path, nimg: int) -> Path:
    return run / "checkpoints" / f"{nimg:09d}"


def contents(run: Path) -> dict[str, str | None]:
    """Every file of a run by its name, those of checkpoints by their state."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.name == checkpoint.STATE:
            found[name] = path.read_text()
        elif path.is_file() and path.suffix in (".png", ".jsonl", ".json", snapshots.SUFFIX):
            inside = path.parent.name.isdecimal()
            found[name] = None if inside else path.read_text()
    return found


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in checkpoint.numbered(folder))


def marks(log: Path) -> list[tuple[int, int]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["nimg"], line["mark"]) for line in lines]


def test_what_is_newer_is_set_apart_with_its_logs_and_pictures(tmp_path):
    run = made(tmp_path)
    (said,) = branches.follow(run, own(run, 32))
    aside = run / "checkpoints" / "left-from-000000032"
    assert str(aside) in said and "goes on from 000000032" in said
    assert numbers(run / "checkpoints") == [32] and numbers(aside) == [64, 96, 128]
    assert marks(run / "metrics.jsonl") == [(32, 0)] == marks(run / "health.jsonl")
    assert [n for n, _ in marks(aside / "metrics.jsonl")] == [32, 64, 96, 128]
    for name in ("samples", snapshots.FOLDER):
        assert [len(list((f / name).iterdir())) for f in (run, aside)] == [1, 3]
    assert branches.follow(run, own(run, 32)) == [], "there is nothing newer any more"


def test_a_second_branch_never_touches_the_first(tmp_path):
    run = made(tmp_path)
    branches.follow(run, own(run, 32))
    made(run, (64,), mark=1)
    branches.follow(run, own(run, 32))
    first, second = branches.left_branches(run)
    assert (first, second) == ("left-from-000000032", "left-from-000000032-2")
    folder = run / "checkpoints"
    assert checkpoint.load(folder / first / "000000064").state == {"nimg": 64}
    assert checkpoint.load(folder / second / "000000064").state == {"nimg": 65}


def test_a_left_branch_is_followed_again_with_its_own_logs(tmp_path):
    """Not with those of the branch that was followed in between."""
    run = made(tmp_path)
    branches.follow(run, own(run, 32))
    made(run, (48, 64, 80), mark=1)
    left = run / "checkpoints" / "left-from-000000032"
    assert branches.is_left(left / "000000096", run / "checkpoints")
    branches.follow(run, left / "000000096")
    assert numbers(run / "checkpoints") == [32, 64, 96] and numbers(left) == [128]
    assert marks(run / "metrics.jsonl") == [(32, 0), (64, 0), (96, 0)]
    assert sorted(p.read_text() for p in (run / "samples").iterdir()) == ["0", "0", "0"]
    between = run / "checkpoints" / "left-from-000000032-2"
    assert numbers(between) == [48, 64, 80]
    assert marks(between / "metrics.jsonl") == [(32, 0), (48, 1), (64, 1), (80, 1)]


def test_anothers_checkpoint_sets_nothing_apart(tmp_path):
    run, other = made(tmp_path / "a"), made(tmp_path / "b")
    before = contents(run), contents(other)
    assert branches.follow(other, own(run, 32)) == []
    assert (contents(run), contents(other)) == before


def killed_at(step: int, run: Path, work) -> bool:
    """Does `work` in a child that is killed with -9 before its n-th change of the disk; False when
    it came to its end."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def hook(name: str, arguments: tuple) -> None:
            changes = name in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")
            written = name == "open" and isinstance(arguments[2], int)
            written = written and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (changes or written) and str(run) in str(arguments[0]):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def older(run: Path):
    return branches.follow(run, own(run, 32), EVENT)


def back(run: Path):
    return branches.follow(run, run / "checkpoints" / "left-from-000000032" / "000000064")


@pytest.mark.parametrize("turn", [older, back], ids=["to an older one", "to a left branch"])
def test_kill_9_before_every_change_of_the_disk(turn, tmp_path):
    """The next start finds either nothing changed, or the whole turn: no third thing."""

    def fresh(name: str) -> Path:
        run = made(tmp_path / name)
        if turn is back:
            branches.follow(run, own(run, 32))
            made(run, (48, 80), mark=1)
        return run

    whole = fresh("whole")
    before = contents(whole)
    turn(whole)
    after, step = contents(whole), 0
    assert before != after
    while True:
        step += 1
        run = fresh(f"killed{step}")
        if not killed_at(step, run, lambda r=run: turn(r)):
            break
        branches.finish(run)
        found = contents(run)
        assert found in (before, after), step
        if found == before:
            turn(run)
            assert contents(run) == after, step
    assert step > 10, "the hook saw changes"


def test_a_damaged_note_is_one_sentence(tmp_path):
    run = made(tmp_path)
    for text in ("{", "[]", '{"to": 1}', '{"to": 1, "fork": 1, "aside": "../../elsewhere"}'):
        (run / "checkpoints" / branches.TURN).write_text(text)
        with pytest.raises(DataError, match=r"turn\.json is not the note of a turn"):
            branches.finish(run)
