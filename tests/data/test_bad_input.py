"""Every way the data can be wrong: one sentence with the place and the remedy, and an exit code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from largegan.data import Stream, open_data
from largegan.data.micros import RankShare
from largegan.data.reading import Reading
from largegan.errors import ConfigError, DataError, UserError
from tests.data.conftest import jpeg, members, picture, png, write_tar


def failure(path: object, **settings: object) -> UserError:
    """The error that opening the data and reading all of it ends with."""
    with pytest.raises(UserError) as caught:
        source = open_data(path, Reading(**settings))
        stream = Stream(source, RankShare(4, 4), workers=0)
        for _ in range((source.info.count or 60) // 4 + 1):
            stream.next_batch()
    sentence = str(caught.value)
    assert "\n" not in sentence and 20 < len(sentence) < 400
    return caught.value


def replaced(name: str, data: bytes | None) -> list[tuple[str, bytes]]:
    """Good members, but for one that is changed or, with None, left out."""
    changed = [(n, data if n == name else d) for n, d in members(12)]
    return [(n, d) for n, d in changed if d is not None]


def flip_header_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"00007.png") + 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"00007.png") + 600])


def truncate_after_image(path: Path) -> None:
    """Right behind a member: the case in which webdataset says nothing."""
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"00007.cls")])


GRAY, ALPHA, LARGE = (
    png(picture(1, channels=1)),
    png(picture(1, channels=4)),
    png(picture(1, size=9)),
)
CUT_JPEG = jpeg(picture(1, size=64))[:-200]
BROKEN_PNG = members(12)[14][1][:-30]
MEMBER = "member 00007.png in shard bad.tar"
SHARD_CASES: dict[str, tuple[list, Callable[[Path], None] | None, list[str]]] = {
    "flipped header byte": (
        members(12),
        flip_header_byte,
        ["bad.tar is damaged", "wrong checksum", "00006.cls"],
    ),
    "truncated in a member": (
        members(12),
        truncate,
        ["bad.tar is damaged", "truncated", "fetch or pack it again"],
    ),
    "truncated between members": (
        members(12),
        truncate_after_image,
        ["bad.tar is damaged", "00007.png"],
    ),
    "missing label": (
        replaced("00007.cls", None),
        None,
        [MEMBER, "has no label", "pack the dataset again"],
    ),
    "label is no number": (
        replaced("00007.cls", b"cat"),
        None,
        ["00007.cls in shard bad.tar", "b'cat'"],
    ),
    "negative label": (
        replaced("00007.cls", b"-3"),
        None,
        ["00007.cls in shard bad.tar", "no class number"],
    ),
    "no image": (replaced("00007.png", None), None, ["sample 00007 in shard bad.tar", "no image"]),
    "two images": (
        [*members(3), ("00002.jpg", b"x")],
        None,
        ["sample 00002", "two images", "00002.jpg"],
    ),
    "members not adjacent": (
        [*members(3), ("00000.cls", b"1")],
        None,
        ["sample 00000", "not adjacent"],
    ),
    "truncated image": (
        replaced("00007.png", BROKEN_PNG),
        None,
        [MEMBER, "not a readable PNG", "on_error"],
    ),
    "jpeg that is cut off": (
        [(n.replace("png", "jpg"), CUT_JPEG if n == "00000.png" else d) for n, d in members(1)],
        None,
        ["member 00000.jpg in shard bad.tar", "not a readable JPEG", "Premature end"],
    ),
    "truncated jpeg": (
        replaced("00007.png", b"\xff\xd8\xff\xe0abc"),
        None,
        [MEMBER, "not a readable JPEG"],
    ),
    "not an image": (
        replaced("00007.png", b"hello"),
        None,
        [MEMBER, "not a readable image", "unknown format"],
    ),
    "empty image": (replaced("00007.png", b""), None, [MEMBER, "not a readable image"]),
    "gray image": (replaced("00007.png", GRAY), None, [MEMBER, "1 channel", "dataset has 3"]),
    "image with alpha": (
        replaced("00007.png", ALPHA),
        None,
        [MEMBER, "4 channel", "dataset has 3"],
    ),
    "another size": (replaced("00007.png", LARGE), None, [MEMBER, "9x9", "dataset is 8x8"]),
    "no images at all": ([("a.txt", b"x")], None, ["no image was found", "largegan pack"]),
    "not a tar": (
        members(1),
        lambda p: p.write_bytes(b"x" * 2000),
        ["bad.tar is damaged", "checksum"],
    ),
    "empty file": (members(1), lambda p: p.write_bytes(b""), ["bad.tar is damaged", "truncated"]),
}


@pytest.mark.parametrize("case", SHARD_CASES)
@pytest.mark.parametrize("mode", ["auto", "stream"])
def test_bad_shards_without_index(tmp_path: Path, case: str, mode: str) -> None:
    content, damage, words = SHARD_CASES[case]
    path = write_tar(tmp_path / "bad.tar", content)
    if damage:
        damage(path)
    error = failure(path, mode=mode, num_classes=3)
    if mode == "stream":  # there the shard is named by its whole path
        words = [w.replace("bad.tar", str(path)).replace("no image was", "") for w in words]
        words = [w for w in words if w != " found" and "largegan pack" not in w]
    assert error.exit_code == 3 and all(w in str(error) for w in words), error


@pytest.mark.parametrize("case", SHARD_CASES)
def test_verify_names_the_same_faults(tool, tmp_path: Path, case: str) -> None:
    content, damage, words = SHARD_CASES[case]
    path = write_tar(tmp_path / "bad.tar", content)
    if damage:
        damage(path)
    code, out, err = tool("verify", path)
    assert code == 3
    words = [w for w in words if "on_error" not in w and "again" not in w]
    assert all(w in out + err for w in words), out + err


def test_verify_names_every_fault_at_once(tool, tmp_path: Path) -> None:
    content = [(n, GRAY if n == "00002.png" else d) for n, d in replaced("00007.cls", None)]
    content = [(n, b"x" if n == "00004.cls" else d) for n, d in content]
    content = [(n, d[:-9] if n == "00009.png" else d) for n, d in content]
    code, out, _ = tool("verify", write_tar(tmp_path / "bad.tar", content))
    assert code == 3 and "4 bad" in out
    assert all(name in out for name in ("00002.png", "00004.cls", "00007.png", "00009.png"))


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def change_index(folder: Path, **changes: object) -> None:
    document = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**document, **changes}))


def change_entries(folder: Path, column: int, value: int) -> None:
    path = folder / "shard-000002.idx.npy"
    entries = np.load(path)
    entries[4, column] = value
    np.save(path, entries)


SECOND = "shard-000002"
INDEX_CASES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "truncated shard": (
        lambda f: (f / f"{SECOND}.tar").write_bytes((f / f"{SECOND}.tar").read_bytes()[:5000]),
        [SECOND, "truncated: 5000 of", "fetch"],
    ),
    "longer shard": (
        lambda f: (f / f"{SECOND}.tar").open("ab").write(b"x"),
        [SECOND, "its index says", "--write-index"],
    ),
    "missing shard": (lambda f: (f / f"{SECOND}.tar").unlink(), [SECOND, "missing"]),
    "missing entries": (
        lambda f: (f / f"{SECOND}.idx.npy").unlink(),
        [f"{SECOND}.idx.npy is missing", "--write-index"],
    ),
    "damaged entries": (
        lambda f: (f / f"{SECOND}.idx.npy").write_bytes(b"x"),
        [f"{SECOND}.idx.npy", "cannot be read"],
    ),
    "fewer entries": (
        lambda f: np.save(f / f"{SECOND}.idx.npy", np.zeros((3, 3), int)),
        ["(3, 3)", "12 samples"],
    ),
    "entries outside": (lambda f: change_entries(f, 0, 10**9), ["points outside shard", SECOND]),
    "label out of range": (
        lambda f: change_entries(f, 2, 7),
        ["member 00000028.png", f"{SECOND}.tar", "label 7", "0 to 2"],
    ),
    "label missing": (lambda f: change_entries(f, 2, -1), ["member 00000028.png", "no label"]),
    "damaged index": (
        lambda f: (f / "index.json").write_text("{"),
        ["index.json is not a largegan index"],
    ),
    "another format": (
        lambda f: change_index(f, format="x"),
        ["index.json is not a largegan index"],
    ),
    "newer index": (lambda f: change_index(f, version=99), ["index version 99", "update largegan"]),
    "no shards listed": (lambda f: change_index(f, shards=[]), ["lists no samples"]),
    "another channel count": (
        lambda f: change_index(f, channels=1),
        ["member 000", "3 channel", "dataset has 1"],
    ),
    "another resolution": (
        lambda f: change_index(f, height=16),
        ["member 000", "8x8", "dataset is 16x8"],
    ),
}


@pytest.mark.parametrize("case", INDEX_CASES)
def test_bad_index(copy: Path, tool, case: str) -> None:
    damage, words = INDEX_CASES[case]
    damage(copy)
    error = failure(copy)
    assert error.exit_code == 3 and all(w in str(error) for w in words), error
    assert tool("verify", copy)[0] == 3


def test_verify_finds_a_flipped_bit_that_still_decodes(copy: Path, tool) -> None:
    path = copy / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in the padding
    path.write_bytes(data)
    code, out, _ = tool("verify", copy)
    assert code == 3 and "shard-000000.tar does not have the sha256" in out
    assert tool("verify", copy, "--write-index")[0] == 0
    assert tool("verify", copy)[0] == 0


def test_verify_decodes_behind_a_damaged_header(copy: Path, tool) -> None:
    """The index says where the images are, so the ones behind the damage are still checked."""
    path = copy / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    data[data.index(b"00000003.cls") + 1] ^= 1
    rows = np.load(copy / "shard-000000.idx.npy")
    data[rows[8, 0] + 60] ^= 0xFF
    path.write_bytes(data)
    code, out, _ = tool("verify", copy)
    assert code == 3 and "wrong checksum" in out and f"at byte {rows[8, 0]}" in out


PATH_CASES: dict[str, tuple[Callable[[Path], object], int, list[str]]] = {
    "not there": (lambda p: {"path": p / "nowhere"}, 3, ["no shards were found", "nowhere"]),
    "empty folder": (lambda p: {"path": p}, 3, ["no shards were found in the folder"]),
    "pattern without match": (
        lambda p: {"path": f"{p}/*.tar"},
        3,
        ["no shards were found", "*.tar"],
    ),
    "missing of a range": (lambda p: {"path": f"{p}/{{0..3}}.tar"}, 3, ["no shards were found"]),
    "another file": (lambda p: {"path": __file__}, 3, ["neither a .tar shard nor an index"]),
    "unknown scheme": (lambda p: {"path": "ftp://host/a.tar"}, 2, ["scheme ftp", "http"]),
    "pipe without leave": (
        lambda p: {"path": "pipe:cat a.tar"},
        2,
        ["shell command", "allow_pipe"],
    ),
    "unknown bundle": (lambda p: {"path": "bundled:faces"}, 2, ["bundled:faces", "noto32"]),
    "unknown mode": (lambda p: {"path": p, "mode": "fast"}, 2, ["mode is 'fast'", "stream"]),
    "unknown policy": (lambda p: {"path": p, "on_error": "ignore"}, 2, ["'ignore'", "skip"]),
    "odd fraction": (lambda p: {"path": p, "max_skip_fraction": 3}, 2, ["max_skip_fraction is 3"]),
    "nobody there": (
        lambda p: {"path": "http://127.0.0.1:9/a.tar"},
        4,
        ["does not answer", "network"],
    ),
    "indexed by URL without index": (
        lambda p: {"path": "pipe:x", "allow_pipe": True, "mode": "indexed"},
        3,
        ["no index.json"],
    ),
}


@pytest.mark.parametrize("case", PATH_CASES)
def test_bad_paths_and_settings(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    settings, code, words = PATH_CASES[case]
    error = failure(**settings(tmp_path))
    assert error.exit_code == code and all(w in str(error) for w in words), error


def test_folders_that_do_not_match(tmp_path: Path) -> None:
    write_tar(tmp_path / "a" / "0.tar", members(4))
    write_tar(tmp_path / "b" / "0.tar", [("0.png", LARGE), ("0.cls", b"2")])
    error = failure([tmp_path / "a", tmp_path / "b"])
    assert error.exit_code == 3 and "height is 8 in one and 9" in str(error)


def test_class_sorted_shards_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in range(4):
        content = [(n, b"%d" % label if n.endswith("cls") else d) for n, d in members(10)]
        write_tar(tmp_path / "sorted" / f"{label}.tar", content)
        write_tar(tmp_path / "mixed" / f"{label}.tar", members(10))
    open_data(tmp_path / "sorted")
    assert "sorted by class" in caplog.text
    caplog.clear()
    open_data(tmp_path / "mixed")
    open_data(tmp_path / "sorted", Reading(rank=1))
    assert not caplog.text


@pytest.mark.parametrize("error,code", [(DataError, 3), (ConfigError, 2)])
def test_exit_codes_are_what_the_documentation_says(error: type[UserError], code: int) -> None:
    assert error.exit_code == code
