"""Zip archives from outside: what is damaged, locked or too large is one sentence."""

import contextlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from largegan.errors import DataError, shown

LARGEST_MEMBER = 512 << 20  # bytes of one image file
SUSPECT, RATIO = 64 << 20, 200  # a member this large that packs this well is no image
ENCRYPTED = 1  # bit of a member's flags


class DamagedMember(OSError):
    """One member cannot be read: the end of a sentence that begins with its name."""


def open_zip(path: Path, kind: str = "a zip") -> zipfile.ZipFile:
    """The archive, its directory read: all its members have names. Raises DataError."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError) as fault:
        raise DataError(
            f"{shown(path)} cannot be read as {kind} ({shown(fault)}); fetch it again"
        ) from fault
    if not all(entry.filename for entry in archive.infolist()):
        archive.close()
        raise DataError(f"{shown(path)} has a member without a name; fetch it again")
    return archive


def check_member(entry: zipfile.ZipInfo, most: int = LARGEST_MEMBER) -> None:
    """Refuses a member that claims too much. Raises DamagedMember."""
    if entry.flag_bits & ENCRYPTED:
        raise DamagedMember("is encrypted with a password; unpack the archive first")
    if entry.file_size > most:
        raise DamagedMember(f"would unpack to {entry.file_size} bytes, more than {most}")
    if entry.file_size > SUSPECT and entry.file_size > RATIO * max(1, entry.compress_size):
        raise DamagedMember(
            f"would unpack {entry.compress_size} bytes to {entry.file_size}, as no image does"
        )


def read_member(archive: zipfile.ZipFile, name: str, most: int = LARGEST_MEMBER) -> bytes:
    """The bytes of one member, never more than it claims. Raises DamagedMember."""
    with damaged_members():
        entry = archive.getinfo(name)
        check_member(entry, most)
        with archive.open(entry) as file:
            data = file.read(entry.file_size + 1)
            if len(data) != entry.file_size:
                raise DamagedMember("has another size than the zip says")
            return data


@contextlib.contextmanager
def damaged_members() -> Iterator[None]:
    """What zipfile and its decompressors raise on damage becomes DamagedMember."""
    try:
        yield
    except DamagedMember:
        raise
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError,
        NotImplementedError, ValueError, KeyError, struct.error,
    ) as fault:  # fmt: skip
        raise DamagedMember(f"cannot be read from the zip ({shown(fault)})") from fault


def refuse_locked(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raises DataError for an archive with a password."""
    locked = next((entry for entry in entries if entry.flag_bits & ENCRYPTED), None)
    if locked is not None:
        raise DataError(
            f"{shown(path)} is encrypted with a password ({shown(locked.filename)}); unpack it "
            "and give the folder"
        )
