"""A folder of images: classes are its sub-folders, or stand in dataset.json or labels.csv.

ImageNet's layout is one of these: `train/CLASS/x.JPEG` beside `val/CLASS/x.JPEG`, however deep the
folders above lie; the split says which part is meant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from largegan.data.account import Account
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.label_files import LABEL_FILES, labels_of_file, labels_of_folders
from largegan.data.labels import Labels
from largegan.data.originals import Originals, Request
from largegan.data.parts import part_of
from largegan.data.tree import (
    files_below,
    images_among,
    is_hidden,
    is_image,
    refuse_shards_below,
)
from largegan.errors import ConfigError, DataError, shown
from largegan.files.archives import LARGEST_MEMBER, DamagedMember
from largegan.files.documents import read_bounded

ARRAYS = "npy"  # one image each, where there are no others
LARGEST_TABLE = 1 << 30  # bytes of a dataset.json


@dataclass
class Tree:
    """Files below one root, on a disk or in an archive.

    `folders(prefix)` lists the sub-folders of a folder; `read(name)` gives a file's bytes.
    """

    source: Path
    files: list[str]
    folders: Callable[[str], list[str]]
    read: Callable[[str], bytes]
    account: Account


def recognizes(path: Path) -> bool:
    return path.is_dir()


def read(source: Path, request: Request) -> Originals:
    """Images of a folder and the folders in it. Raises DataError, ConfigError."""
    tree = tree_of(source)
    if not any(map(is_image, tree.files)):
        refuse_shards_below(source)
    return originals_of_tree(tree, request)


def tree_of(source: Path) -> Tree:
    """The images below a folder; what is left out is on its account."""
    account = Account()

    def folders(prefix: str) -> list[str]:
        inside = (p for p in (source / prefix).iterdir() if p.is_dir())
        return sorted(p.name for p in inside if not is_hidden(p.name))

    def load(name: str) -> bytes:
        most = LARGEST_TABLE if name in LABEL_FILES else LARGEST_MEMBER
        return read_bounded(source / name, most, "make it smaller, or leave it out")

    return Tree(source, files_below(source, account), folders, load, account)


def originals_of_tree(
    tree: Tree, request: Request, *, kinds: tuple[str, ...] = IMAGE_EXTENSIONS
) -> Originals:
    """Files whose names end in one of ``kinds``, with their classes; raises DataError."""
    where, account = shown(tree.source), tree.account
    table = next((name for name in LABEL_FILES if name in tree.files), None)
    if not any(is_image(name, kinds) for name in tree.files):
        kinds = (*kinds, ARRAYS)
    images = images_among(tree.files, account, used=LABEL_FILES, kinds=kinds)
    root, images = _part(images, request.split, tree)
    if not images:
        raise DataError(
            f"{where} holds no image; images end in {', '.join(sorted(kinds))}"
            + "".join(f"; {sentence}" for sentence in account.sentences())
        )
    found, labels = Labels(None, []), request.labels
    if labels == "file" and table is None:
        raise DataError(f"{where} holds neither {' nor '.join(LABEL_FILES)}; add one")
    if labels == "file" or (labels == "auto" and table):
        found = labels_of_file(
            _read_table(tree, table),
            images,
            where=f"{where}/{table}",
            account=account,
            field=request.field,
            vectors=request.vectors,
        )
    elif labels in ("folder", "auto"):
        found = _labels_of_folders(tree, root, images, forced=labels != "auto")
    return Originals(images, lambda i: tree.read(images[i]), account=account).labeled(found)


def _part(images: list[str], split: str | None, tree: Tree) -> tuple[str, list[str]]:
    """The folder whose sub-folders are classes, and the images below it, for a split.

    Raises ConfigError for a split that is not there.
    """
    outer = class_root(images)
    if split in (None, "all"):
        return outer, images
    parts = {name: part_of(name) for name in tree.folders(outer)}
    folder = next((name for name, part in parts.items() if part == split), None)
    if folder is None:
        there = ", ".join(name for name, part in parts.items() if part) or "none"
        raise ConfigError(
            f"{shown(tree.source)} has no folder for the split {split}; parts that it has: {there}"
        )
    root = f"{outer}{folder}/"
    kept = [name for name in images if name.startswith(root)]
    others = sorted(set(images) - set(kept))
    tree.account.leave(f"images outside of {root} (the split is {split})", *others)
    return root, kept


def class_root(images: list[str]) -> str:
    """The folder, such as `Data/CLS-LOC/`, from which on the names of images differ in folders.

    "" where there is none: a set of one folder has no classes.
    """
    parents = {PurePosixPath(name).parent.parts for name in images}
    if not parents:
        return ""
    depth = 0
    while all(len(p) > depth for p in parents) and len({p[depth] for p in parents}) == 1:
        depth += 1
    inside = any(len(p) > depth for p in parents)
    first = next(iter(parents))[:depth]
    return "".join(f"{part}/" for part in first) if inside else ""


def _labels_of_folders(tree: Tree, root: str, images: list[str], *, forced: bool) -> Labels:
    inner = [name.removeprefix(root) for name in images]
    if forced and not any("/" in name for name in inner):
        root, inner = "", images
    return labels_of_folders(inner, tree.folders(root), shown(tree.source), forced=forced)


def _read_table(tree: Tree, table: str) -> bytes:
    try:
        return tree.read(table)
    except DamagedMember as fault:
        raise DataError(f"{shown(tree.source)}/{table} {fault}; write it again") from fault
