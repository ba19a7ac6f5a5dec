"""Small datasets, the tools as functions, and a web server, for the tests of the data package."""

import functools
import http.server
import io
import runpy
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout

ROOT = Path(__file__).parents[2]


def picture(number: int, *, size: int = 8, channels: int = 3) -> np.ndarray:
    """A uint8 image that tells its number apart from every other's."""
    rng = np.random.default_rng(number)
    shape = (size, size) if channels == 1 else (size, size, channels)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def save_pictures(folder: Path, count: int, *, classes: int = 3, size: int = 8) -> Path:
    for i in range(count):
        path = folder / f"class{i % classes}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i, size=size)).save(path)
    return folder


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def jpeg(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar made by Python's own writer, member by member."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members(count: int, *, start: int = 0) -> list[tuple[str, bytes]]:
    """``count`` good samples with labels 0..2."""
    samples = []
    for i in range(start, start + count):
        samples += [(f"{i:05d}.png", png(picture(i))), (f"{i:05d}.cls", str(i % 3).encode())]
    return samples


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """101 images of 8x8 in 9 shards with an index: a size that no batch divides. Do not change."""
    root = tmp_path_factory.mktemp("packed")
    source = save_pictures(root / "source", 101)
    pack(
        source, root / "shards", preparation=Preparation(format="png"), layout=Layout(shard_count=9)
    )
    return root / "shards"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run tools/NAME.py in this process; gives (exit code, standard output, standard error)."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")
        code = stop.value.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


class _Handler(http.server.SimpleHTTPRequestHandler):
    requested: list[str] = []  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        self.requested.append(self.path)


@pytest.fixture
def web(tmp_path: Path):
    """A web server on the loopback: its folder, its address and the paths asked of it."""
    folder = tmp_path / "web"
    folder.mkdir()
    _Handler.requested = []
    handler = functools.partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", _Handler.requested
    server.shutdown()
    server.server_close()


def write_pairs(folder: Path, count: int, *, size: int = 32) -> Path:
    """Images of the same names in a/ and b/; b is the negative of a."""
    for i in range(count):
        image = picture(i, size=size)
        for domain, content in (("a", image), ("b", 255 - image)):
            path = folder / domain / f"{i:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
    return folder
