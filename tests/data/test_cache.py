"""The cache of downloads: no mix-ups, no half files, one download per node."""

import contextlib
import io
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from largegan.data.cache import cache_name, cached, open_cached
from largegan.data.remote import open_url
from largegan.errors import ConfigError, DataError, EnvironmentFault


def fetch(url: str, folder: Path, **settings: object) -> Path:
    return cached(url, folder, opener=lambda: open_url(url), **settings)


def test_urls_with_the_same_base_name_do_not_mix(web, tmp_path: Path) -> None:
    """The two domains of a CycleGAN: A/000.tar and B/000.tar."""
    folder, address, requested = web
    for domain in "AB":
        (folder / domain).mkdir()
        (folder / domain / "000.tar").write_bytes(domain.encode() * 700)
    for _ in range(2):
        for domain in "AB":
            path = fetch(f"{address}/{domain}/000.tar", tmp_path / "cache")
            assert path.read_bytes() == domain.encode() * 700
            assert path.name.endswith("-000.tar")
    assert sorted(requested) == ["/A/000.tar", "/B/000.tar"]


def test_query_strings_are_part_of_the_name() -> None:
    assert cache_name("http://h/a.tar?v=1") != cache_name("http://h/a.tar?v=2")
    assert cache_name("http://h/a.tar?v=1").endswith("-a.tar")


def test_wrong_size_or_checksum_is_refused(web, tmp_path: Path) -> None:
    folder, address, _ = web
    (folder / "a.tar").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="has more than 90 bytes, but its index says 90"):
        fetch(f"{address}/a.tar", tmp_path / "cache", size=90)
    with pytest.raises(DataError, match="sha256"):
        fetch(f"{address}/a.tar", tmp_path / "cache", sha256="0" * 64)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]


def test_a_half_file_under_the_name_is_fetched_again(web, tmp_path: Path) -> None:
    folder, address, _ = web
    (folder / "a.tar").write_bytes(b"x" * 100)
    path = fetch(f"{address}/a.tar", tmp_path / "cache", size=100)
    path.write_bytes(b"x" * 50)
    assert fetch(f"{address}/a.tar", tmp_path / "cache", size=100).stat().st_size == 100


def _fetch_slowly(folder: Path, log: Path) -> None:
    @contextlib.contextmanager
    def opener():
        with log.open("a") as file:
            file.write("x")
        time.sleep(0.3)
        yield io.BytesIO(b"data")

    assert cached("http://host/a.tar", folder, opener=opener).read_bytes() == b"data"


def test_one_process_downloads_while_others_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "cache", tmp_path / "log")
    workers = [context.Process(target=_fetch_slowly, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "x"


def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def opener():
        yield io.BytesIO(b"half")
        raise DataError("the connection broke")

    with pytest.raises(DataError, match="broke"):
        cached("http://host/a.tar", tmp_path, opener=opener)
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]


def test_the_least_recently_used_files_make_room(web, tmp_path: Path) -> None:
    folder, address, _ = web
    for i in range(4):
        (folder / f"{i}.tar").write_bytes(bytes(100))
    cache = tmp_path / "cache"
    paths = []
    for i in range(3):
        paths.append(fetch(f"{address}/{i}.tar", cache, limit_bytes=300))
        os.utime(paths[-1], (i, i))
    fetch(f"{address}/0.tar", cache, limit_bytes=300)  # used again: now the newest
    fetch(f"{address}/3.tar", cache, limit_bytes=300)
    assert [p.exists() for p in paths] == [True, False, True]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot be written") as caught:
        fetch("http://127.0.0.1:9/a.tar", tmp_path / "file" / "cache")
    assert caught.value.exit_code == 4


def _read_all(folder: Path, seed: int) -> None:
    """Reads ten files in turn from a cache that has room for three."""
    for turn in range(60):
        name = (turn * seed) % 10

        @contextlib.contextmanager
        def opener(name=name):
            yield io.BytesIO(b"%d" % name * 100)

        url = f"http://host/{name}.tar"
        with open_cached(url, folder, opener=opener, size=100, limit_bytes=300) as file:
            assert file.read() == b"%d" % name * 100


def test_jobs_that_make_room_for_themselves_do_not_harm_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_read_all, args=(tmp_path, seed)) for seed in (1, 3, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert not list(tmp_path.glob(".*"))
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 500  # as each saw the folder


def test_what_a_killed_download_left_goes(tmp_path: Path) -> None:
    left = tmp_path / f".{cache_name('http://host/a.tar')}.tmp.1"
    left.write_bytes(b"half")
    _fetch_slowly(tmp_path, tmp_path / "log")
    assert not left.exists()


@pytest.mark.parametrize("name", ["x" * 300, "..", "", "a%00b", "ü.tar", "a b\n"])
def test_names_of_any_kind_can_be_kept(tmp_path: Path, name: str) -> None:
    @contextlib.contextmanager
    def opener():
        yield io.BytesIO(b"data")

    assert cached(f"http://host/{name}", tmp_path, opener=opener).parent == tmp_path
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("limit", ["many", "-1", "1e9", "9" * 30])
def test_a_limit_that_is_no_number(tmp_path: Path, monkeypatch, limit: str) -> None:
    monkeypatch.setenv("LARGEGAN_CACHE_BYTES", limit)
    with pytest.raises(ConfigError, match="LARGEGAN_CACHE_BYTES is"):
        fetch("http://127.0.0.1:9/a.tar", tmp_path)


def test_an_endless_source_is_cut(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    with pytest.raises(DataError, match="has more than 1000 bytes, but its index says 1000"):
        cached(
            "http://host/a.tar",
            tmp_path,
            opener=lambda: contextlib.nullcontext(Endless()),
            size=1000,
        )
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]
