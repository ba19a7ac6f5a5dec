"""Connections that break: what was read so far is not read again, and nothing is missing."""

import http.server
import threading
from pathlib import Path

import pytest

from largegan.data import remote
from largegan.errors import DataError, EnvironmentFault
from largegan.files import web

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Flaky(http.server.BaseHTTPRequestHandler):
    """Hangs up after `most` bytes of each answer, without a word; knows ranges or does not."""

    most, ranges, broken = 300_000, True, 0

    def do_GET(self) -> None:
        type(self).asked.append(self.headers.get("Range"))
        if self.path != "/a.tar":
            return self.send_error(404)
        if type(self).broken > 0:
            type(self).broken -= 1
            return self.send_error(503)
        wanted = self.headers.get("Range") if self.ranges else None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.most])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(web.time, "sleep", lambda seconds: waits.append(seconds))
    waits: list[float] = []

    class Handler(Flaky):
        asked: list = []  # noqa: RUF012

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield Handler, f"http://127.0.0.1:{made.server_port}", waits
    made.shutdown()
    made.server_close()


def fetch(address: str, name: str = "a.tar") -> bytes:
    with remote.open_url(f"{address}/{name}") as file:
        return file.read()


def test_a_dropped_connection_is_taken_up_where_it_broke(server):
    handler, address, _ = server
    assert fetch(address) == CONTENT
    assert handler.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_also_from_a_server_that_always_begins_at_the_beginning(server):
    handler, address, _ = server
    handler.ranges = False
    handler.most = 2_000_000
    with remote.open_url(f"{address}/a.tar") as file:
        first = file.read(1000)
        file.raw._hang_up()
        assert first + file.read() == CONTENT


def test_a_server_that_is_busy_is_asked_again_later(server):
    handler, address, waits = server
    handler.broken, handler.most = 3, 2_000_000
    assert fetch(address) == CONTENT
    assert [0.5 * w < found < 1.5 * w for w, found in zip([0.5, 1, 2], waits, strict=True)]


def test_a_network_that_stays_away_asks_to_be_requeued(server):
    """Exit code 4: the job tries again; 3 would say that the data are at fault."""
    handler, address, waits = server
    handler.broken = 1000
    with pytest.raises(EnvironmentFault, match=r"does not answer after 4 tries .*503"):
        fetch(address)
    assert len(waits) == web.FIRST_TRIES - 1  # of a host that was never heard of
    handler.broken = 0
    with remote.open_url(f"{address}/a.tar") as file, pytest.raises(EnvironmentFault) as fault:
        file.read(1000)
        handler.broken = 1000
        file.read()
    assert "300000 bytes into it" in str(fault.value) and fault.value.exit_code == 4


def test_what_is_not_there_is_not_asked_for_again(server):
    handler, address, waits = server
    with pytest.raises(DataError, match="the server says 404"):
        fetch(address, "b.tar")
    assert len(handler.asked) == 1 and not waits


def test_downloads_into_the_cache_go_on_too(server, tmp_path: Path):
    _, address, _ = server
    with remote.open_shard(f"{address}/a.tar", cache_dir=str(tmp_path)) as file:
        assert file.read() == CONTENT
