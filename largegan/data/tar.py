"""Walk the members of a tar archive and refuse a damaged one.

Python's ``tarfile`` stops without a word at a damaged header that is not the first, and so do
the readers built on it. A trainer must not lose half a shard in silence, so headers are read here:
every checksum is verified, and an archive has to end with its end mark.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

BLOCK = 512
REGULAR, LONG_NAME, PAX = (b"0", b"\0", b"7"), b"L", b"x"


class TarDamage(ValueError):
    """The archive is not what was written: ``member`` is the last name that could be read."""

    def __init__(self, reason: str, *, member: str):
        super().__init__(reason)
        self.member = member


class Member(NamedTuple):
    name: str
    offset: int  # of the first byte of data, from the start of the archive
    size: int  # bytes of data
    data: bytes | None  # None unless it was asked for


def walk(
    file: BinaryIO, *, want: Callable[[str], bool], length: int | None = None
) -> Iterator[Member]:
    """Yield the regular files of an uncompressed ustar, GNU or pax archive in order.

    ``want(name)`` says whose data to load. With ``length`` (bytes of a seekable file) the other
    data are skipped over; without it ``file`` may be a pipe or a socket.
    Raises TarDamage at the first damage, after having yielded everything before it.
    """
    position, previous, long_name = 0, "", None
    while True:
        header = _read(file, BLOCK)
        if header == bytes(BLOCK):
            return
        if len(header) < BLOCK:
            raise TarDamage("it ends without an end mark: it is truncated", member=previous)
        name, size, kind = parse_header(header, position=position, previous=previous)
        name, long_name = long_name or name, None
        start, padded = position + BLOCK, -(-size // BLOCK) * BLOCK
        special = kind in (LONG_NAME, PAX)
        wanted = special or (kind in REGULAR and want(name))
        data = _load(file, start, size, padded, wanted=wanted, length=length, name=name)
        if special:
            long_name = _long_name(data, kind) or long_name
        elif kind in REGULAR:
            previous = name
            yield Member(name, start, size, data)
        position = start + padded


def parse_header(header: bytes, *, position: int, previous: str = "") -> tuple[str, int, bytes]:
    """Name, size in bytes and type flag of one 512-byte header whose checksum is right."""
    try:
        stored = int(header[148:156].strip(b" \0"), 8)
        size = _number(header[124:136])
    except ValueError:
        stored, size = -1, -1
    # The checksum field itself counts as eight spaces.
    if stored != sum(header) - sum(header[148:156]) + 8 * 32 or size < 0:
        raise TarDamage(f"the header at byte {position} has a wrong checksum", member=previous)
    name = _text(header[:100])
    prefix = (
        _text(header[345:500]) if header[257:262] == b"ustar" and header[263:265] == b"00" else ""
    )
    return (f"{prefix}/{name}" if prefix else name), size, header[156:157]


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU base-256, used for files of 8 GiB and more
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _load(
    file: BinaryIO,
    start: int,
    size: int,
    padded: int,
    *,
    wanted: bool,
    length: int | None,
    name: str,
) -> bytes | None:
    """The data of one member, or None after stepping over them."""
    if length is not None and start + size > length:
        raise TarDamage(f"it is truncated at byte {length} of {start + size}", member=name)
    if length is not None and not wanted:
        file.seek(min(start + padded, length))
        return None
    data = _read(file, padded)
    if len(data) < size:
        raise TarDamage(f"it is truncated at byte {start + len(data)}", member=name)
    return data[:size] if wanted else None


def _long_name(data: bytes, kind: bytes) -> str | None:
    if kind == LONG_NAME:
        return _text(data)
    while data:  # pax records: b"<length> <key>=<value>\n"
        length = int(data.split(b" ", 1)[0])
        key, _, value = data[:length].split(b" ", 1)[1].rstrip(b"\n").partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "replace")
        data = data[length:]
    return None


def _read(file: BinaryIO, size: int) -> bytes:
    """Exactly ``size`` bytes unless the file ends: a socket or pipe may return fewer at once."""
    data = file.read(size) or b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            break
        data += more
    return data


def member_at(path: Path, offset: int) -> str:
    """Name of the member whose data begin at ``offset``, for messages."""
    try:
        with path.open("rb") as file:
            for member in walk(file, want=lambda _: False, length=path.stat().st_size):
                if member.offset == offset:
                    return member.name
    except (TarDamage, OSError):
        pass  # the caller is reporting another fault already
    return f"at byte {offset}"
