"""Tables of files and classes: commas, semicolons or tabs, with or without a heading."""

import csv
import io
import re
from pathlib import PurePosixPath

from largegan.errors import DataError, shown
from largegan.files.documents import text_of

PATH_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
    "image_name", "image_id", "img", "img_path", "img_name", "name", "id",
)  # fmt: skip
CLASS_COLUMNS = (
    "label", "class", "category", "target", "cls", "label_id", "class_id", "class_name", "labels",
)  # fmt: skip
REMEDY = "it holds pairs of file name and class"


def read_table(
    text: bytes, where: str, *, field: str | None = None
) -> list[tuple[str, str | None]]:
    """(file, class) of every row of a CSV, in order; class None where there is one column only.

    Commas, semicolons or tabs part the columns, with or without a heading, with `field` the name of
    the column of classes. Rows that begin with # are comments. Raises DataError.
    """
    plain_text = text_of(text)
    if "\0" in plain_text:
        raise DataError(f"{where} holds bytes that are no text; {REMEDY}")
    plain_text = re.sub(r"(?m)^\s*#.*(\n|$)", "", plain_text)
    first = re.sub(r'"[^"\n]*"', "", plain_text.partition("\n")[0])  # what is quoted parts nothing
    parted = max(",;\t", key=first.count)
    if not first.count(parted) and where.endswith((".txt", ".lst")):  # "path class", as Caffe's
        plain_text = re.sub(r"(?m)[ ]+(\S+)[ ]*$", r"\t\1", plain_text)
        parted = "\t"
    try:
        reader = csv.reader(io.StringIO(plain_text, newline=""), delimiter=parted)
        rows = [[cell.strip() for cell in row] for row in reader if any(row)]
    except csv.Error as fault:
        raise DataError(f"{where} cannot be read ({fault}); {REMEDY}") from fault
    if not rows:
        return []
    heading = _is_heading(rows)
    path, labels = _columns(rows[0], where, field) if heading else (0, [1][: len(rows[0]) - 1])
    if field is not None and not heading:
        raise DataError(f"{where} has no first row that names its columns, such as {field!r}")
    first_row, rows = rows[0], rows[1:] if heading else rows
    most = len(first_row) if heading else 2
    odd = next((row for row in rows if not max([path, *labels]) < len(row) <= most), None)
    if odd is not None:
        raise DataError(
            f"{where} has a row of {len(odd)} columns ({shown(','.join(odd), 60)}); give two, the "
            "file and its class, or a first row that calls them path and label"
        )
    return [(row[path], " ".join(row[i] for i in labels) if labels else None) for row in rows]


def _columns(heading: list[str], where: str, field: str | None) -> tuple[int, list[int]]:
    """Which columns are the file and its class, or all that `field` names, with commas."""
    words = [word.lower() for word in heading]
    path = next((i for i, word in enumerate(words) if word in PATH_COLUMNS), 0)
    wanted = CLASS_COLUMNS if field is None else tuple(field.lower().split(","))
    labels = [i for i, word in enumerate(words) if word in wanted and i != path]
    if field is not None and len(wanted) > 1 and set(wanted) <= set(words):
        return path, [words.index(word) for word in wanted]
    label = labels[0] if labels and (field is None or len(wanted) == 1) else None
    others = [i for i in range(len(words)) if i != path]
    if label is None and (field is not None or len(others) > 1):
        raise DataError(
            f"{where} has the columns {shown(', '.join(heading))}, and it is not clear which is "
            "the class; name one with --label-field (data.label_field)"
        )
    return path, [label] if label is not None else others


def _is_heading(rows: list[list[str]]) -> bool:
    """The first row calls its columns by name, or is the only one that names no file."""
    words = [word.lower() for word in rows[0]]
    if words[0] in PATH_COLUMNS or (
        set(words) & set(PATH_COLUMNS) and set(words) & set(CLASS_COLUMNS)
    ):
        return True
    endings = [bool(PurePosixPath(row[0]).suffix) for row in rows]
    return not endings[0] and (all(endings[1:]) or words[-1] in CLASS_COLUMNS)
