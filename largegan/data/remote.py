"""Opening what is not a local file: over HTTP here, other schemes and pipes through webdataset."""

import contextlib
import http.client
import io
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from largegan.data.cache import cached
from largegan.errors import ConfigError, DataError, EnvironmentFault

HTTP = ("http", "https")
BY_WEBDATASET = ("s3", "gs", "hf", "ais")  # each needs its vendor's command-line program
TIMEOUT_S, TRIES = 30, 6
WAIT_S = 0.5  # before the second try; it doubles from try to try


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


class HttpFile(io.RawIOBase):
    """The bytes behind a URL; where a connection breaks, another one goes on.

    Raises `DataError` for what the server says is not there, and `EnvironmentFault` after `TRIES`
    connections in a row that brought nothing: the network may be back when the job is.
    """

    def __init__(self, url: str):
        self.url, self.at, self.response = url, 0, None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        failure: object = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(WAIT_S * 2 ** (attempt - 1))
            try:
                count = self._read_on(buffer)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise DataError(
                        f"{self.url} cannot be fetched: the server says {error.code} "
                        f"{error.reason}; check the address"
                    ) from error
                failure = error
            except (OSError, http.client.HTTPException) as error:
                failure = getattr(error, "reason", error)
            else:
                return count
            self._hang_up()
        raise EnvironmentFault(
            f"{self.url} does not answer after {TRIES} tries ({failure}), {self.at} bytes into it; "
            "check the address and the network, and continue with --run.resume auto"
        )

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _read_on(self, buffer) -> int:
        if self.response is None:
            self.response = self._connect()
        count = self.response.readinto(buffer)
        if count == 0 and self.response.length:  # what the server said is still to come
            raise ConnectionError("the connection ended early")
        self.at += count
        return count

    def _connect(self) -> http.client.HTTPResponse:
        """A response whose next byte is the one we need."""
        request = urllib.request.Request(self.url)
        if self.at:
            request.add_header("Range", f"bytes={self.at}-")
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        if self.at and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            left = self.at  # it begins at the beginning again
            while left and (chunk := response.read(min(left, 1 << 20))):
                left -= len(chunk)
        return response

    def _hang_up(self) -> None:
        if self.response is not None:
            with contextlib.suppress(OSError):
                self.response.close()
        self.response = None


def _open_http(url: str) -> BinaryIO:
    file = io.BufferedReader(HttpFile(url), 1 << 16)
    file.peek(1)  # what cannot be opened is said here
    return file


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
