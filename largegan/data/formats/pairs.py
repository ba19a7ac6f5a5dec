"""Pairs of images: two folders with the same names, or both side by side in one picture."""

import dataclasses
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from largegan.data.account import Account
from largegan.data.formats import folder, npz, zips
from largegan.data.formats.folder import Tree
from largegan.data.originals import Originals, Request
from largegan.data.parts import DOMAINS, part_of
from largegan.data.tree import images_among
from largegan.errors import ConfigError, DataError, shown
from largegan.files import photos
from largegan.files.photos import BadImage

Opener = Callable[[Path, Request], Originals]


class Domain(NamedTuple):
    """Where the images of one domain lie: in a folder, or in one within a zip."""

    source: Path
    inside: str = ""

    def tree(self) -> Tree:
        return (
            zips.tree_of(self.source, self.inside) if self.inside else folder.tree_of(self.source)
        )

    def __str__(self) -> str:
        return f"{self.source}/{self.inside}" if self.inside else str(self.source)


def domains_of(source: Path, split: str | None = None) -> tuple[Domain, Domain] | None:
    """Both domains of a folder or zip, CycleGAN's trainA and trainB among them; None: it has none.

    Raises ConfigError for a split that is not there.
    """
    if source.is_dir():
        names = _domain_names(source, lambda name: (source / name).is_dir(), split)
        return names and tuple(Domain(_part_within(source / name, split)) for name in names)
    if npz.recognizes(source) or not zips.recognizes(source):
        return None
    inside = zips.tree_of(source).folders("")
    names = _domain_names(source, lambda name: name in inside, split)
    return names and tuple(Domain(source, name) for name in names)


def _domain_names(
    source: Path, is_there: Callable[[str], bool], split: str | None
) -> tuple[str, str] | None:
    there = {names: part for names, part in DOMAINS.items() if all(map(is_there, names))}
    wanted = split or "train"
    for names, part in there.items():
        if part in (None, wanted):
            return names
    if not there:
        return None
    found = ", ".join(f"{a} and {b}" for a, b in there)
    raise ConfigError(f"{shown(source)} has no domains of the split {wanted}; it has {found}")


def trained_domains(source: Path, split: str | None = None) -> tuple[Domain, Domain] | None:
    """The domains of CycleGAN's layout, which says so itself; a and b alone may be two classes."""
    domains = domains_of(source, split)
    names = [domain.inside or domain.source.name for domain in domains or ()]
    return None if names in ([], ["a", "b"], ["A", "B"]) else domains


def _part_within(place: Path, split: str | None) -> Path:
    """`A/train` where A holds parts and one is wanted, else A."""
    parts = [p for p in place.iterdir() if p.is_dir() and part_of(p.name) == (split or "train")]
    return parts[0] if parts else place


def open_pairs(source: Path, request: Request, whole_images: Opener) -> Originals:
    """Pairs of a source: of its halves, or of its two folders. Raises DataError, ConfigError.

    Pictures that are to be cut in halves are opened by `whole_images`, in whatever format.
    """
    if request.side_by_side is not None:
        _ask_about_parts(source, request)
        whole = whole_images(source, dataclasses.replace(request, labels="none"))
        return _halved(whole, left=request.side_by_side == "left")
    return _of_folders(source, request)


def _ask_about_parts(source: Path, request: Request) -> None:
    """Facades have the folders train, val and test: all of them are not meant by no word."""
    inside = source.iterdir() if source.is_dir() else ()
    parts = sorted(p.name for p in inside if p.is_dir() and part_of(p.name))
    if len(parts) > 1 and request.split is None:
        raise ConfigError(
            f"{shown(source)} holds {' and '.join(parts)}; choose one with --split "
            f"{part_of(parts[-1])} (data.split), or say --split all"
        )


def _halved(whole: Originals, *, left: bool) -> Originals:
    """Each picture cut in the middle; `left`: image a is the left half."""

    def load(i: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = _pixels(whole.load(i))
        middle, odd = divmod(pixels.shape[1], 2)
        if odd or not middle:
            raise BadImage(f"is {pixels.shape[1]} pixels wide, which cannot be halved")
        halves = pixels[:, :middle], pixels[:, middle:]
        return halves if left else halves[::-1]

    return dataclasses.replace(whole, load=load, labels=None, class_names=[])


def _pixels(loaded: bytes | np.ndarray | tuple) -> np.ndarray:
    """[H, W, C] of an image, upright, with its alpha."""
    if isinstance(loaded, tuple):
        raise BadImage("is a pair already")
    if isinstance(loaded, np.ndarray):
        return loaded
    photo = photos.read(loaded)
    if photo.alpha is None:
        return photo.pixels
    colors = photo.pixels if photo.pixels.shape[2] == 3 else np.repeat(photo.pixels, 3, 2)
    return np.concatenate([colors, photo.alpha[..., None]], 2)


def _of_folders(source: Path, request: Request) -> Originals:
    """Pairs by the names of their files.

    Names are compared without their endings: ``a/house.jpg`` goes with ``b/house.png``. Raises
    DataError for an image without its other half.
    """
    domains = domains_of(source, request.split)
    if domains is None:
        raise DataError(
            f"{source}/a or {source}/b does not exist; pairs are images of the same name in "
            f"{source.name}/a and {source.name}/b, or halves of a picture (--side-by-side)"
        )
    account = Account()
    trees = [domain.tree() for domain in domains]
    a, b = (sides_of(tree, str(domain)) for tree, domain in zip(trees, domains, strict=True))
    for tree, domain in zip(trees, domains, strict=True):
        account.join(tree.account, f"{domain.inside or domain.source.name}/")
    lone = sorted(a.keys() ^ b.keys())
    if lone and not request.lone:
        here, there = domains if lone[0] in a else domains[::-1]
        raise DataError(
            f"{shown(lone[0])} is in {here}, but not in {there} ({len(lone)} without its other "
            "half); add or remove it, or use --on-error skip"
        )
    account.leave("images whose other half is missing", *lone)
    names = [name for name in a if name in b]
    if not names:
        raise DataError(f"{domains[0]} and {domains[1]} hold no pair")
    return Originals(
        names,
        lambda i: (trees[0].read(a[names[i]]), trees[1].read(b[names[i]])),
        account=account,
    )


def sides_of(tree: Tree, where: str) -> dict[str, str]:
    """Images of one domain by their names without endings."""
    files = images_among(tree.files, tree.account)
    side = {PurePosixPath(name).with_suffix("").as_posix(): name for name in files}
    if len(side) < len(files):
        raise DataError(f"two images of {where} differ in their endings only; rename one")
    return side
