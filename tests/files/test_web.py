"""A table of servers that misbehave: one sentence each, soon, in bounds, without passwords."""

import base64
import contextlib
import itertools
import socketserver
import threading
import time
import tracemalloc

import pytest

from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.files import web
from largegan.files.web import open_web

CONTENT = bytes(range(256)) * 256
OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = itertools.repeat
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def long_as(length: object) -> bytes:
    return OK + f"Content-Length: {length}\r\n\r\n".encode()


def sent_to(where: str) -> list[bytes]:
    return [f"HTTP/1.1 302 Found\r\nLocation: {where}\r\n\r\n".encode()]


# What a server sends, piece by piece; what comes of it. `{here}` is its own address.
LIES = {
    "nothing": ([], EnvironmentFault, "does not answer after 4 tries"),
    "garbage": ([bytes(range(128, 256)) * 8 + b"\r\n\r\n"], EnvironmentFault, "does not answer"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.2\r\n"], EnvironmentFault, "does not answer"),
    "colors in the reason": ([b"HTTP/1.1 404 \x1b[31m\x07\r\n\r\n"], DataError, r"404 \\x1b\[31m"),
    "no status": ([b"HTTP/1.1 abc\r\n\r\n"], EnvironmentFault, "does not answer"),
    "an endless status": (ENDLESS(b"H" * 4096), EnvironmentFault, "does not answer"),
    "endless heads": (
        ENDLESS(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), EnvironmentFault, "too much before"),
    "an endless line": ([OK, b"X: ", ENDLESS(b"y" * 4096)], EnvironmentFault, "does not answer"),
    "endless lines": ([OK, ENDLESS(b"X: y\r\n")], EnvironmentFault, "does not answer"),
    "a negative length": ([long_as(-5), CONTENT], EnvironmentFault, "a length of '-5'"),
    "a word as length": ([long_as("many"), CONTENT], EnvironmentFault, "a length of 'many'"),
    "a length of 40 digits": ([long_as("9" * 40), CONTENT], EnvironmentFault, "a length of"),
    "too large a length": ([long_as(10**15), CONTENT], DataError, "claims 10+ bytes, more than"),
    "a length too large": ([long_as(len(CONTENT) + 9), CONTENT], EnvironmentFault, "9 bytes early"),
    "an endless body": ([OK, b"\r\n", ENDLESS(b"x" * 65536)], DataError, "more than 1000000 bytes"),
    "endless chunks": (
        [CHUNKED, ENDLESS(b"4000\r\n" + bytes(0x4000) + b"\r\n")],
        DataError, "sends more than 1000000 bytes"),
    "a chunk without size": ([CHUNKED, b"xyz\r\nabcd"], EnvironmentFault, "does not answer"),
    "a chunk that ends early": ([CHUNKED, b"ff\r\nabcd"], EnvironmentFault, "does not answer"),
    "a negative chunk": ([CHUNKED, b"-5\r\nabcd"], EnvironmentFault, "does not answer"),
    "endless trailers": (  # bounded by length, and on a busy machine by time before
        [CHUNKED, b"0\r\n", ENDLESS(b"a: b\r\n" * 1000)],
        EnvironmentFault, "too much before|takes too long"),
    "a part nobody asked for": (
        [b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\n\r\nabcde"],
        EnvironmentFault, "206, which was not asked for"),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], EnvironmentFault, "204, which was not"),
    "switching": ([b"HTTP/1.1 101 Switching\r\n\r\n"], DataError, "the server says 101"),
    "not there": ([b"HTTP/1.1 404 Not Found\r\n\r\n"], DataError, "404 Not Found; check"),
    "who are you": ([b"HTTP/1.1 401 Unauthorized\r\n\r\n"], DataError, r"401 .*\.netrc"),
    "busy": ([b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n"], EnvironmentFault, "503 Busy"),
    "an endless refusal": (
        [b"HTTP/1.1 500 No\r\n\r\n", ENDLESS(b"x" * 65536)], EnvironmentFault, "500 No"),
    "round in circles": (sent_to("{here}"), DataError, "redirected more than 5 times"),
    "an endless redirect": (
        [*sent_to("/gone"), ENDLESS(b"x" * 65536)], DataError, "redirected more than"),
    "to a file": (sent_to("file:///etc/passwd"), DataError, "file:///etc/passwd, which is not"),
    "to another protocol": (sent_to("ftp://h/a"), DataError, "ftp://h/a, which is not followed"),
    "nowhere": ([b"HTTP/1.1 302 Found\r\n\r\n"], DataError, "redirected to nowhere"),
    "to no host": (sent_to("http://a b/"), DataError, "redirected to http://a b/, which is not"),
    "silence": ([0.25], EnvironmentFault, "timed out"),
    "a head in drops": ([0.05, *[b"H", 0.05] * 9], EnvironmentFault, "does not answer"),
    "a body in silence": ([long_as(100), b"x", 0.25], EnvironmentFault, "timed out"),
}  # fmt: skip


class Liar(socketserver.StreamRequestHandler):
    """Sends what `server.says` holds; a number is a pause in seconds."""

    def handle(self) -> None:
        asked = [line for line in iter(self.rfile.readline, b"\r\n") if line]
        self.server.asked.append([line.decode().strip() for line in asked])
        with contextlib.suppress(OSError):  # they have hung up on us
            self.send(self.server.says)

    def send(self, pieces) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                self.wfile.write(piece.replace(b"{here}", self.server.address.encode()))
            elif isinstance(piece, float):
                time.sleep(piece)
            else:
                self.send(piece)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def running():
    with Server(("127.0.0.1", 0), Liar) as server:
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setattr(web, "FIRST_TIMEOUT_S", 0.15)
    monkeypatch.setattr(web, "TIMEOUT_S", 0.15)
    monkeypatch.setattr(web, "WAIT_S", 0.001)
    monkeypatch.setattr(web, "_answered", set())
    running.asked = []
    return running


@pytest.mark.parametrize("lie", LIES)
def test_one_sentence_soon_and_in_bounds(server, lie):
    server.says, kind, says = LIES[lie]
    begun = time.monotonic()
    tracemalloc.start()
    try:
        address = server.address.replace("//", "//anna:s3cret@") + "/a.tar?token=s3cret"
        with pytest.raises(kind, match=says) as fault, open_web(address, most=10**6) as file:
            while file.read(1 << 16):
                pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun < 10
    sentence = str(fault.value)
    assert "s3cret" not in sentence and sentence.isprintable() and len(sentence) < 500, sentence
    assert "127.0.0.1" in sentence


def test_what_hardly_moves_is_given_up(server, monkeypatch):
    monkeypatch.setattr(web, "SLOW_S", 0.3)
    server.says = [long_as(10**6), *[b"x", 0.05] * 100]
    with pytest.raises(EnvironmentFault, match="less than 100 bytes a second"):
        open_web(server.address).read()


def test_connections_that_bring_a_byte_each_are_given_up(server):
    server.says = [long_as(10**6), b"x"]
    with pytest.raises(EnvironmentFault, match="after 8 tries"):
        open_web(server.address).read()


def head(start: int, tag: str = '"1"') -> bytes:
    return (
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{len(CONTENT) - 1}/"
        f"{len(CONTENT)}\r\nETag: {tag}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    "second,says",
    [
        (head(7) + CONTENT[7:], "asked for byte 60000, it sends byte 7"),
        (head(60000, '"2"') + CONTENT[60000:], "has changed on the server"),
        (OK + b"Content-Length: 70000\r\n\r\n", "has changed on the server"),
        (long_as(len(CONTENT)) + CONTENT[:100], "bytes before the new ones"),
        (head(60000) + CONTENT[60000:], None),
        (long_as(len(CONTENT)) + CONTENT, None),
    ],
)
def test_the_next_connection_goes_on_with_the_same_file(server, second, says):
    first = [long_as(len(CONTENT))[:-2] + b'ETag: "1"\r\n\r\n', CONTENT[:60000]]
    turns = itertools.chain([first], ENDLESS([second]))
    server.says = Turns(turns)
    with open_web(server.address) as file:
        if says is None:
            assert file.read() == CONTENT
            assert "Range: bytes=60000-" in server.asked[-1]
        else:
            with pytest.raises((DataError, EnvironmentFault), match=says):
                file.read()


class Turns:
    """Another answer for every connection."""

    def __init__(self, turns):
        self.turns = turns

    def __iter__(self):
        return iter(next(self.turns))


def test_passwords_go_to_their_host_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    code = base64.b64encode(b"anna:p/w").decode()
    server.says = Turns(
        iter(
            [
                sent_to("{here}/b"),
                sent_to(server.address.replace("127.0.0.1", "localhost")),
                [long_as(1), b"x"],
            ]
        )
    )
    with open_web(server.address.replace("//", "//anna:p%2Fw@") + "/a") as file:
        assert file.read() == b"x"
    sent = [f"Authorization: Basic {code}" in asked for asked in server.asked]
    assert sent[0] and not sent[2]
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login anna password p/w\n")
    (tmp_path / ".netrc").chmod(0o600)
    server.says = [long_as(1), b"x"]
    with open_web(server.address) as file:
        assert file.read() == b"x"
    assert f"Authorization: Basic {code}" in server.asked[-1]


@pytest.mark.parametrize(
    "address",
    ["http://", "http:///a", "http://h:x/a", "http://h:99999/", "http://[::1/a", "http://a..b/",
     "http://" + "a" * 64 + ".org/", "http://a b/", "http://h\x00/", "http://h/a?token=***",
     "http://***@h/a"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError):
        open_web(address)


def test_names_of_all_kinds_are_sent(server):
    server.says = [long_as(1), b"x"]
    for name, sent in (("a b", "a%20b"), ("ü", "%C3%BC"), ("a%20b", "a%20b"), ("a\nb", "ab")):
        with open_web(f"{server.address}/{name}?q=1&r={name}") as file:
            assert file.read() == b"x"
        assert server.asked[-1][0] == f"GET /{sent}?q=1&r={sent} HTTP/1.1"
