"""What the library that parses settings says, as a sentence for people; what was probably meant."""

import difflib
import re

from largegan.errors import shown
from largegan.files.ranges import LIMITS


def out_of_range(message: str) -> str | None:
    """The sentence for a value that one of the types of `ranges` does not take, or None."""
    found = re.search(r'Parser key "([\w.]+)".*?Not of type (\w+): (.*)', message)
    if not found or found[2] not in LIMITS:
        return None
    key, kind, why = found.groups()
    given = re.search(r"Given value(?: type: <class '[\w.]+'>)?: (.*)", message)
    value = given[1] if given else re.split(r"\s*does not (?:conform|match)", why)[0]
    if no_text := re.match(r"expected string or bytes-like object, got '(\w+)'", value):
        value = f"a {no_text[1]}"
    if "invalid literal" in why or "could not convert" in why:
        value = why.rpartition(": ")[2]
    shown_value = shortened(value) if value.strip() else "empty"
    return f"{key} is {shown_value}; it must be {LIMITS[kind]}"


def shortened(text: str, most: int = 80) -> str:
    """A value for a sentence."""
    text = shown(text)
    return text if len(text) <= most else f"{text[:most]}..."


UNKNOWN = (
    r"nrecognized arguments: --(?P<key>[\w.]+)",
    r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'",
    r"(?:Key|Option) '(?P<key>[\w.]+)' is not (?:accepted|expected)",
)


NO_GROUP = r"""Parser key "([\w.]+)":? Unable to load config ['"](.*)['"]"""


def explain(message: str, known: list[str]) -> str:
    """The parser's message on one line, with the nearest option that exists."""
    message = one_line(message)
    for pattern in UNKNOWN:
        if found := re.search(pattern, message):
            groups = found.groupdict()
            key, group = groups["key"], groups.get("group")
            if group and not key.startswith(f"{group}."):
                key = f"{group}.{key}"
            return f"there is no setting {key}{near(key, known)}"
    if sentence := out_of_range(message):
        return sentence
    if whole := re.search(NO_GROUP, message):
        some = [k for k in known if k.startswith(f"{whole[1]}.")]
        return f"{whole[1]}: expected settings such as {some[0]}, got {shortened(whole[2])}"
    union = re.search(
        r'Parser key "([\w.]+)".* Subtypes: \[(.*?)\] Errors.*Given value: (.*)', message
    )
    if union:
        kinds = re.sub(r"<class '|'>|typing\.", "", union[2]).replace(", ", " or ")
        return f"{union[1]}: expected {kinds}, got {shortened(union[3])}"
    wrong = re.search(r'Parser key "([\w.]+)":? (.*?)\.? ?Got value: (.*)', message)
    if wrong:
        expected = re.sub(r"^Expected an? |<class '|'>|typing\.", "", wrong[2]).strip()
        expected = re.sub(r"^Literal\[(.*)\]$", r"one of \1", expected)
        return f"{wrong[1]}: expected {expected}, got {shortened(wrong[3])}"
    return message


def near(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the closest known name, else what its group offers."""
    tails = {k.split(".")[-1]: k for k in known}
    found = difflib.get_close_matches(word, known, 1, 0.6)
    found = found or [
        tails[t] for t in difflib.get_close_matches(word.split(".")[-1], list(tails), 1, 0.6)
    ]
    group = word.split(".")[0]
    offers = [k.split(".")[-1] for k in known if k.startswith(f"{group}.")]
    # "train.learning_rate" looks like nothing in its group: its neighbors say what to look for.
    if "." in word and not (found and found[0].startswith(f"{group}.")) and offers:
        return f"; {group} has {', '.join(offers)}"
    return f"; did you mean {found[0]}?" if found else ""


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
