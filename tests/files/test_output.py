"""The door out: what is written, over what, and what is left when it goes wrong."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from largegan.cli import exit_code
from largegan.errors import ConfigError, EnvironmentFault
from largegan.files import output
from largegan.files.claims import Outputs
from largegan.files.output import made_here, new_folder, write_text, writing


def listing(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"mine")
    return folder


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["photos/a.png", "photos/new.png", "photos/deep/er.png"])
def test_nothing_is_written_over_or_into_what_is_read(photos, tmp_path, name, overwrite):
    with pytest.raises(ConfigError, match="read"):
        Outputs([photos], overwrite=overwrite).file(tmp_path / name)
    assert listing(tmp_path) == ["photos", "photos/a.png"]


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_a_link_to_what_is_read_is_found(photos, tmp_path, kind):
    other = tmp_path / "out.png"
    (other.symlink_to if kind == "link" else other.hardlink_to)(photos / "a.png")
    claims = Outputs([tmp_path / "list.txt"], overwrite=True)
    claims.file(other)
    with pytest.raises(ConfigError, match="which is read"):
        claims.protect([photos / "a.png"])
    with pytest.raises(ConfigError, match="which is read"):
        Outputs([photos / "a.png"], overwrite=True).file(other)


def test_a_file_is_replaced_only_when_it_is_named_or_ours(tmp_path):
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    theirs.write_text("{}")
    write_text(ours, f'{{"made_by": "{output.MARK}"}}')
    assert made_here(ours) and not made_here(theirs)
    Outputs().file(ours, again=True)
    with pytest.raises(ConfigError, match="exists; choose another"):
        Outputs().file(theirs, again=True)
    Outputs(overwrite=True).file(theirs)
    with pytest.raises(ConfigError, match="not made by largegan"):
        Outputs(overwrite=True).inside(tmp_path, ["theirs.json"])
    Outputs(overwrite=True).inside(tmp_path, ["ours.json", "new.json"])


@pytest.mark.parametrize("name", ["../a", "/a", "b/../../a", "", "a\0b"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="outside of OUT"):
        Outputs(overwrite=True).inside(tmp_path, [name])


def test_links_that_lead_out_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / "away")
    with pytest.raises(ConfigError, match="leads out of"):
        Outputs().inside(tmp_path / "out", ["sub/a.png"])


def test_two_outputs_of_one_name(tmp_path):
    claims = Outputs()
    claims.file(tmp_path / "a.png", "--sheet")
    with pytest.raises(ConfigError, match="--json and --sheet are both"):
        claims.file(tmp_path / "a.png", "--json")


@pytest.mark.parametrize(
    "place,says",
    [
        ("file/out", "a file stands where a folder should"),
        ("x" * 300, "name is too long"),
        ("gone/out", "gone|No such file"),
        ("link", "a link to nowhere"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence_before_the_work(tmp_path, place, says):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "link").symlink_to("nowhere")
    before = listing(tmp_path)
    with pytest.raises(EnvironmentFault, match=says):
        Outputs().file(tmp_path / place)
    assert listing(tmp_path) == before and (tmp_path / "link").is_symlink()


def test_failure_leaves_nothing_and_what_was_there(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with pytest.raises(ValueError), writing(path) as partial:
        partial.write_text("half")
        raise ValueError
    assert listing(tmp_path) == []
    write_text(path, "one")
    with pytest.raises(ValueError), writing(path) as partial:
        partial.write_text("half")
        raise ValueError
    assert path.read_text() == "one" and len(listing(tmp_path)) == 3
    with pytest.raises(ValueError), new_folder(tmp_path / "new") as folder:
        (folder / "x").write_text("half")
        raise ValueError
    assert not (tmp_path / "new").exists() and len(listing(tmp_path)) == 3


def test_partial_files_have_names_that_are_free(tmp_path):
    """Nobody's hidden file is taken, and the longest name has a partial one."""
    path = tmp_path / ("a" * 255)
    (tmp_path / f".{'a' * 200}").write_text("mine")
    write_text(path, "all")
    assert path.read_text() == "all" and (tmp_path / f".{'a' * 200}").read_text() == "mine"
    assert len(listing(tmp_path)) == 2
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_full_disk_is_one_sentence(tmp_path):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        code = exit_code(lambda: write_text(tmp_path / "a.txt", "x" * 5000))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 4 and listing(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(tmp_path, number):
    program = (
        "import sys, time, pathlib; from largegan.cli import exit_code\n"
        "from largegan.files.output import new_folder\n"
        "def work():\n"
        "    with new_folder(pathlib.Path('out')) as folder:\n"
        "        (folder / 'a').write_text('half'); time.sleep(60)\n"
        "sys.exit(exit_code(work))\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not listing(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and said.startswith("error: stopped by SIG"), said
    assert listing(tmp_path) == []


def test_words_of_any_kind_are_shown_on_one_line():
    assert output.shown("a\nb\x1b") == r"a\nb\x1b"
    assert output.shown(Path(os.fsdecode(b"caf\xe9.png"))) == r"caf\xe9.png"
    assert len(output.shown("x" * 1000)) < 200


def test_a_folder_that_was_filled_meanwhile_stays_as_it_is(tmp_path):
    """Of two starts with the same OUT the second says what happened."""

    def both() -> None:
        with new_folder(tmp_path / "out") as first:
            (first / "ours").write_text("1")
            with new_folder(tmp_path / "out") as second:
                (second / "theirs").write_text("2")

    with pytest.raises(EnvironmentFault, match="filled by another program meanwhile"):
        both()
    assert listing(tmp_path) == ["out", "out/theirs"]
