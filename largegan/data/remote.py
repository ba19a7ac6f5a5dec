"""Opening what is not a local file: over HTTP here, other schemes and pipes through webdataset."""

import contextlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from largegan.data.cache import cached
from largegan.errors import ConfigError, DataError

HTTP = ("http", "https")
BY_WEBDATASET = ("s3", "gs", "hf", "ais")  # each needs its vendor's command-line program
TIMEOUT_S, TRIES = 30, 3


def scheme_of(path: str) -> str:
    """ "" for a local path, else the scheme; ``pipe:`` counts as one."""
    if path.startswith("pipe:"):
        return "pipe"
    return urlsplit(path).scheme if "://" in path else ""


def check_scheme(url: str, *, allow_pipe: bool) -> None:
    """Raise ConfigError for a URL that cannot or must not be opened."""
    scheme = scheme_of(url)
    if scheme == "pipe" and not allow_pipe:
        raise ConfigError(
            f"{url} would run a shell command; set allow_pipe to true if you trust it"
        )
    if scheme not in ("", "file", "pipe", *HTTP, *BY_WEBDATASET):
        raise ConfigError(
            f"{url} has the scheme {scheme}, which cannot be read; use a local path or one of "
            f"{', '.join((*HTTP, *BY_WEBDATASET, 'pipe'))}"
        )


@contextlib.contextmanager
def open_shard(url: str, *, cache_dir: str | None = None) -> Iterator[BinaryIO]:
    """A shard as a binary stream, from the cache if there is one; raises DataError."""
    scheme = scheme_of(url)
    if scheme in ("", "file"):
        path = local_path(url)
    elif cache_dir is not None and scheme != "pipe":
        path = cached(url, cache_dir, opener=lambda: open_stream(url))
    else:
        with open_stream(url) as file:
            yield file
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"shard {url} cannot be opened ({error.strerror}); check the path"
        ) from error
    with file:
        yield file


def local_path(url: str) -> Path:
    return Path(urllib.request.url2pathname(urlsplit(url).path) if "://" in url else url)


@contextlib.contextmanager
def open_stream(url: str) -> Iterator[BinaryIO]:
    """The bytes behind a URL; a failure of the connection or the command is a DataError."""
    file = _open_http(url) if scheme_of(url) in HTTP else _open_by_webdataset(url)
    try:
        yield file
        if scheme_of(url) not in HTTP:
            _drain(file)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"reading {url} failed ({error}); try the same by hand") from error
    finally:
        with contextlib.suppress(OSError):  # webdataset's way to say what the next line asks
            file.close()
        status = getattr(file, "status", 0) if scheme_of(url) not in HTTP else 0
        # A command fails with a positive status; 141 and negative ones mean that we hung up first.
        if status and 0 < status != 141 and sys.exc_info()[0] is not GeneratorExit:
            raise DataError(f"reading {url} failed (exit status {status}); try the same by hand")


def _drain(file: BinaryIO) -> None:
    """Read a command's output to its end, so that closing sees its exit status, not our hang-up."""
    while file.read(1 << 20):
        pass


def _open_http(url: str) -> BinaryIO:
    for attempt in range(TRIES):
        try:
            return urllib.request.urlopen(url, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise DataError(
                    f"{url} cannot be fetched: the server says {error.code} {error.reason}; check "
                    "the address"
                ) from error
            failure: Exception = error
        except (urllib.error.URLError, OSError) as error:
            failure = error
        if attempt + 1 < TRIES:
            time.sleep(2**attempt / 2)
    reason = getattr(failure, "reason", failure)
    raise DataError(
        f"{url} cannot be reached after {TRIES} tries ({reason}); check the address and the network"
    ) from failure


def _open_by_webdataset(url: str) -> BinaryIO:
    from webdataset.gopen import gopen

    try:
        return gopen(url)
    except (OSError, ValueError) as error:
        raise DataError(f"{url} cannot be opened ({error}); check the address") from error


def fetch_bytes(url: str) -> bytes:
    """A small file such as an index; raises DataError."""
    with open_stream(url) as file:
        return file.read()
