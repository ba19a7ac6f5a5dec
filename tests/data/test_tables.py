"""Tables of files and classes as people write them; what is not clear is refused, never lost."""

import pytest

from largegan.data.tables import read_table
from largegan.errors import DataError

TWO = [("a.png", "cat"), ("b.png", "dog")]
READ = {  # (text, field) -> rows
    "commas": ("a.png,cat\nb.png,dog\n", None, TWO),
    "a byte-order mark": ("\ufeffa.png,cat\nb.png,dog\n", None, TWO),
    "semicolons": ("a.png;cat\nb.png;dog\n", None, TWO),
    "tabs and returns": ("a.png\tcat\r\nb.png\tdog\r\n", None, TWO),
    "blanks": (" a.png , cat\n\n b.png , dog \n", None, TWO),
    "a comment first": ("# my list, 2026\na.png,cat\n# more\nb.png,dog\n", None, TWO),
    "a heading": ("file,label\na.png,cat\nb.png,dog\n", None, TWO),
    "a heading and a number": (",path,label\n0,a.png,cat\n1,b.png,dog\n", None, TWO),
    "commas in quotes": ('"a.png";"cat, big"\n"b.png";"dog"\n', None,
                         [("a.png", "cat, big"), ("b.png", "dog")]),
    "one of several": ("path,age,kind\na.png,3,cat\nb.png,4,dog\n", "kind", TWO),
    "several, as they are asked for": ("path,age,mood\na.png,3,1\n", "mood,age",
                                       [("a.png", "1 3")]),
}  # fmt: skip
REFUSED = {
    "more columns than the heading": ("file,label\na.png,cat,3\n", None, "a row of 3 columns"),
    "fewer columns": ("a.png,cat\nb.png\n", None, "a row of 1 columns"),
    "one of several fields is missing": ("path,a,b\nx.png,1,2\n", "a,z", "not clear"),
    "a field that is missing": ("path,a,b\nx.png,1,2\n", "z", "not clear"),
    "no heading": ("0,a.png,cat\n1,b.png,dog\n", None, "a row of 3 columns"),
    "UTF-16": ("a.png,cat\n".encode("utf-16"), None, "no text"),
}


@pytest.mark.parametrize("case", READ)
def test_read(case):
    text, field, rows = READ[case]
    assert read_table(text.encode(), "list.csv", field=field) == rows


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    text, field, says = REFUSED[case]
    with pytest.raises(DataError, match=says):
        read_table(text if isinstance(text, bytes) else text.encode(), "list.csv", field=field)
