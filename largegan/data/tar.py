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
QUIET = (b"5", b"g", b"K")  # folders, notes about the whole archive, long names of links' targets
KINDS = {b"1": "links", b"2": "links", b"3": "devices", b"4": "devices", b"6": "pipes",
         b"S": "sparse files"}  # fmt: skip
LARGEST_SPECIAL = 1 << 20  # bytes of a long name or a pax header
LARGEST_LOADED = 512 << 20  # bytes of a member that is loaded
PIECE = 1 << 24  # bytes that are read at once
COMPRESSED = {  # first bytes -> what unpacks them
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}


class TarDamage(ValueError):
    """The archive is not what was written: ``member`` is the last name that could be read."""

    def __init__(self, reason: str, *, member: str):
        super().__init__(reason)
        self.member = member


class Member(NamedTuple):
    """One file in a tar."""

    name: str
    offset: int  # of the first byte of data, from the start of the archive
    size: int  # bytes of data
    data: bytes | None  # None unless it was asked for


def nobody(reason: str, name: str) -> None:
    """The default of ``leave``: what is left out is not counted."""


def walk(
    file: BinaryIO,
    *,
    want: Callable[[str], bool],
    length: int | None = None,
    leave: Callable[[str, str], None] = nobody,
) -> Iterator[Member]:
    """Yield the regular files of an uncompressed ustar, GNU or pax archive in order.

    ``want(name)`` says whose data to load. With ``length`` (bytes of a seekable file) the other
    data are skipped over; without it ``file`` may be a pipe or a socket. ``leave(reason, name)``
    hears of members that are no files: links, devices.
    Raises TarDamage at the first damage, after having yielded everything before it.
    """
    position, previous, stated = 0, "", Stated()
    while True:
        header = _read(file, BLOCK)
        if header == bytes(BLOCK):
            return
        if position == 0:
            _refuse_compressed(header)
        if len(header) < BLOCK:
            raise TarDamage("it ends without an end mark: it is truncated", member=previous)
        name, size, kind = parse_header(header, position=position, previous=previous)
        special = kind in (LONG_NAME, PAX)
        if not special:
            name, size, stated = stated.name or name, stated.size or size, Stated()
        start, padded = position + BLOCK, -(-size // BLOCK) * BLOCK
        wanted = special or (kind in REGULAR and want(name))
        if wanted and size > (LARGEST_SPECIAL if special else LARGEST_LOADED):
            raise TarDamage(f"the member at byte {position} claims {size} bytes", member=previous)
        data = _load(file, start, size, padded, wanted=wanted, length=length, name=name)
        if special:
            stated = _stated(data, kind, stated, previous=previous)
        elif kind in REGULAR:
            previous = name
            yield Member(name, start, size, data)
        elif kind not in QUIET:
            leave(f"{KINDS.get(kind, 'members of unknown kinds')}, not files", name)
        position = start + padded


def _refuse_compressed(start: bytes) -> None:
    tool = next((tool for mark, tool in COMPRESSED.items() if start.startswith(mark)), None)
    if tool is not None:
        raise TarDamage(
            f"it is compressed; {tool} it, images do not become smaller twice", member=""
        )


class Stated(NamedTuple):
    """What special members say of the one behind them."""

    name: str | None = None
    size: int | None = None


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
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


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
    if not wanted:
        found = sum(len(_read(file, min(PIECE, padded - at))) for at in range(0, padded, PIECE))
    else:
        data = _read(file, padded)
        found = len(data)
    if found < size:
        raise TarDamage(f"it is truncated at byte {start + found}", member=name)
    return data[:size] if wanted else None


def _stated(data: bytes, kind: bytes, stated: Stated, *, previous: str) -> Stated:
    """With what one more special member says; raises TarDamage."""
    if kind == LONG_NAME:
        return stated._replace(name=_text(data))
    for key, value in _records(data, previous):
        if key == b"path":
            stated = stated._replace(name=value.decode("utf-8", "surrogateescape"))
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise TarDamage("a pax header states no size", member=previous)
            stated = stated._replace(size=int(value))
    return stated


def _records(data: bytes, previous: str) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of pax records: b"<length> <key>=<value>\\n"; raises TarDamage."""
    while data:
        digits, space, _ = data[:20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[len(digits) + 1 : length]
        if not len(digits) + 3 <= length <= len(data) or record[-1:] != b"\n":
            raise TarDamage("a pax header is damaged", member=previous)
        key, _, value = record[:-1].partition(b"=")
        yield key, value
        data = data[length:]


def _read(file: BinaryIO, size: int) -> bytes:
    """Exactly ``size`` bytes unless the file ends: a socket or pipe may return fewer at once.

    Nothing of ``size`` is allocated before it has come.
    """
    data = file.read(min(size, PIECE)) or b""
    if len(data) == size:
        return data
    pieces, left = [data], size - len(data)
    while left and pieces[-1]:
        pieces.append(file.read(min(left, PIECE)) or b"")
        left -= len(pieces[-1])
    return b"".join(pieces)


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
