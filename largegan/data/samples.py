"""Samples of a shard: which members belong together, and what their labels say.

This is where the rules of the format are checked: members of one sample are adjacent, and a sample
has one image, or two that are called KEY.a.png and KEY.b.png. What is no part of a sample is
counted.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from largegan.data.account import Account
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.labels import LARGEST_CLASS, whole
from largegan.data.tar import Member, TarDamage
from largegan.errors import DataError, shown
from largegan.files.documents import parse_document

LABEL_EXTENSIONS = ("cls", "json")


@dataclasses.dataclass
class Sample:
    """One sample of a shard: its image member and its label (None: it has none).

    A pair has a second image, ``image_b``.
    """

    key: str
    image: Member | None = None
    image_b: Member | None = None
    label: int | None = None
    fault: DataError | None = None

    @property
    def name(self) -> str:
        return shown(self.image.name if self.image else self.key)


def split_name(name: str) -> tuple[str, str]:
    """``a/000.cls`` -> (``a/000``, ``cls``), split at the first dot of the base name."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def is_image(name: str) -> bool:
    return domain_of(name) is not None


def domain_of(name: str) -> str | None:
    """ "" for the image of a sample, "a" or "b" for those of a pair, None for another member."""
    domain, dot, extension = split_name(name)[1].rpartition(".")
    known = extension in (*IMAGE_EXTENSIONS, "npy") and domain in ("", "a", "b")
    return domain if known and bool(dot) == bool(domain) else None


def is_label(name: str) -> bool:
    return split_name(name)[1] in LABEL_EXTENSIONS


def has_dots(name: str) -> bool:
    """An image or a label with dots in its name, such as ``photo 22.04.png``."""
    extension = split_name(name)[1]
    last = extension.rpartition(".")[2]
    return last != extension and last in (*IMAGE_EXTENSIONS, *LABEL_EXTENSIONS)


def is_wanted_label(name: str) -> bool:
    """A label's member, whether or not there are dots in its name."""
    return split_name(name)[1].rpartition(".")[2] in LABEL_EXTENSIONS


def stop(error: DataError) -> None:
    """The default of ``report``: the first fault ends it all."""
    raise error


def group(
    members: Iterable[Member],
    *,
    shard: str,
    report: Callable[[DataError], None] = stop,
    account: Account | None = None,
    label_of: "Callable[[Member, str], Any] | None" = None,
) -> Iterator[Sample]:
    """Adjacent members of one key make a sample; the key ends at the first dot, as in webdataset.

    Where that gives no image, as for ``photo 22.04.png``, it ends at the last dot. Members that
    are neither image nor label go into the account. A sample that breaks the rules of the format
    goes to ``report`` and, if that returns, is left out.
    """
    account, seen = account or Account(), set()
    for key, adjacent in groupby(members, key=lambda member: split_name(member.name)[0]):
        for name, found in _by_key(key, list(adjacent), account).items():
            fault = _repeated(name, shard) if name in seen else None
            seen.add(name)
            sample = Sample(name, fault=fault)
            for member in found:
                _add(sample, member, shard, label_of or parse_label)
            yield from _complete(sample, shard, report)


def _by_key(key: str, members: list[Member], account: Account) -> dict[str, list[Member]]:
    """Images and labels that begin with ``key`` and a dot, by the key of their sample."""
    plain, dotted = [], []
    for member in members:
        if is_image(member.name) or is_label(member.name):
            plain.append(member)
        elif has_dots(member.name):
            dotted.append(member)
        else:
            account.leave("members that are neither image nor label", member.name)
    found = {key: plain} if plain else {}
    if any(is_image(member.name) for member in plain):
        account.leave("members beside the image of their sample", *(m.name for m in dotted))
        return found
    images = {m.name.rpartition(".")[0] for m in dotted if not is_wanted_label(m.name)}
    for member in dotted:
        stem = member.name.rpartition(".")[0]
        if stem in images:
            found.setdefault(stem, []).append(member)
        else:
            account.leave("labels without an image", member.name)
    return found


def _add(
    sample: Sample, member: Member, shard: str, label_of: Callable[[Member, str], Any]
) -> None:
    if is_wanted_label(member.name):
        try:
            label = label_of(member, shard)
            if label is not None and sample.label not in (None, label):
                raise DataError(
                    f"sample {sample.key} in shard {shard} has two labels, {sample.label} and "
                    f"{label}; an image has one class"
                )
            sample.label = sample.label if label is None else label
        except DataError as error:
            sample.fault = sample.fault or error
    elif domain_of(member.name) == "b" and sample.image_b is None:
        sample.image_b = member
    elif domain_of(member.name) != "b" and sample.image is None:
        sample.image = member
    else:
        sample.fault = sample.fault or DataError(
            f"sample {shown(sample.key)} in shard {shard} has two images, "
            f"{shown((sample.image or member).name)} and {shown(member.name)}; a sample holds "
            "one, so remove the other and pack again"
        )


def _repeated(key: str, shard: str) -> DataError:
    return DataError(
        f"members of sample {shown(key)} in shard {shard} are not adjacent, or two samples have "
        "this key; pack the shard again with largegan pack"
    )


def _complete(sample: Sample, shard: str, report: Callable[[DataError], None]) -> Iterator[Sample]:
    key = shown(sample.key)
    if sample.fault is None and (sample.image is None) != (sample.image_b is None):
        lone = sample.image or sample.image_b
        if domain_of(lone.name):
            sample.fault = DataError(
                f"sample {key} in shard {shard} has {shown(lone.name)} and not the other image of "
                "the pair; pack the shard again with largegan pack --paired"
            )
    if sample.fault is None and sample.image is None:
        sample.fault = DataError(
            f"sample {key} in shard {shard} has no image beside its label; pack the shard "
            "again with largegan pack"
        )
    if sample.fault is None:
        yield sample
    else:
        report(sample.fault)


LABEL_KEYS = ("label", "class", "cls", "class_id", "label_id", "category", "target")


def label_value(member: Member, shard: str, field: str | None = None) -> Any:
    """What a ``.cls`` says, or a ``.json`` under `field` or a key of LABEL_KEYS; None: nothing."""
    text, where = member.data or b"", f"member {shown(member.name)} in shard {shard}"
    if member.name.lower().endswith(".cls"):
        return text.decode("utf-8", "replace").strip()
    remedy, what = "correct the labels and pack the dataset again", "holds no class number"
    content = parse_document(text, Any, where=where, what=what, remedy=remedy)
    if not isinstance(content, dict):
        return content
    keys = LABEL_KEYS if field is None else (field,)
    return next((content[key] for key in keys if content.get(key) is not None), None)


def parse_label(member: Member, shard: str) -> int | None:
    """The class number in a ``.cls`` or ``.json`` member; None for a ``.json`` without one."""
    value = label_value(member, shard)
    if value is None:
        return None
    number = None if isinstance(value, bool | list | dict) else whole(value)
    if number is None or number > LARGEST_CLASS:
        raise DataError(
            f"member {shown(member.name)} in shard {shard} holds no class number "
            f"({(member.data or b'')[:20]!r}): classes are whole numbers from 0 to "
            f"{LARGEST_CLASS}; correct the labels and pack the dataset again"
        )
    return number


def damaged(shard: str, error: TarDamage) -> DataError:
    """The sentence for a damaged archive."""
    after = f" (last readable member: {shown(error.member)})" if error.member else ""
    return DataError(
        f"shard {shard} is damaged: {error}{after}; fetch or pack it again, or set "
        "on_error to skip to train without the rest of it"
    )
