"""The web from outside: the bytes behind an address, whatever its server does.

A connection that breaks is taken up where it broke; one that stays away asks to be requeued. What
a server says is bounded before it is believed: heads, redirects, lengths, and how long it is waited
for. User and password stand in the address or in ~/.netrc, and go to that host alone.
"""

import base64
import contextlib
import http.client
import io
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from typing import BinaryIO, TypeVar
from urllib.parse import urljoin, urlsplit

from largegan.errors import ConfigError, DataError, EnvironmentFault, shown
from largegan.files.addresses import checked_address, same_host, without_credentials
from largegan.files.connections import opener

T = TypeVar("T")
FIRST_TRIES, TRIES = 4, 8  # of a host that has never answered, and of one that has
FIRST_TIMEOUT_S, TIMEOUT_S = 10, 30
WAIT_S, LONGEST_WAIT_S = 0.5, 30  # before the second try; it doubles from try to try
MOST_REDIRECTS = 5
LARGEST_BODY = 1 << 44  # bytes, where the caller knows no better
PROGRESS = 1 << 14  # bytes after which broken connections are forgiven
SLOW_S, LEAST_RATE = 60, 100  # seconds of waiting, bytes a second
REDIRECTS = (301, 302, 303, 307, 308)
LATER = (408, 425, 429)  # refusals that pass, besides those of 500 and more
_answered: set[str] = set()  # hosts that have answered this process
_chance = random.SystemRandom()  # jitter must not move the generators of a training


def open_web(url: str, *, most: int | None = None) -> BinaryIO:
    """The bytes behind an address, as a stream; `most` is the largest length that makes sense.

    Raises, here or while it is read: ConfigError for what is no address, DataError for what the
    server refuses or makes no sense, EnvironmentFault where the network may be back later.
    """
    file = io.BufferedReader(WebFile(url, most=most), 1 << 16)
    file.peek(1)  # what cannot be opened is said here
    return file


def version_of(url: str) -> tuple[int | None, str | None]:
    """(bytes, tag) of the file behind an address, as far as its server says; raises as `open_web`.

    The tag is another when the file is. Asked for with GET, whose answer is left unread: an address
    that is signed for one request is refused for HEAD.
    """
    with contextlib.closing(WebFile(url)) as file:
        file.persist(file.connect)
        return file.end, file.tag


