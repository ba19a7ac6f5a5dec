"""Answers of servers: what the fuzzer spoils, and who reads it."""

import contextlib
from functools import cache
from random import Random

from fuzz_images import tars
from fuzz_place import Place

from largegan.data.remote import open_shard
from largegan.files import web


def answers() -> list[bytes]:
    body = tars()[0]
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "1"\r\n\r\n' % len(body)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\n\r\n0123456789"
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n"
    return [head + body, chunked % (len(body), body), part, moved, busy]


class Server:
    """Sends the same bytes to everybody, from a thread of this process."""

    def __init__(self):
        import socketserver
        import threading

        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while self.rfile.readline().strip():
                        pass
                    self.wfile.write(outer.says)

        self.says = b""
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/a.tar"


@cache
def server() -> Server:
    web.FIRST_TIMEOUT_S = web.TIMEOUT_S = 0.5
    web.WAIT_S = web.LONGEST_WAIT_S = 0.0005
    return Server()


def read_web(data: bytes, place: Place, random: Random) -> None:
    here = server()
    here.says = data
    cache_dir = str(place.out / "cache") if random.randrange(2) else None
    with open_shard(here.address, cache_dir=cache_dir) as file:
        while file.read(1 << 16):
            pass
