"""Machine code of the kernels: from the cache where it lies, else compiled and put there.

A file of the cache is named by the hash of all that went into it, and begins with the hash of the
rest of it. It is written under another name and renamed, so that processes which compile the same
kernel at once need no lock: each publishes the same bytes. A folder that cannot be written costs
the compilation, nothing else.
"""

import contextlib
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from largegan.errors import EnvironmentFault
from largegan.ops.runtime import nvrtc

KERNELS = Path(__file__).parents[1]  # a .cu lies in the folder of its op, headers beside this file

OPTIONS = ("--std=c++17",)
DIGEST = hashlib.sha256().digest_size
Defines = tuple[tuple[str, str], ...]


class Binary(NamedTuple):
    """`code` is a cubin, or PTX for the driver to translate; `origin` says where it came from."""

    code: bytes
    origin: Literal["cache", "NVRTC"]


def folder() -> Path:
    """`LARGEGAN_CACHE`, else `~/.cache/largegan` (`XDG_CACHE_HOME`); in it "kernels"."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "largegan"
    return Path(os.environ.get("LARGEGAN_CACHE") or home) / "kernels"


def any_kept() -> bool:
    """Whether kernels have been compiled here before."""
    return any(folder().glob("*.cubin"))


def binary(source: str, defines: Defines, capability: int, *, fresh: bool = False) -> Binary:
    """Machine code of the file `source` for a GPU of `capability` (90 is 9.0).

    `fresh` compiles in any case: what the cache has did not load. Raises EnvironmentFault where
    neither the cache has it nor NVRTC can make it.
    """
    path = folder() / f"{key(source, defines, capability)}.cubin"
    if not fresh and (code := read(path)):
        return Binary(code, "cache")
    code, _ = compiled(source, defines, nvrtc.compiler().target(capability))
    publish(path, code)
    return Binary(code, "NVRTC")


def compiled(source: str, defines: Defines, target: str, *options: str) -> tuple[bytes, str]:
    """(machine code, log) of the file `source`, from the compiler. Needs no GPU."""
    texts = sources()
    words = [*OPTIONS, *options, *(f"--define-macro={name}={value}" for name, value in defines)]
    return nvrtc.compiler().compile(source, texts[source], headers(texts), target, words)


def key(source: str, defines: Defines, capability: int) -> str:
    """Changes with anything the machine code depends on."""
    texts = sources()
    if source not in texts:
        raise EnvironmentFault(f"the kernel {source} is not in {KERNELS}; install largegan again")
    parts = [source, texts[source], *(w for pair in headers(texts).items() for w in pair)]
    parts += [*OPTIONS, *(w for pair in defines for w in pair), str(capability), _version()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def headers(texts: dict[str, str]) -> dict[str, str]:
    """Those of the files that every kernel may include."""
    return {name: text for name, text in texts.items() if name.endswith(".cuh")}


@cache
def sources() -> dict[str, str]:
    """All files of the kernels by name; they do not change under a running process."""
    return {file.name: file.read_text() for file in sorted(KERNELS.rglob("*.cu*"))}


@cache
def _version() -> str:
    """NVRTC's; where there is none, that of the CUDA which torch was built with: they are one."""
    try:
        return ".".join(map(str, nvrtc.compiler().version))
    except EnvironmentFault:
        return torch.version.cuda or "none"


def read(path: Path) -> bytes | None:
    """What was published there; None if nothing was, or not all of it is there."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST], content[DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def publish(path: Path, code: bytes) -> bool:
    """Writes and renames; False where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(name).replace(path)
    except OSError:  # a full disk, or one that went away
        with contextlib.suppress(OSError):
            Path(name).unlink()
        return False
    return True
