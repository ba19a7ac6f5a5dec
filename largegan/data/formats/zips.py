"""A zip of a folder of images, NVIDIA's data sets among them."""

from itertools import pairwise
from pathlib import Path, PurePosixPath

from largegan.data.account import Account
from largegan.data.formats.folder import LARGEST_TABLE, Tree, originals_of_tree
from largegan.data.label_files import LABEL_FILES
from largegan.data.originals import Originals, Request
from largegan.data.tree import is_hidden, is_image
from largegan.errors import DataError, shown
from largegan.files.archives import LARGEST_MEMBER, open_zip, read_member, refuse_locked

ENDING, STARTS = ".zip", (b"PK\3\4", b"PK\5\6")


def recognizes(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix.lower() == ENDING:
        return True
    with path.open("rb") as file:
        return file.read(4) in STARTS


def read(source: Path, request: Request) -> Originals:
    """Images of a zip, with the classes of its folders or tables. Raises DataError."""
    return originals_of_tree(tree_of(source, request.inside), request)


def tree_of(source: Path, inside: str = "") -> Tree:
    """The files of a zip, or of the folder `inside` in it; Windows' backslashes part names, too."""
    archive, account = open_zip(source), Account()
    stored = {entry.filename.replace("\\", "/"): entry.filename for entry in archive.infolist()}
    entries = [e.filename.replace("\\", "/") for e in archive.infolist()]
    entries = [name for name in entries if not is_hidden(name)]
    hidden = [e.filename for e in archive.infolist() if is_hidden(e.filename) and not e.is_dir()]
    account.leave("hidden files, or a Mac's", *hidden)
    outer = _outer_folder([name for name in entries if not name.endswith("/")])
    outer += f"{inside}/" if inside else ""
    entries = [name for name in entries if name.startswith(outer)]
    inner = [name.removeprefix(outer) for name in entries]
    files = sorted(name for name in inner if name and not name.endswith("/"))
    twice = sorted({a for a, b in pairwise(files) if a == b})
    if twice:
        raise DataError(f"{shown(source)} holds {shown(twice[0])} twice; zip it again")
    wanted = {outer + name for name in files if is_image(name) or name in LABEL_FILES}
    wanted = {stored[name] for name in wanted}
    refuse_locked(source, [e for e in archive.infolist() if e.filename in wanted])

    def folders(prefix: str) -> list[str]:
        below = (n.removeprefix(prefix) for n in inner if n.startswith(prefix))
        return sorted({PurePosixPath(n).parts[0] for n in below if "/" in n})

    def load(name: str) -> bytes:
        most = LARGEST_TABLE if name in LABEL_FILES else LARGEST_MEMBER
        return read_member(archive, stored[outer + name], most)

    return Tree(source, files, folders, load, account)


def _outer_folder(files: list[str]) -> str:
    """`pics/` when somebody zipped the folder pics itself: its sub-folders are the classes then.

    A single folder that holds nothing but images stays what it is, a class; else "".
    """
    first = {name.partition("/")[0] for name in files}
    outer = f"{first.pop()}/" if len(first) == 1 else ""
    inner = [name.removeprefix(outer) for name in files]
    wraps = any("/" in name or name in LABEL_FILES for name in inner)
    return outer if wraps and all(name.startswith(outer) for name in files) else ""
