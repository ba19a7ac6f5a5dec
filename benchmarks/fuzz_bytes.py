"""How the fuzzer spoils things: bytes at random, numbers in headers, lies in documents."""

import json
import struct
from random import Random
from typing import Any

LIES = [
    None, -1, 0, 1, 7, 2**31, 2**53 + 1, 10**29, 1e308, float("inf"), float("nan"), True, "x", "",
    [], {}, [[[[]]]], 0.5, "../../x", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", "\x1b[31m",
    {"": {"": {}}}, [1] * 300,
]  # fmt: skip
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]


def spoiled(data: bytes, random: Random) -> bytes:
    """A few changes, one after the other."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        random.choice(CHANGES)(changed, random)
    return bytes(changed)


def place(data: bytearray, random: Random) -> int:
    """Somewhere; in the first bytes, where headers are, more often than elsewhere."""
    last = max(len(data) - 1, 0)
    return random.randint(0, min(last, random.choice((16, 64, 512, last))))


def flip(data: bytearray, random: Random) -> None:
    if data:
        data[place(data, random)] ^= 1 << random.randrange(8)


def overwrite(data: bytearray, random: Random) -> None:
    at = place(data, random)
    data[at : at + random.choice((1, 2, 4, 16))] = random.randbytes(random.choice((1, 2, 4, 16)))


def insert(data: bytearray, random: Random) -> None:
    at = place(data, random)
    data[at:at] = random.choice((random.randbytes(8), bytes(64), b"\xff" * 16, b"[" * 2000))


def drop(data: bytearray, random: Random) -> None:
    at = place(data, random)
    del data[at : at + random.choice((1, 4, 64, 4096))]


def cut(data: bytearray, random: Random) -> None:
    del data[random.randint(0, len(data)) :]


def repeat(data: bytearray, random: Random) -> None:
    at = place(data, random)
    data[at:at] = data[at : at + random.choice((16, 512, 4096))]


def number(data: bytearray, random: Random) -> None:
    """A number such as sizes are made of, in either byte order."""
    at, width = place(data, random), random.choice((1, 2, 4, 8))
    value = random.choice(NUMBERS) & (1 << 8 * width) - 1
    data[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))


def digits(data: bytearray, random: Random) -> None:
    """More digits where text states a number."""
    found = [i for i, byte in enumerate(data[:4096]) if chr(byte).isdecimal()]
    if found:
        at = random.choice(found)
        data[at : at + 1] = random.choice((b"-1", b"9" * 12, b"0", b"1e999", b"9" * 400))


CHANGES = (flip, flip, overwrite, insert, drop, cut, repeat, number, number, digits)


def places(value: Any, path: tuple = ()):
    """The path of every value in a document."""
    yield path
    named = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else named:
        yield from places(item, (*path, key))


def lie(document: Any, random: Random) -> Any:
    """The document with something else in one place, or without it, or with more."""
    document = json.loads(json.dumps(document))
    path = random.choice([p for p in places(document) if p])
    here = document
    for key in path[:-1]:
        here = here[key]
    what = random.randrange(8)
    if what == 0:
        del here[path[-1]]
    elif what == 1 and isinstance(here, dict):
        here[random.choice(("", "x", "x" * 300, "__class__"))] = random.choice(LIES)
    else:
        here[path[-1]] = random.choice(LIES)
    return document


def document(value: Any, random: Random) -> bytes:
    """JSON that lies, or is spoiled as bytes."""
    if random.randrange(3):
        return json.dumps(lie(value, random)).encode("utf-8", "surrogatepass")
    return spoiled(json.dumps(value).encode(), random)


def header_lies(data: bytes, random: Random) -> bytes:
    """Of safetensors: the header lies, and its length is right."""
    (length,) = struct.unpack("<Q", data[:8])
    text = document(json.loads(data[8 : 8 + length]), random)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def tar_lies(data: bytes, random: Random) -> bytes:
    """Of a tar: a header is spoiled, and its checksum is right."""
    blocks = [i for i in range(0, len(data) - 511, 512) if data[i + 257 : i + 262] == b"ustar"]
    at = random.choice(blocks)
    header = bytearray(data[at : at + 512])
    begin, end = random.choice(((0, 100), (124, 136), (156, 157), (257, 265), (345, 500)))
    field = bytearray(header[begin:end])
    spoil = bytearray(spoiled(bytes(field), random)[: end - begin])
    header[begin:end] = spoil.ljust(end - begin, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]