class WebFile(io.RawIOBase):
    """The bytes behind an address; where a connection breaks, another one goes on."""

    def __init__(self, url: str, *, most: int | None = None):
        self.url, self.most = checked_address(url), most or LARGEST_BODY
        self.at = 0  # bytes read so far
        self.end: int | None = None  # as the server says
        self.tag: str | None = None  # of this version of the file
        self.response: http.client.HTTPResponse | None = None
        self.failures, self.since_failure = 0, 0  # broken connections, bytes since the last
        self.waited, self.came = 0.0, 0  # seconds and bytes, to find out what hardly moves

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.persist(lambda: self._read_on(memoryview(buffer)))

    def persist(self, work: Callable[[], T]) -> T:
        """Does what needs a connection, over new ones where it breaks."""
        while True:
            try:
                return work()
            except urllib.error.HTTPError as refusal:
                failure, pause = self._refused(refusal), _asked_to_wait(refusal.headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure, pause = _passing(self.url, error), 0.0
            self._hang_up()
            self._try_again(failure, pause)

    def connect(self) -> None:
        """What a server says of the file is known from here on."""
        if self.response is None:
            self.response = self._connect()

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _read_on(self, buffer: memoryview) -> int:
        if self.end is not None and self.at >= self.end:
            return 0
        self.connect()
        begun = time.monotonic()
        data = self._next(len(buffer))
        self._account(time.monotonic() - begun, len(data))
        buffer[: len(data)] = data
        if not data and self.end is not None and self.at < self.end:
            raise ConnectionError(f"the connection ended {self.end - self.at} bytes early")
        return len(data)

    def _next(self, size: int) -> bytes:
        """What has come, at most `size` bytes of what was announced."""
        size = size if self.end is None else min(size, self.end - self.at)
        self.response.patience.begin(self._timeout())
        return self.response.read1(size)

    def _account(self, seconds: float, count: int) -> None:
        self.at += count
        self.since_failure += count
        self.waited, self.came = self.waited + seconds, self.came + count
        if self.at > self.most:
            raise DataError(f"{self.url} sends more than {self.most} bytes; check the address")
        if self.since_failure >= PROGRESS:
            self.failures = 0
        if self.waited > SLOW_S:
            if self.came < self.waited * LEAST_RATE:
                raise EnvironmentFault(
                    f"{self.url} sends less than {LEAST_RATE} bytes a second; check the network"
                )
            self.waited, self.came = 0.0, 0

    def _try_again(self, failure: object, pause: float) -> None:
        """Waits before the next connection. Raises EnvironmentFault when it is enough."""
        self.failures, self.since_failure = self.failures + 1, 0
        most = TRIES if self._host() in _answered else FIRST_TRIES
        if self.failures >= most:
            raise EnvironmentFault(
                f"{self.url} does not answer after {self.failures} tries ({shown(failure)}), "
                f"{self.at} bytes into it; check the address and the network, and continue with "
                "--run.resume auto"
            )
        longer = min(WAIT_S * 2 ** (self.failures - 1), LONGEST_WAIT_S)
        time.sleep(max(pause, longer * _chance.uniform(0.5, 1.5)))

    def _timeout(self) -> float:
        return TIMEOUT_S if self._host() in _answered else FIRST_TIMEOUT_S

    def _host(self) -> str:
        return urlsplit(self.url).netloc

    def _connect(self) -> http.client.HTTPResponse:
        """A response whose next byte is the one we need."""
        address = self.url
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._ask(address)
            except urllib.error.HTTPError as answer:
                if answer.code not in REDIRECTS:
                    raise
                answer.close()
                address = self._redirected(address, answer.headers.get("Location"))
                continue
            with _closing_on_fault(response):
                self._begin(response)
            _answered.add(self._host())
            return response
        raise DataError(
            f"{self.url} is redirected more than {MOST_REDIRECTS} times; check the address"
        )

    def _ask(self, address: str) -> http.client.HTTPResponse:
        bare, credentials = without_credentials(address)
        asked = urllib.request.Request(bare, headers={"User-Agent": "largegan"})
        if credentials and same_host(address, self.url):
            code = base64.b64encode(credentials.encode()).decode()
            asked.add_unredirected_header("Authorization", f"Basic {code}")
        if self.at:
            asked.add_header("Range", f"bytes={self.at}-")
        return opener().open(asked, timeout=self._timeout())

    def _redirected(self, address: str, location: str | None) -> str:
        """Where a server sends us, if we go there. Raises DataError."""
        try:
            return checked_address(urljoin(address, location or "no://where"))
        except (ValueError, ConfigError) as fault:
            raise DataError(
                f"{self.url} is redirected to {shown(location or 'nowhere')}, which is not "
                "followed; check the address"
            ) from fault

    def _begin(self, response: http.client.HTTPResponse) -> None:
        """Makes sense of an answer's head, and steps over what was read already."""
        begins, end = _extent(response, self.at)
        if begins not in (0, self.at):
            raise ConnectionError(f"asked for byte {self.at}, it sends byte {begins}")
        if end is not None and end > self.most:
            raise DataError(f"{self.url} claims {end} bytes, more than {self.most}; check it")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if self.at and (_differ(end, self.end) or _differ(tag, self.tag)):
            raise DataError(
                f"{self.url} has changed on the server while it was read; start again, and "
                "publish other data under another name"
            )
        self.end, self.tag = self.end or end, self.tag or tag
        left = self.at - begins
        while left:
            response.patience.begin(self._timeout())
            step = response.read1(min(left, 1 << 20))
            if not step:
                raise ConnectionError(f"the connection ended {left} bytes before the new ones")
            left -= len(step)

    def _refused(self, refusal: urllib.error.HTTPError) -> str:
        """Why to try again later. Raises DataError for an answer that will not change."""
        refusal.close()
        said = f"the server says {refusal.code} {shown(refusal.reason or '', 60)}".rstrip()
        if refusal.code in LATER or refusal.code >= 500:
            return said
        remedy = {
            401: "give user and password in ~/.netrc",
            403: "check the address, and whether its token has run out",
            416: "it has fewer bytes than it announced; publish it again",
        }.get(refusal.code, "check the address")
        raise DataError(f"{self.url} cannot be fetched: {said}; {remedy}")

    def _hang_up(self) -> None:
        if self.response is not None:
            with contextlib.suppress(OSError):
                self.response.close()
        self.response = None


def _extent(response: http.client.HTTPResponse, asked: int) -> tuple[int, int | None]:
    """The first byte of an answer, and the length of the whole file, if it says so."""
    length = None if response.chunked else response.headers.get("Content-Length")
    if response.status == HTTPStatus.OK:
        return 0, None if length is None else _number(length)
    if response.status != HTTPStatus.PARTIAL_CONTENT or not asked:
        raise ConnectionError(f"the server says {response.status}, which was not asked for")
    stated = response.headers.get("Content-Range")
    if stated is None:  # it believes that this goes without saying
        return asked, None if length is None else asked + _number(length)
    part, _, total = stated.strip().removeprefix("bytes").partition("/")
    return _number(part.partition("-")[0]), None if total == "*" else _number(total)


def _differ(new: object, old: object) -> bool:
    """Of what a server may leave out."""
    return new is not None and old is not None and new != old


def _number(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ConnectionError(f"the server states a length of {shown(text, 30)!r}")
    return int(text)


def _passing(url: str, error: Exception) -> object:
    """Why to try again. Raises EnvironmentFault for what waiting does not mend."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise EnvironmentFault(
            f"{url} has a certificate that cannot be trusted ({cause.verify_message}); check the "
            "address, the clock, and the certificates of this machine"
        ) from error
    return cause if str(cause) else type(cause).__name__


def _asked_to_wait(headers: Message) -> float:
    """Seconds that a server wants to be left alone, as far as we heed it."""
    stated = headers.get("Retry-After", "")
    return min(float(stated), LONGEST_WAIT_S) if stated.isascii() and stated.isdigit() else 0.0


@contextlib.contextmanager
def _closing_on_fault(response: http.client.HTTPResponse):
    try:
        yield
    except BaseException:
        response.close()
        raise
