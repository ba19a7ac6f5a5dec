"""The tar walker against Python's own writer, and against every kind of damage."""

import io
import tarfile
from pathlib import Path

import pytest

from largegan.data.tar import TarDamage, member_at, walk


def archive(names: list[str], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for i, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 100 * i
            tar.addfile(info, io.BytesIO(bytes([i]) * info.size))
        folder = tarfile.TarInfo("a-folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    return out.getvalue()


NAMES = ["a.png", "sub/b.cls", "x" * 90 + ".png", "d" * 80 + "/" + "e" * 60 + ".jpg"]
VERY_LONG = "f" * 300 + ".png"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("seekable", [True, False])
def test_members_are_those_of_tarfile(kind: int, seekable: bool) -> None:
    names = NAMES if kind == tarfile.USTAR_FORMAT else [*NAMES, VERY_LONG, "größe.png"]
    data = archive(names, kind)
    length = len(data) if seekable else None
    found = list(walk(io.BytesIO(data), want=lambda n: n.endswith(".png"), length=length))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if m.isfile()]
    assert [(m.name, m.offset, m.size) for m in found] == expected
    for i, member in enumerate(found):
        wanted = bytes([i]) * (100 * i) if member.name.endswith(".png") else None
        assert member.data == wanted


@pytest.mark.parametrize("seekable", [True, False])
def test_every_truncation_is_noticed(seekable: bool) -> None:
    data = archive(["a.png", "b.png", "c.png"])
    end = data.rindex(b"a-folder") + 512  # then come the end marks
    for cut in range(0, end + 1, 37):
        part = data[:cut]
        length = len(part) if seekable else None
        with pytest.raises(TarDamage, match="truncated"):
            list(walk(io.BytesIO(part), want=lambda _: True, length=length))


def test_every_flipped_header_bit_is_noticed() -> None:
    """But for the bytes that tar itself leaves out of account: NUL and space in number fields."""
    data = archive(["a.png", "b.png", "c.png"])
    start = data.index(b"b.png")
    for byte in range(512):
        broken = bytearray(data)
        broken[start + byte] ^= 0x10
        if 148 <= byte < 156:
            continue  # the checksum field: leading zeros may become spaces
        with pytest.raises(TarDamage, match="checksum"):
            list(walk(io.BytesIO(bytes(broken)), want=lambda _: True, length=len(data)))


def test_member_names_for_messages(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(archive(["a.png", "b.png"]))
    with tarfile.open(path) as tar:
        offset = tar.getmember("b.png").offset_data
    assert member_at(path, offset) == "b.png"
    assert member_at(path, 3) == "at byte 3"
