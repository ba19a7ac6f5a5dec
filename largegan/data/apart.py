"""Reading a file of strangers in a process of its own, front to back, into a plain file of ours.

Libraries in C map files and trust them: a damaged one may end the process that reads it. Here that
is a child, and its end is a sentence. What it read lies in one file, from which images are taken
in any order; the room it needs is that of the images.
"""

import contextlib
import faulthandler
import json
import multiprocessing
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from largegan.data.account import Account
from largegan.data.originals import Item, Originals, Request, classes_of
from largegan.errors import DataError, EnvironmentFault, UserError, shown
from largegan.files.archives import RATIO, SUSPECT
from largegan.files.output import faults

IMAGES = "spilled.bin"
SPARE = 64 << 20  # bytes that stay free on the disk
LEAST_SECONDS, SLOWEST = 20, 1 << 20  # of a processor, for any file, and bytes in one more
MEMORY = 4 << 30  # bytes, besides what the process has


@dataclass
class Findings:
    """What a reader notes besides the images."""

    account: Account = field(default_factory=Account)
    class_names: list[str] = field(default_factory=list)


Reader = Callable[[Findings], Iterator[Item]]


def spilled(source: Path, read: Reader, request: Request) -> Originals:
    """What `read` gives of `source`, by number. Raises DataError, also where `read` crashed.

    Nothing that `read` does but what it yields and notes reaches this process.
    """
    size = _size(source)
    most = SUSPECT + RATIO * size
    found = _apart(source, size, lambda: _spill(read, request.scratch, most))
    account = Account(found["left_out"])
    if not found["names"]:
        raise DataError(
            f"{shown(source)} holds no image"
            + "".join(f"; {sentence}" for sentence in account.sentences())
        )
    names, places = found["names"], found["places"]
    classes = classes_of(
        found["labels"], names, request, where=shown(source), class_names=found["class_names"]
    )
    images = np.memmap(request.scratch / IMAGES, np.uint8, "r")

    def load(i: int) -> bytes | np.ndarray:
        start, size, dtype, shape = places[i]
        data = images[start : start + size].tobytes()
        return data if dtype is None else np.frombuffer(data, dtype).reshape(shape)

    return Originals(names, load, account=account).labeled(classes)


def _size(source: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [source] if source.is_file() else source.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def _apart(source: Path, size: int, work: Callable[[], dict]) -> dict:
    """What `work` returns in a child; its errors, or its sudden end, become errors here."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return work()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(work, theirs, size), daemon=True)
    child.start()
    theirs.close()
    try:
        kind, content = ours.recv()
    except EOFError:
        child.join()
        raise DataError(
            f"{shown(source)} is damaged: the library that reads it {_end(child.exitcode)}; fetch "
            "it again"
        ) from None
    finally:
        child.join(timeout=10)
        child.kill()
    if kind == "error":
        raise content
    return json.loads(content)


def _end(code: int | None) -> str:
    """How a child ended that has said nothing."""
    if code == -signal.SIGXCPU:
        return "did not come to an end"
    return f"crashed (exit code {code})"


def _bound(size: int) -> None:
    """In the child: as much time of a processor and memory as a sound file of `size` bytes needs.

    Damaged files make libraries go round in circles, or ask for all memory.
    """
    memory = psutil.Process().memory_info()
    for kind, most in (
        (resource.RLIMIT_CPU, LEAST_SECONDS + size // SLOWEST),
        (resource.RLIMIT_DATA, getattr(memory, "data", memory.vms) + MEMORY),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def _report(work: Callable[[], dict], pipe, size: int) -> None:
    """In the child: the result as text, or the error that a person should read."""
    _bound(size)
    faulthandler.disable()  # a crash is told in a sentence, by the parent
    with contextlib.redirect_stdout(None):
        try:
            answer = "found", json.dumps(work(), default=_of_a_label)
        except UserError as fault:
            answer = "error", type(fault)(str(fault))
        except MemoryError:
            answer = "error", DataError("a set of images needs more memory than there is")
        except Exception as fault:  # libraries check little of what they read
            why = f"{type(fault).__name__}: {shown(fault)}"
            answer = "error", DataError(f"a set of images cannot be read ({why}); save it again")
        pipe.send(answer)
        pipe.close()


def _of_a_label(value: object) -> object:
    """A label that JSON does not know: numbers and texts are kept, others named for a refusal."""
    if isinstance(value, Decimal | np.generic):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return {type(value).__name__: str(value)}


def _spill(read: Reader, scratch: Path, most: int) -> dict:
    """Writes all images to one file; returns where they lie, and their names and labels.

    Raises DataError for more than `most` bytes.
    """
    findings, place = Findings(), scratch / IMAGES
    names, places, labels, start = [], [], [], 0
    with faults(place), place.open("wb") as out:
        for item in tqdm(read(findings), desc="reading", unit="img", disable=None):
            array = isinstance(item.image, np.ndarray)
            data = np.ascontiguousarray(item.image).tobytes() if array else bytes(item.image)
            if not len(names) % 1000:
                _check_room(scratch, len(data))
            if start + len(data) > most:
                raise DataError(f"{item.name} is past the {most} bytes that its file could hold")
            out.write(data)
            kind = (item.image.dtype.str, list(item.image.shape)) if array else (None, None)
            places.append((start, len(data), *kind))
            names.append(item.name)
            labels.append(item.label)
            start += len(data)
    return {
        "names": names,
        "places": places,
        "labels": labels,
        "class_names": findings.class_names,
        "left_out": findings.account.left_out,
    }


def _check_room(scratch: Path, size: int) -> None:
    if shutil.disk_usage(scratch).free < SPARE + 1000 * size:
        raise EnvironmentFault(
            f"there is no room in {scratch.parent} for a copy of the images while they are read; "
            "make room, or set TMPDIR to a larger disk"
        )
