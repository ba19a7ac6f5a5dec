"""LMDB as LSUN has it: a key, and behind it the bytes of one image file (WebP, JPEG, PNG).

Labels are read where `image-KEY` lies beside `label-KEY`. Of several resolutions of one image,
such as `64-00017` and `128-00017`, the largest are taken.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from largegan.data.apart import Findings, spilled
from largegan.data.originals import Item, Originals, Request
from largegan.errors import DataError, shown
from largegan.files.extras import extra
from largegan.files.photos import PNG_START, TIFF_STARTS

FILE, MAGIC = "data.mdb", b"\xde\xc0\xef\xbe"  # at byte 16, behind a page's header
STARTS = (b"\xff\xd8\xff", PNG_START, b"GIF8", b"BM", *TIFF_STARTS)
RESOLUTION = re.compile(r"(\d+)-\d+")


def recognizes(path: Path) -> bool:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(20)[16:20] == MAGIC


def read(source: Path, request: Request) -> Originals:
    """All images of an LMDB, in the order of its keys. Raises DataError, ConfigError."""
    return spilled(source, lambda findings: _items(source, findings), request)


def _items(source: Path, findings: Findings) -> Iterator[Item]:
    lmdb, account = extra("lmdb", "reading LMDB"), findings.account
    try:
        with (
            lmdb.open(
                str(source), subdir=source.is_dir(), readonly=True, lock=False, max_readers=1
            ) as environment,
            environment.begin() as content,
        ):
            largest = _largest(content.cursor().iternext(values=False))
            for key, value in content.cursor():
                name = key.decode("utf-8", "backslashreplace")
                if not is_image(value):
                    if not name.startswith("label-"):
                        account.leave("values that are no image files", name)
                elif largest and RESOLUTION.fullmatch(name)[1] != largest:
                    account.leave(f"smaller copies of images of {largest} pixels", name)
                else:
                    label = content.get(key.replace(b"image-", b"label-", 1), b"")
                    stated = name.startswith("image-") and label
                    yield Item(name, value, label.decode("utf-8", "replace") if stated else None)
    except lmdb.Error as fault:
        raise DataError(
            f"{shown(source)} cannot be read as an LMDB ({shown(fault)}); fetch it again"
        ) from fault


def is_image(value: bytes) -> bool:
    """By its first bytes."""
    container = value[:4] == b"RIFF" and value[8:12] == b"WEBP"
    return container or value[4:8] == b"ftyp" or value.startswith(STARTS)


def _largest(keys: Iterator[bytes]) -> str | None:
    """The largest resolution, where all keys of images state one."""
    names = [key.decode("utf-8", "backslashreplace") for key in keys]
    found = [RESOLUTION.fullmatch(name) for name in names if name != "length"]
    if not found or not all(found):
        return None
    return max((match[1] for match in found), key=int)
