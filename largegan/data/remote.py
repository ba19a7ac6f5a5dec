"""Opening what is not a local file: over HTTP here, other schemes and pipes through webdataset."""

import contextlib
import re
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from largegan.data.cache import open_cached
from largegan.errors import ConfigError, DataError, EnvironmentFault, reason, shown
from largegan.files import addresses
from largegan.files.web import open_web

BY_WEBDATASET = {"gs": "gsutil", "hf": "curl", "ais": "ais"}  # and the program that each needs
PLAIN = r"[A-Za-z0-9+.-]+://[A-Za-z0-9/][^\x00-\x20\x7f'\"`$;&|<>()\\]*"  # no shell's words
MOST_DRAINED = 1 << 26  # bytes


def scheme_of(path: str) -> str:
    """ "" for a local path, else the scheme; ``pipe:`` counts as one."""
    if path.startswith("pipe:"):
        return "pipe"
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    return found[1].lower() if found else ""


def check_scheme(url: str, *, allow_pipe: bool) -> None:
    """Raise ConfigError for a URL that cannot or must not be opened."""
    scheme = scheme_of(url)
    if scheme == "pipe" and not allow_pipe:
        raise ConfigError(
            f"{url} would run a shell command; set allow_pipe to true if you trust it"
        )
    if scheme not in ("", "file", "pipe", *addresses.HTTP, *BY_WEBDATASET):
        raise ConfigError(
            f"{url} has the scheme {scheme}, which cannot be read; use a local path or one of "
            f"{', '.join((*addresses.HTTP, *BY_WEBDATASET, 'pipe'))}"
        )
    if scheme in BY_WEBDATASET and not re.fullmatch(PLAIN, url):
        raise ConfigError(
            f"{url} has characters that a command line could take for something else; rename it"
        )


@contextlib.contextmanager
def open_shard(url: str, *, cache_dir: str | None = None) -> Iterator[BinaryIO]:
    """A shard as a binary stream, from the cache if there is one; raises DataError."""
    scheme = scheme_of(url)
    if scheme in ("", "file"):
        path = local_path(url)
    elif cache_dir is not None and scheme != "pipe":
        with open_cached(url, cache_dir, opener=lambda: open_url(url)) as file:
            yield file
        return
    else:
        with open_url(url) as file:
            yield file
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"shard {url} cannot be opened ({reason(error)}); check the path"
        ) from error
    with file:
        yield file


def beside(url: str, name: str) -> str:
    """The URL of a file in the same folder; of a web address with the same user and token."""
    if scheme_of(url) in addresses.HTTP:
        return addresses.beside(url, name)
    return f"{url.rpartition('/')[0]}/{name}"


def name_of(url: str) -> str:
    """The name of a file as an index lists it."""
    if scheme_of(url) in addresses.HTTP:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    return url.rpartition("/")[2]


def local_path(url: str) -> Path:
    return Path(urllib.request.url2pathname(urlsplit(url).path) if "://" in url else url)


@contextlib.contextmanager
def open_url(url: str, *, most: int | None = None) -> Iterator[BinaryIO]:
    """The bytes behind a URL, at most `most`.

    Raises DataError for what is wrong with them, EnvironmentFault where it may be right later.
    """
    if scheme_of(url) in addresses.HTTP:
        with open_web(url, most=most) as file:
            yield file
    else:
        with _open_by_webdataset(url) as file:
            yield file


@contextlib.contextmanager
def _open_by_webdataset(url: str) -> Iterator[BinaryIO]:
    """The output of a command, as webdataset opens it.

    A failure of a user's own command is a DataError; that of a program that fetches over a network
    an EnvironmentFault: such programs say the same when a connection was lost.
    """
    from webdataset.gopen import gopen

    program = BY_WEBDATASET.get(scheme_of(url))
    if program and shutil.which(program) is None:
        raise EnvironmentFault(f"{url} is read by {program}, which is not installed; install it")
    try:
        file = gopen(url)
    except (OSError, ValueError) as error:
        raise DataError(f"{url} cannot be opened ({shown(error)}); check the address") from error
    try:
        yield file
        _drain(file)
    except OSError as error:
        raise DataError(f"reading {url} failed ({error}); try the same by hand") from error
    finally:
        with contextlib.suppress(OSError):  # webdataset's way to say what the next line asks
            file.close()
        status = getattr(file, "status", 0)
        # A command fails with a positive status; 141 and negative ones mean that we hung up first.
        if status and 0 < status != 141 and sys.exc_info()[0] is not GeneratorExit:
            if program is not None:
                raise EnvironmentFault(
                    f"reading {url} failed ({program}: exit status {status}); check the address "
                    "and the network, and continue with --run.resume auto"
                )
            raise DataError(f"reading {url} failed (exit status {status}); try the same by hand")


def _drain(file: BinaryIO) -> None:
    """Read a command's output to its end, so that closing sees its exit status, not our hang-up.

    Output without an end is left; behind the end of an archive there is little.
    """
    for _ in range(MOST_DRAINED >> 20):
        if not file.read(1 << 20):
            return


def fetch_bytes(url: str, *, most: int) -> bytes:
    """A small file such as an index; raises DataError where it has more than `most` bytes."""
    with open_url(url, most=most) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise DataError(f"{url} has more than {most} bytes; check the address")
    return data
