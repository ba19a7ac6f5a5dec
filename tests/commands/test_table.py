"""The command `largegan`: its table, its help, and the doors in tools/ to the same programs."""

import importlib
import os
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from largegan import commands
from largegan.commands import TABLE

ROOT = Path(__file__).parents[2]
DOORS = sorted(path.stem for path in (ROOT / "tools").glob("*.py"))
WITHOUT_DOOR = {"train", "ops"}  # those are `python -m largegan.train` and `-m largegan.ops`


def answer_of(work, capsys) -> tuple[int, str, str]:
    """(exit code, standard output, standard error), however the work ends."""
    try:
        code = work()
    except SystemExit as stop:
        code = stop.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


def through_door(name: str, *words: str) -> int:
    sys.argv = [f"tools/{name}.py", *words]
    return runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")


@pytest.fixture(autouse=True)
def own_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])


def test_every_tool_is_a_door_and_every_command_has_one():
    assert set(DOORS) == set(TABLE) - WITHOUT_DOOR
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(TABLE) - WITHOUT_DOOR


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_a_few_lines(name):
    assert len((ROOT / "tools" / f"{name}.py").read_text().splitlines()) <= 15


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("words", [["--help"], ["--no-such-option"], ["nowhere", "nowhere"]])
def test_door_and_command_answer_alike(name, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = answer_of(lambda: commands.main([name, *words]), capsys)
    assert answer_of(lambda: through_door(name, *words), capsys) == command
    assert command[0] == 0 if words == ["--help"] else command[0] in (2, 3, 4)


@pytest.mark.parametrize("start", [commands.program, lambda: commands.door("pack")])
def test_ctrl_c_while_a_command_is_loaded_is_a_sentence(start, monkeypatch, capsys):
    def pressed(*words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", pressed)
    monkeypatch.setattr(sys, "argv", ["largegan", "pack"])
    code, _, error = answer_of(start, capsys)
    assert code == 130 and error.startswith("error: stopped by SIGINT") and error.count("\n") == 1


@pytest.mark.parametrize("stream", ["full", "gone"])
def test_where_nobody_takes_what_is_said(stream):
    """A full disk is a sentence; a reader that has heard enough is none."""
    ours, theirs = os.pipe()
    if stream == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), theirs)
    os.close(ours)
    words = [sys.executable, "-m", "largegan", "--help"]
    done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(theirs)
    full = (4, "error: the disk is full; check the path and the disk\n")
    assert (done.returncode, done.stderr) == (full if stream == "full" else (0, ""))


@pytest.mark.parametrize("name", TABLE)
def test_help_of_a_command_names_it(name, capsys):
    code, out, _ = answer_of(lambda: commands.main([name, "--help"]), capsys)
    own = {"train": "python -m largegan.train", "ops": "python -m largegan.ops"}
    assert code == 0 and own.get(name, f"largegan {name}") in out
    assert ".py " not in out.split("options:")[0], "examples are of the command"


def test_overview_has_a_line_for_each(capsys):
    code, out, err = answer_of(lambda: commands.main(["--help"]), capsys)
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert code == 0 and not err
    assert {name: about for name, about in lines} == {n: about for n, (_, about) in TABLE.items()}
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage: largegan COMMAND"),
        (["smaple"], "there is no command 'smaple'; did you mean sample?"),
        (["xyz"], "there is no command 'xyz'; give one of train, doctor,"),
    ],
)
def test_wrong_words(words, says, capsys):
    code, out, err = answer_of(lambda: commands.main(words), capsys)
    assert code == 2 and not out and says in err


def test_version(capsys):
    assert answer_of(lambda: commands.main(["--version"]), capsys)[1:] == (
        metadata.version("largegan") + "\n",
        "",
    )


def test_help_of_all_commands_is_light():
    """Nothing that takes seconds to import; `ops` is a package that has to load torch."""
    code = (
        "import sys\nfrom largegan import commands\nassert commands.main(['--help']) == 0\n"
        "for name in commands.TABLE.keys() - {'ops'}:\n"
        "    try: commands.main([name, '--help'])\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


PROGRAMS = {
    "module": [sys.executable, "-m", "largegan"],
    "script": [str(Path(sys.executable).parent / "largegan")],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_installed_program(program):
    """Its exit code and its sentence are the command's."""
    words = [*PROGRAMS[program], "verify", "nowhere"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 3 and done.stderr.startswith("error: ")


def test_a_launcher_hears_the_exit_code(tmp_path, monkeypatch):
    """slurm/forward.sh reads it from a file, as launchers turn every failure into 1."""
    monkeypatch.setenv("LARGEGAN_EXIT_FILE", str(tmp_path / "codes"))
    with pytest.raises(SystemExit) as stop:
        through_door("fid", "photos")
    assert stop.value.code == 2 and (tmp_path / "codes").read_text() == "2\n"


def test_a_python_without_largegan_is_told(tmp_path):
    door = str(ROOT / "tools" / "doctor.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", door], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 4 and done.stdout.startswith("FAIL  largegan: not installed")


def test_rows_have_a_main():
    for module, about in TABLE.values():
        assert callable(importlib.import_module(module).main) and not about.endswith(".")
