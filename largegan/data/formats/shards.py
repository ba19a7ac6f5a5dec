"""WebDataset shards, anybody's: images with .cls, .json or .txt beside them, to be packed anew.

Labels may be class numbers or names. Training reads shards that fit as they are, see `source.py`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from largegan.data.account import Account
from largegan.data.decode import image_shape
from largegan.data.index import INDEX_NAME
from largegan.data.index_files import parse_index
from largegan.data.labels import whole
from largegan.data.originals import Originals, Request, classes_of
from largegan.data.samples import Sample, damaged, group, is_wanted_label, label_value, split_name
from largegan.data.scan import opened
from largegan.data.splits import chosen
from largegan.data.tar import Member, TarDamage, walk
from largegan.data.tree import is_image
from largegan.errors import DataError, shown
from largegan.files.photos import BadImage

LOOKED_AT = 64  # samples
LONGEST_NAME = 64  # characters of a class in a .txt; a caption is longer


def recognizes(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() == ".tar"
    if not path.is_dir() or any(path.glob("*.tar")):
        return path.is_dir()
    return (path / INDEX_NAME).is_file() and not any(is_image(p.name) for p in path.iterdir())


def read(source: Path, request: Request) -> Originals:
    """Images of shards, from where they lie, with their classes. Raises DataError."""
    account = Account()
    paths = [source] if source.is_file() else sorted(source.glob("*.tar"))
    leave_others(source, account)
    kept = chosen([p.name for p in paths], request.split, account, where=shown(source))
    places: list[tuple[Path, int, int]] = []
    names, labels, texts = [], [], []
    for path in (p for p in paths if p.name in kept):
        for sample, text in _samples(path, request.field, account):
            if sample.image_b is not None:
                raise DataError(f"{shown(source)} holds pairs, which stay as they were packed")
            places.append((path, sample.image.offset, sample.image.size))
            names.append(f"{path.name}/{sample.image.name}")
            labels.append(sample.label)
            texts.append(text)
    if not places:
        raise DataError(f"{shown(source)} holds no image; shards hold members such as 000.jpg")
    if all(label is None for label in labels):
        labels = _classes_in_texts(texts, account)
    classes = classes_of(
        labels, names, request, where=shown(source), class_names=_names_of_index(source)
    )

    def load(i: int) -> bytes:
        path, offset, size = places[i]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    return Originals(names, load, account=account).labeled(classes)


def leave_others(source: Path, account: Account) -> None:
    """Notes what lies beside the shards of a folder and is not read with them."""
    others = sorted(source.iterdir()) if source.is_dir() else []
    images = [p.name for p in others if is_image(p.name)]
    endings = (".tgz", *(f".tar.{kind}" for kind in ("gz", "bz2", "xz", "zst")))
    shut = [p.name for p in others if p.name.lower().endswith(endings)]
    account.leave("images that lie beside shards; give them a folder of their own", *images)
    account.leave("shards that are compressed; unpack them first", *shut)


def _samples(
    path: Path, field: str | None, account: Account
) -> Iterator[tuple[Sample, str | None]]:
    """Samples of one shard, each with the text of its .txt."""
    texts: dict[str, str] = {}

    def without_texts(members: Iterator[Member]) -> Iterator[Member]:
        for member in members:
            key, ending = split_name(member.name)
            if ending == "txt":
                texts[key] = (member.data or b"").decode("utf-8", "replace").strip()
            else:
                yield member

    wanted = lambda name: is_wanted_label(name) or split_name(name)[1] == "txt"  # noqa: E731
    value = lambda member, shard: label_value(member, shard, field)  # noqa: E731
    with opened(path) as file:
        members = walk(file, want=wanted, length=path.stat().st_size, leave=account.leave)
        samples = group(without_texts(members), shard=path.name, account=account, label_of=value)
        try:
            for sample in samples:
                yield sample, texts.get(sample.key)
        except TarDamage as fault:
            raise damaged(path.name, fault) from fault


def trains_as_is(path: Path, request: Request, size: tuple[int, int] | None) -> bool:
    """Whether shards need no packing, by the first samples of one: class numbers, and one size.

    What is damaged is left to training, which names it.
    """
    if request.field is not None or request.split is not None:
        return False
    try:
        found = list(islice(_samples(path, None, Account()), LOOKED_AT))
        shapes = {_size(path, sample.image) for sample, _ in found if sample.image is not None}
    except (DataError, BadImage):
        return True
    labels = [sample.label for sample, _ in found]
    if request.labels != "none":
        named = any(label is not None and whole(label) is None for label in labels)
        texts = _classes_in_texts([text for _, text in found], Account())
        if named or (set(labels) == {None} and texts[0] is not None):
            return False
    return len(shapes) < 2 and (size is None or shapes <= {size})


def _size(path: Path, member: Member) -> tuple[int, int]:
    with path.open("rb") as file:
        file.seek(member.offset)
        return image_shape(file.read(member.size))[:2]


def _classes_in_texts(texts: list[str | None], account: Account) -> list[Any]:
    """Texts that are classes, or None for each where they are captions."""
    known = [text for text in texts if text is not None]
    short = all(len(text) <= LONGEST_NAME and "\n" not in text for text in known)
    if known and len(known) == len(texts) and short and 2 * len(set(known)) <= len(known):
        return list(texts)
    account.leave("texts, which are captions and no classes", *known)
    return [None] * len(texts)


def _names_of_index(source: Path) -> list[str]:
    """Names of classes from an index of ours beside the shards."""
    path = (source if source.is_dir() else source.parent) / INDEX_NAME
    if not path.is_file():
        return []
    index = parse_index(path.read_bytes(), where=shown(path))
    if index.latent_scale:
        raise DataError(f"{shown(source)} holds latents, which stay as they were packed")
    return list(index.class_names)
