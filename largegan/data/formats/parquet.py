"""Parquet with image bytes and a label column; Hugging Face's `image: {bytes, path}` too."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from largegan.data.apart import Findings, spilled
from largegan.data.originals import Item, Originals, Request
from largegan.data.splits import chosen
from largegan.errors import DataError, shown
from largegan.files.archives import LARGEST_MEMBER, RATIO, SUSPECT
from largegan.files.documents import checked, parse_document, read_bounded
from largegan.files.extras import extra

START = b"PAR1"
FOLDERS, MOST_FOLDERS = ("data", "default", "train"), 64
IMAGES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
LABELS = ("label", "labels", "class", "cls", "fine_label", "target", "category", "coarse_label")
AT_ONCE = 64  # rows
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    NotImplementedError,
    IndexError,
)  # Arrow's own are among them


def recognizes(path: Path) -> bool:
    if path.is_file():
        with path.open("rb") as file:
            return file.read(4) == START
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    with os.scandir(path) as entries:
        inside = list(islice((entry.name for entry in entries if entry.is_dir()), MOST_FOLDERS))
    if len(inside) == MOST_FOLDERS:  # class folders of images
        inside = [name for name in inside if name in FOLDERS]
    return sorted(file for name in ("", *inside) for file in (path / name).glob("*.parquet"))


def read(source: Path, request: Request) -> Originals:
    """Rows of all files of a split, train where none is named. Raises DataError, ConfigError."""
    return spilled(source, lambda findings: _items(source, request, findings), request)


def _items(source: Path, request: Request, findings: Findings) -> Iterator[Item]:
    extra("pyarrow", "reading parquet")
    root = source if source.is_dir() else source.parent
    names = [file.relative_to(root).as_posix() for file in _files(source)]
    if source.is_dir():
        names = chosen(names, request.split, findings.account, where=shown(source))
    for name in names:
        try:
            yield from _rows(root, name, request, findings)
        except DAMAGE as fault:
            raise DataError(
                f"{shown(root / name)} cannot be read as parquet ({shown(fault)}); fetch it again"
            ) from fault


def _rows(root: Path, name: str, request: Request, findings: Findings) -> Iterator[Item]:
    """Images and labels of one file."""
    from pyarrow import parquet

    with parquet.ParquetFile(root / name, pre_buffer=False) as file:
        _refuse_lies(file.metadata, shown(root / name))
        image, label = _columns(file.schema_arrow, shown(root / name), request)
        others = [f"{key} of {name}" for key in LABELS if key in file.schema_arrow.names]
        others = [key for key in others if label and not key.startswith(f"{label} of ")]
        findings.account.leave("other columns of labels (--label-field chooses)", *others)
        findings.class_names = findings.class_names or _class_names(file.schema_arrow, label)
        columns, row = [image] + ([label] if label else []), 0
        for batch in file.iter_batches(AT_ONCE, columns=columns):
            values = batch.column(0).to_pylist()
            labels = batch.column(1).to_pylist() if label else [None] * len(values)
            for value, stated in zip(values, labels, strict=True):
                row_name = f"row {row} of {name}"
                data = _bytes_of(value, root)
                row += 1
                if data is None:
                    findings.account.leave("rows without the bytes of an image", row_name)
                else:
                    yield Item(row_name, data, stated)


def _columns(schema: Any, where: str, request: Request) -> tuple[str, str | None]:
    """The names of the columns with images and with labels."""
    possible = [f.name for f in schema if _holds_bytes(f.type)]
    image = next((name for name in IMAGES if name in possible), None)
    if image is None and len(possible) == 1:
        image = possible[0]
    if image is None:
        raise DataError(
            f"{where} has no column of images; its columns are {shown(', '.join(schema.names))}, "
            f"and images are bytes or {{bytes, path}} called {', '.join(IMAGES)}"
        )
    if request.labels == "none":
        return image, None
    if request.field is not None and request.field not in schema.names:
        raise DataError(
            f"{where} has no column {shown(request.field)}; its columns are "
            f"{shown(', '.join(schema.names))}"
        )
    return image, request.field or next((name for name in LABELS if name in schema.names), None)


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return any(field.name == "bytes" and not types.is_struct(field.type)
                   and _holds_bytes(field.type) for field in fields)  # fmt: skip
    return types.is_binary(kind) or types.is_large_binary(kind)


def _bytes_of(value: Any, root: Path) -> bytes | None:
    """The file's bytes of a cell, from the path beside them where there are none."""
    if not isinstance(value, dict):
        return value
    place = PurePosixPath(value.get("path") or "/")
    inside = not place.is_absolute() and ".." not in place.parts
    if value["bytes"] is None and inside and (root / place).is_file():
        return read_bounded(root / place, LARGEST_MEMBER, "leave it out")
    return value["bytes"]


class Feature(msgspec.Struct):
    """What Hugging Face says of a column; classes have names."""

    names: list[str] | None = None


class Info(msgspec.Struct):
    """What `datasets` says of a file: its columns."""

    features: dict[str, Any] = {}


class HuggingFace(msgspec.Struct):
    """The document in a schema's metadata."""

    info: Info = msgspec.field(default_factory=Info)


def _class_names(schema: Any, label: str | None) -> list[str]:
    """Names of the classes in a file that `datasets` wrote; none elsewhere."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None or label is None:
        return []
    about = {"where": "a parquet file", "what": "has odd metadata", "remedy": "save it again"}
    features = parse_document(text, HuggingFace, **about).info.features
    feature = features.get(label)
    return checked(feature, Feature, **about).names or [] if isinstance(feature, dict) else []


def _refuse_lies(metadata: Any, where: str) -> None:
    """Raises DataError for a file that would unpack to far more than it has."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            column = group.column(index)
            claimed, stored = column.total_uncompressed_size, column.total_compressed_size
            if claimed > SUSPECT + RATIO * max(1, stored):
                raise DataError(f"{where} would unpack {stored} bytes to {claimed}")
