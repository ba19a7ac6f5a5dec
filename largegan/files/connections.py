"""Connections to servers that may never end: what they send is bounded, and so is each wait."""

import http.client
import io
import time
import urllib.request

LONGEST_HEAD = 1 << 16  # bytes before the body, all answers of one connection together
LONGEST_READ = 1 << 18  # bytes read to bring one piece of the body
LONGEST_START_S = 30  # of a socket that was given no time of its own


class Patience(io.RawIOBase):
    """The bytes of a socket: so many before the body, each read for so long and no longer."""

    def __init__(self, sock):
        self.sock, self.raw = sock, sock.makefile("rb", buffering=0)
        self.allowed = LONGEST_HEAD
        self.until = time.monotonic() + (sock.gettimeout() or LONGEST_START_S)

    def begin(self, seconds: float) -> None:
        """The head is over: the next read of the body begins."""
        self.allowed, self.until = LONGEST_READ, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        if self.allowed <= 0:
            raise ConnectionError("it says too much before the body, or between its parts")
        self.sock.settimeout(left)
        count = self.raw.readinto(buffer)
        self.allowed -= count or 0
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class Response(http.client.HTTPResponse):
    """A response whose socket is read with patience, which ends."""

    def __init__(self, sock, *args, **options):
        super().__init__(_Wrapped(sock), *args, **options)
        self.patience = self.fp.raw


class _Wrapped:
    """What a response wants of a socket."""

    def __init__(self, sock):
        self.sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(Patience(self.sock), 1 << 16)


class _Plain(http.client.HTTPConnection):
    response_class = Response


class _Secure(http.client.HTTPSConnection):
    response_class = Response


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, asked):
        return self.do_open(_Plain, asked)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, asked):
        return self.do_open(_Secure, asked, context=self._context)


def opener() -> urllib.request.OpenerDirector:
    """Proxies as the environment says; no redirects, no files, no other protocols."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _PlainHandler(),
        _SecureHandler(),
    ):
        opener.add_handler(handler)
    return opener
