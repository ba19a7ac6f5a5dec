"""Files that torch.save wrote, and pickles of networks, read without executing them.

Torch has had three formats: zip archives (since 1.6: `data.pkl` and a member for each storage), a
row of pickles followed by the numbers (0.1.10 to 1.5), and tar archives (before). Which one a file
has is seen from its first bytes. See `unpickle` for how pickles are read.
"""

import io
import mmap
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from largegan.errors import DataError
from largegan.files.pickle_records import Name
from largegan.files.stored import DTYPES, Storage
from largegan.files.unpickle import Unpickler
from largegan.interop.tar_files import read_tar

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of torch's second format
PROTOCOL = 1001
PICKLES_BEGIN = (b"\x80", b"(", b"}", b"]", b"c")  # protocol 2 on, and what came before
LARGEST_DIRECTORY = 1 << 24  # bytes of a zip archive's list of members
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of what follows it
TAIL = 1 << 16


def read_file(path: Path) -> Any:
    """What a .pkl, .pth, .pt or .bin holds: containers, records and `StoredTensor`s.

    Raises `DataError`, in one sentence, for what is damaged, hostile or of another kind.
    """
    try:
        with open(path, "rb") as file:
            if not path.stat().st_size:
                raise DataError("is empty")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return read_content(content)
    except DataError as fault:
        raise DataError(f"{path} cannot be imported: it {fault}") from fault
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror or fault}") from fault


def read_content(content: mmap.mmap | bytes) -> Any:
    """The same for bytes, mapped or in memory; the sentence has no subject yet."""
    data = memoryview(content)
    if data[:4] == b"PK\x03\x04":
        return read_zip(data)
    if data[257:262] == b"ustar":
        return read_tar(as_file(content), data)
    if bytes(data[:1]) not in PICKLES_BEGIN:
        raise DataError("is neither a pickle nor an archive of torch")
    return read_pickles(as_file(content), data)


def as_file(content: mmap.mmap | bytes) -> BinaryIO:
    """Bytes that can be read and sought, from their beginning."""
    file = content if isinstance(content, mmap.mmap) else io.BytesIO(content)
    file.seek(0)
    return file


# The second format, and plain pickles.


def read_pickles(file: BinaryIO, data: memoryview) -> Any:
    """A plain pickle, or torch's row of them with the numbers behind."""
    storages: dict[str, Storage] = {}
    make = partial(note_storage, storages)
    reader = Unpickler(file, len(data), persistent=make, nested=read_content)
    first = reader.load()
    if first != MAGIC:
        return first
    if reader.load() != PROTOCOL:
        raise DataError("is of a version of torch's format that is not known")
    system = reader.load()
    big_endian = isinstance(system, dict) and system.get("little_endian") is False
    found, keys = reader.load(), reader.load()
    fill_storages(file, data, storages, keys, big_endian=big_endian)
    return found


def note_storage(storages: dict[str, Storage], identity: Any) -> Any:
    """("storage", type, key, device, numel, view): a storage whose numbers come later.

    ("module", class, file, source): the class of a network; its source is left alone.
    """
    if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
        return identity[1]
    kind, key, numel = check_storage(identity)
    if len(identity) > 5 and identity[5] is not None:
        raise DataError("holds a view of a storage, as torch had them before 0.4")
    if key not in storages:
        storages[key] = Storage(DTYPES[kind], numel)
    return storages[key]


def check_storage(identity: Any) -> tuple[str, str, int]:
    """(type, key, numel) of a storage's id."""
    fine = isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage"
    if not fine or not isinstance(identity[1], Name):
        raise DataError("refers to something that is no storage of torch")
    _, kind, key, _, numel = identity[:5]
    if kind.name not in DTYPES or not isinstance(key, str) or type(numel) is not int or numel < 0:
        raise DataError(f"refers to a storage of type {kind.name[:40]}, which is not read")
    return kind.name, key, numel


def fill_storages(
    file: BinaryIO, data: memoryview, storages: dict, keys: Any, *, big_endian: bool
) -> None:
    """Behind the pickles: for each key the count as 8 bytes, and the numbers."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DataError("is damaged: its list of storages is none")
    order, at = ">q" if big_endian else "<q", file.tell()
    for key in keys:
        if key not in storages or at + 8 > len(data):
            raise DataError("is damaged or truncated: numbers of a tensor are missing")
        (numel,) = struct.unpack_from(order, data, at)
        size = storages[key].numel * storages[key].dtype.itemsize
        if numel != storages[key].numel:
            raise DataError("is damaged: a storage has another length than was said")
        storages[key].fill(data[at + 8 : at + 8 + size], big_endian=big_endian)
        at += 8 + size


# Zip archives.


def read_zip(data: memoryview) -> Any:
    """`data.pkl`, with the members that its tensors lie in."""
    check_directory(data)
    try:
        archive = zipfile.ZipFile(io.BufferedReader(_View(data)))
        members = {member.filename: member for member in archive.infolist()}
    except Exception as fault:  # zipfile fails on damaged bytes in many ways
        raise DataError(f"is a damaged archive ({type(fault).__name__}: {fault})") from fault
    prefix = find_prefix(members)
    part = partial(member_bytes, data, members)
    order = f"{prefix}byteorder"
    big_endian = order in members and bytes(part(order)[:8]) == b"big"
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, key, numel = check_storage(identity)
        if key not in storages:
            name = f"{prefix}data/{key}"
            storages[key] = Storage(DTYPES[kind], numel)
            storages[key].fill(part(name), big_endian=big_endian)
            storages[key].checksum = members[name].CRC
        return storages[key]

    pickled = part(f"{prefix}data.pkl")
    return Unpickler(
        io.BytesIO(pickled), len(pickled), persistent=persistent, nested=read_content
    ).load()


def check_directory(data: memoryview) -> None:
    """Bounds the list of members before it is read."""
    tail = bytes(data[-TAIL:])
    at, wide = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    if at < 0 or at + 16 > len(tail):
        raise DataError("is a truncated archive: its list of members is missing")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if size == 0xFFFFFFFF and 0 <= wide <= len(tail) - 48:
        (size,) = struct.unpack_from("<Q", tail, wide + 40)
    if size > LARGEST_DIRECTORY:
        raise DataError("is an archive of more members than any checkpoint has")


def find_prefix(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in the archive that holds `data.pkl`."""
    found = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise DataError("is a zip archive, but none that torch wrote")
    prefix = found[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in members:
        raise DataError("is a TorchScript program; give the checkpoint it was made from")
    return prefix


def member_bytes(data: memoryview, members: dict, name: str) -> memoryview:
    """A member's bytes where they lie: torch does not compress."""
    if name not in members:
        raise DataError(f"lacks its member {name[:80]}")
    member = members[name]
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise DataError(f"has a compressed or encrypted member {name[:80]}, unlike torch's own")
    start = member.header_offset
    if start < 0 or start + LOCAL_HEADER.size > len(data):
        raise DataError("is a truncated archive")
    signature, named, extra = LOCAL_HEADER.unpack_from(data, start)
    start += LOCAL_HEADER.size + named + extra
    if signature != b"PK\x03\x04" or start + member.file_size > len(data):
        raise DataError(f"is a damaged archive: {name[:80]} is not where it should be")
    return data[start : start + member.file_size]


class _View(io.RawIOBase):
    """A file over bytes, without a copy of them."""

    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: len(self.data)}[whence]
        if start + offset < 0:
            raise ValueError("negative seek")
        self.at = start + offset
        return self.at
