"""What the fuzzer spoils, and who reads it: a function and a row each.

A row's `samples` are sound, `spoil` makes one of them bad, and `read` gives it to the product as a
command would. Whatever is not a `UserError` (or one of the errors named in `may`) is a finding.
"""

import contextlib
import io
import json
import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import fuzz_checkpoints
import numpy as np
import torch
from fuzz_bytes import document, header_lies, spoiled, tar_lies
from PIL import Image
from safetensors.torch import save

from largegan import checkpoint
from largegan.commands import curve, fid
from largegan.config import parse as parsing
from largegan.data import open_data
from largegan.data.decode import decode_into, image_shape
from largegan.data.pack import pack
from largegan.data.prepare import Preparation, size_of, upright_rgb
from largegan.data.reading import Reading
from largegan.data.remote import open_shard
from largegan.data.streaming import read_shard
from largegan.data.verify import verify
from largegan.errors import UserError
from largegan.files import photos, web
from largegan.files.archives import DamagedMember
from largegan.files.photos import BadImage
from largegan.interop.importing import ImportOptions, find, write_run
from largegan.metrics.statistics import read_statistics
from largegan.recipes import TABLE, options_class
from largegan.restore import restore
from largegan.restore.exported import load_exported
from largegan.run.directory import is_run
from largegan.run.lock import read as read_lock
from largegan.run.snapshots import open_snapshots
from largegan.sampler import open_sampler
from largegan.translation.manifest import read_records
from largegan.translation.sources import find_items

SIDE = 16


class Place:
    """Folders of one input: `mine` is the user's, `out` may be written.

    `quiet` is a context in which writing is not the product's doing.
    """

    def __init__(self, mine: Path, out: Path, quiet: Callable[[], Any] = contextlib.nullcontext):
        self.mine, self.out, self.quiet = mine, out, quiet

    def put(self, files: dict[str, bytes], below: str = "") -> None:
        """Files of the user, before the product sees them."""
        with self.quiet():
            for name, data in files.items():
                path = self.mine / below / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


class Kind(NamedTuple):
    samples: Callable[[], list[bytes]]
    read: Callable[[bytes, Place, Random], Any]
    spoil: Callable[[bytes, Random], bytes] = spoiled
    may: tuple[type[Exception], ...] = ()  # errors that are the end of a sentence
    share: int = 1  # how often, beside the others


def pixels(seed: int = 0, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    planes = [(x * (3 + c) + y * (2 + seed) + 40 * c) % 256 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def encoded(form: str, image: Any = None, **how: Any) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(pixels()) if image is None else image).save(out, form, **how)
    return out.getvalue()


# ---------------------------------------------------------------- images

GRAY16 = Image.fromarray(pixels()[..., 0].astype(np.uint16) * 200)
ALPHA = Image.fromarray(pixels(channels=4), "RGBA")
PALETTE = Image.fromarray(pixels()).convert("P")
EXIF = Image.Exif()
EXIF[0x0112] = 6
FORMATS: dict[str, Callable[[], list[bytes]]] = {
    "png": lambda: [encoded("PNG"), encoded("PNG", ALPHA), encoded("PNG", PALETTE)],
    "png of 16 bits": lambda: [encoded("PNG", GRAY16)],
    "jpg": lambda: [encoded("JPEG"), encoded("JPEG", progressive=True), encoded("JPEG", exif=EXIF)],
    "gif": lambda: [encoded("GIF", PALETTE)],
    "bmp": lambda: [encoded("BMP"), encoded("BMP", PALETTE)],
    "tif": lambda: [encoded("TIFF"), encoded("TIFF", compression="tiff_lzw"),
                    encoded("TIFF", compression="jpeg")],
    "tif of 16 bits": lambda: [encoded("TIFF", GRAY16),
                               encoded("TIFF", GRAY16, compression="tiff_deflate")],
    "webp": lambda: [encoded("WEBP"), encoded("WEBP", ALPHA, lossless=True)],
    "ppm": lambda: [encoded("PPM"), encoded("PPM", GRAY16)],
    "avif": lambda: [encoded("AVIF")],
}  # fmt: skip


def read_image(data: bytes, place: Place, random: Random) -> None:
    """As pack, translate, training and fid read one."""
    choice = random.randrange(5)
    if choice == 0:
        how = Preparation((8, 8), channels=random.choice((1, 3, 4)), format="png")
        how.encode(data)
    elif choice == 1:
        photo = photos.read(data)
        seen = photos.for_network(photo, random.choice((1, 3, 4)), (255, 255, 255))
        photos.scale_for(seen.dtype, random.choice((None, (0.0, 99.0)))).to_unit(seen)
    elif choice == 2:
        height, width, channels = image_shape(data)
        if height * width <= SIDE * SIDE:
            decode_into(data, np.empty((height, width, channels), np.uint8))
    elif choice == 3:
        size_of(data), photos.is_deep(data), upright_rgb(data)
    else:
        place.put({"bad.png": data})
        place.put({"good.png": FORMATS["png"]()[0]})
        pack(place.mine, place.out / "set", preparation=Preparation((8, 8)), on_error="skip")


# ---------------------------------------------------------------- sets


@cache
def tars() -> list[bytes]:
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for i in range(3):
                for name, data in ((f"{i}.png", encoded("PNG")), (f"{i}.cls", b"%d" % (i % 2))):
                    member = tarfile.TarInfo(name if i else "long/" * 30 + name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        found.append(out.getvalue())
    return found


def spoil_tar(data: bytes, random: Random) -> bytes:
    return (tar_lies if random.randrange(3) else spoiled)(data, random)


def read_tar(data: bytes, place: Place, random: Random) -> None:
    """As verify, training (both ways), and translate read one."""
    place.put({"a.tar": data})
    choice = random.randrange(4)
    if choice == 0:
        verify(str(place.mine))
    elif choice == 1:
        source = open_data(place.mine, Reading(on_error=random.choice(("skip", "raise"))))
        source.read(np.arange(source.info.count))
    elif choice == 2:
        list(read_shard(str(place.mine / "a.tar")))
    else:
        for item in find_items(str(place.mine / "a.tar")):
            item.read()


@cache
def packed() -> dict[str, bytes]:
    """The files of a small set."""
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        for i in range(4):
            folder = Path(home) / "in" / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(encoded("PNG"))
        how = Preparation(format="png")
        pack(Path(home) / "in", Path(home) / "out", preparation=how, shard_count=1)
        return {p.name: p.read_bytes() for p in sorted((Path(home) / "out").iterdir())}


def read_set(place: Place) -> None:
    verify(str(place.mine))
    source = open_data(place.mine)
    source.read(np.arange(min(source.info.count, 8)))


def read_index(data: bytes, place: Place, random: Random) -> None:
    place.put(packed() | {"index.json": data})
    read_set(place)


def read_entries(data: bytes, place: Place, random: Random) -> None:
    name = next(name for name in packed() if name.endswith(".npy"))
    place.put(packed() | {name: data})
    read_set(place)


@cache
def zips() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for i in range(3):
                member = zipfile.ZipInfo(f"{'ab'[i % 2]}/{i}.png")  # of 1980: always the same
                archive.writestr(member, encoded("PNG"), method)
        found.append(out.getvalue())
    return found


def read_zip(data: bytes, place: Place, random: Random) -> None:
    place.put({"a.zip": data})
    if random.randrange(2):
        how = Preparation((8, 8))
        wish = random.choice(("skip", "raise"))
        pack(place.mine / "a.zip", place.out / "set", preparation=how, on_error=wish)
    else:
        for item in find_items(str(place.mine / "a.zip")):
            item.read()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npzs() -> list[bytes]:
    images = np.stack([pixels(i) for i in range(3)])
    return [npz(images=images, labels=np.array([0, 1, 1])), npz(arr_0=images[..., :1])]


def read_npz(data: bytes, place: Place, random: Random) -> None:
    place.put({"a.npz": data})
    pack(place.mine / "a.npz", place.out / "set", preparation=Preparation((8, 8)))


def npys() -> list[bytes]:
    out = io.BytesIO()
    np.save(out, np.zeros((4, 8, 8), np.float32))
    return [out.getvalue()]


def read_npy(data: bytes, place: Place, random: Random) -> None:
    from largegan.data.latents import LatentPreparation

    place.put({"a.npy": data})
    place.put({"b.npy": npys()[0]})
    pack(place.mine, place.out / "set", preparation=LatentPreparation(1.0), on_error="skip")


TABLES = [
    json.dumps({"labels": [["0.png", 0], ["1.png", 1]]}).encode(),
    b"filename,label\n0.png,cat\n1.png,dog\n",
]


def spoil_table(data: bytes, random: Random) -> bytes:
    return document(json.loads(data), random) if data[:1] == b"{" else spoiled(data, random)


def read_table(data: bytes, place: Place, random: Random) -> None:
    name = "dataset.json" if random.randrange(2) else "labels.csv"
    place.put({f"{i}.png": encoded("PNG") for i in range(2)} | {name: data})
    pack(place.mine, place.out / "set", preparation=Preparation((8, 8)))


def read_list(data: bytes, place: Place, random: Random) -> None:
    place.put({"0.png": encoded("PNG"), "list.txt": data})
    for item in find_items(str(place.mine / "list.txt")):
        item.read()


# ---------------------------------------------------------------- checkpoints and other codes'


@cache
def run_files() -> dict[str, bytes]:
    """The files of a checkpoint of a small recipe."""
    from largegan import recipes
    from largegan.recipe import DataSpec

    torch.manual_seed(0)
    spec = DataSpec(3, 16, 16)
    recipe = recipes.build("dcgan", spec, {"channels": 2, "z_dim": 4})
    about = parsing.parse(["--recipe.name", "dcgan", "--recipe.channels=2", "--recipe.z_dim=4"])
    state = {
        "step": 1, "nimg": 4, "data": {"position": 4, "seed": 0, "identity": "x"},
        "bad_steps": {"total": 0, "in_a_row": {}}, "micro_batch_size": 4, "class_names": [],
        "config": parsing.as_dict(about), "spec": vars(spec), "processes": 1,
    }  # fmt: skip
    files = {
        checkpoint.MODEL: save(checkpoint.on_host(recipe.state_dict())),
        checkpoint.OPTIMIZER: save({"G/x/exp_avg": torch.zeros(2)}),
        checkpoint.STATE: json.dumps(state).encode(),
    }
    return files | {checkpoint.MARKER: marker_of(files)}


def marker_of(files: dict[str, bytes]) -> bytes:
    import hashlib

    facts = {
        n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()
    }
    return json.dumps({"written": "", "files": facts}).encode()


def read_checkpoint(name: str) -> Callable[[bytes, Place, Random], None]:
    """As sample reads one, and as a run looks for what to go on from."""

    def read(data: bytes, place: Place, random: Random) -> None:
        files = {k: v for k, v in run_files().items() if k != checkpoint.MARKER} | {name: data}
        if name != checkpoint.MARKER:
            files[checkpoint.MARKER] = marker_of(files)
        run = place.mine / "run"
        place.put(files, "run/checkpoints/000000004")
        checkpoint.newest(run / "checkpoints")
        found = checkpoint.load(run / "checkpoints" / "000000004")
        checkpoint.check_resumable(run, found.state)
        sampler = open_sampler(run, "cpu")
        list(sampler.by_seed([0], batch=1))
        restore(run)

    return read


def spoil_tensors(data: bytes, random: Random) -> bytes:
    return (header_lies if random.randrange(3) else spoiled)(data, random)


def spoil_document(data: bytes, random: Random) -> bytes:
    return document(json.loads(data), random)


@cache
def statistics_files() -> list[bytes]:
    mean, covariance = np.arange(4.0), np.eye(4)
    sums = {"raw_mean": mean * 9, "raw_cov": covariance * 9, "num_items": 9}
    made = [pickle.dumps({"mu": mean, "sigma": covariance}, protocol=p) for p in (2, 4, 5)]
    return [*made, pickle.dumps({"fid": {"mu": mean, "sigma": covariance}}), pickle.dumps(sums)]


def read_of_statistics(ending: str) -> Callable[[bytes, Place, Random], None]:
    def read(data: bytes, place: Place, random: Random) -> None:
        place.put({f"s{ending}": data})
        read_statistics(place.mine / f"s{ending}")

    return read


def torch_archives() -> list[bytes]:
    """In both formats; the older one holds addresses, and is another in every process."""
    found = []
    state = {"model.1.weight": torch.zeros(4, 3, 7, 7), "model.1.bias": torch.zeros(4)}
    for zipped in (True, False):
        for content in (state, {"state_dict": state, "epoch": 3}):
            out = io.BytesIO()
            torch.save(content, out, _use_new_zipfile_serialization=zipped)
            found.append(out.getvalue())
    found.append(pickle.dumps({"G_ema": state, "training_set_kwargs": {"path": "x"}}))
    return found


def read_archive(data: bytes, place: Place, random: Random) -> None:
    """As import_checkpoint reads one; a folder of them now and then."""
    path = place.mine / random.choice(("latest_net_G.pth", "snapshot.pkl", "G.pth"))
    place.put({path.name: data})
    found = find(path if random.randrange(2) else place.mine, ImportOptions(resolution=16))
    write_run(found, place.out / "run")


# ---------------------------------------------------------------- documents of tools

EXPORTED = {
    "format": "largegan network, version 1", "kind": "generator", "recipe": "dcgan",
    "options": {"channels": 2, "z_dim": 4}, "sha256": "0" * 64, "direction": None,
    "spec": {"channels": 3, "height": 16, "width": 16, "num_classes": 0, "channels_b": 0},
}  # fmt: skip
SCORES = {
    "scores": {"fid": 3.0, "fid_error": 0.1},
    "protocol": {"backbone": {"name": "x", "sha256": "y"}},
}
SWEEP = {"sets": [{"truncation": 0.5, "folder": "0.5", "count": 4}]}
LOCK = {"token": "a", "host": "b", "pid": 1, "started": "1", "boot": None, "pids": None,
        "job": None, "start": 0}  # fmt: skip
RECORD = {"output": "a.png", "bytes": 1, "sha256": "0" * 64}


def read_export(data: bytes, place: Place, random: Random) -> None:
    place.put({"config.json": data, "model.safetensors": save({})})
    load_exported(place.mine)


def read_scores(data: bytes, place: Place, random: Random) -> None:
    place.put({"before.json": data})
    fid.comparison(place.mine / "before.json", SCORES)


def read_sweep(data: bytes, place: Place, random: Random) -> None:
    place.put({"manifest.json": data})
    words = {"thresholds": None, "standing": 0, "seed": 0, "count": None}
    curve.points_of(Namespace(generated=place.mine, **words))


def read_a_lock(data: bytes, place: Place, random: Random) -> None:
    place.put({".lock": data})
    read_lock(place.mine / ".lock")


def read_manifest(data: bytes, place: Place, random: Random) -> None:
    place.put({"manifest.jsonl": data})
    read_records(place.mine / "manifest.jsonl")


def snapshots() -> list[bytes]:
    tensors = {"G/0/w": torch.zeros(2), "G/1/w": torch.zeros(2), "G/b": torch.zeros(1)}
    return [save(tensors, {"widths": "[0.05, 0.1]"})]


def read_snapshot(data: bytes, place: Place, random: Random) -> None:
    sound = snapshots()[0]
    place.put({"000000004.safetensors": sound, "000000008.safetensors": data}, "snapshots")
    open_snapshots(place.mine).average(0.07)


# ---------------------------------------------------------------- servers, settings


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


WORDS = [
    "nan", "inf", "-inf", "-1", "0", "1", "1e29", "9" * 40, "x" * 300, "a\0b", "[1, [2]]", "~/x",
    "{a: {b: 1}}", "", "null", "true", "[]", "{}", "!!python/object/apply:os.system [true]", "0x1f",
    "1_000", "*x", "&a [*a]", "@file", "---", "%", "'", '"', "\x1b[31m", "\udcff", "a: b: c", "- 1",
]  # fmt: skip


@cache
def settings_of(recipe: str) -> list[str]:
    actions = parsing.build_parser(recipe)._actions
    return [a.option_strings[0] for a in actions if a.option_strings and "." in a.dest]


def spoil_settings(data: bytes, random: Random) -> bytes:
    """A recipe's name, and settings with words, as JSON."""
    recipe = random.choice(list(TABLE))
    chosen = random.choices(settings_of(recipe), k=random.choice((1, 1, 2, 3)))
    words = [f"{option}={random.choice(WORDS)}" for option in chosen]
    return json.dumps(["--recipe.name", recipe, *words]).encode()


def read_settings(data: bytes, place: Place, random: Random) -> None:
    config = parsing.parse(json.loads(data))
    options_class(config.recipe.name)(**parsing.recipe_options(config))


def configs() -> list[bytes]:
    config = parsing.parse(["--recipe.name", "dcgan"])
    bomb = ["a: &a [x, x]"] + [f"{b}: &{b} [*{a}, *{a}]" for a, b in pairwise("abcdefghijklmnopq")]
    return [parsing.resolved_yaml(config).encode(), "\n".join(bomb).encode()]


def read_config(data: bytes, place: Place, random: Random) -> None:
    place.put({"config.yaml": data})
    is_run(place.mine)
    parsing.parse(["--config", str(place.mine / "config.yaml")])


KINDS: dict[str, Kind] = {
    **{name: Kind(made, read_image, may=(BadImage,)) for name, made in FORMATS.items()},
    "tar": Kind(tars, read_tar, spoil_tar, share=2),
    "index": Kind(lambda: [packed()["index.json"]], read_index, spoil_document),
    "entries": Kind(lambda: [d for n, d in packed().items() if n.endswith(".npy")], read_entries),
    "zip": Kind(zips, read_zip, may=(DamagedMember,), share=2),
    "npz": Kind(npzs, read_npz),
    "npy": Kind(npys, read_npy),
    "tables of labels": Kind(lambda: TABLES, read_table, spoil_table),
    "lists": Kind(lambda: [b"0.png\n# a comment\n"], read_list),
    "weights": Kind(lambda: [run_files()[checkpoint.MODEL]],
                    read_checkpoint(checkpoint.MODEL), spoil_tensors),
    "optimizers": Kind(lambda: [run_files()[checkpoint.OPTIMIZER]],
                       read_checkpoint(checkpoint.OPTIMIZER), spoil_tensors),
    "states": Kind(lambda: [run_files()[checkpoint.STATE]],
                   read_checkpoint(checkpoint.STATE), spoil_document, share=2),
    "COMPLETE": Kind(lambda: [run_files()[checkpoint.MARKER]],
                     read_checkpoint(checkpoint.MARKER), spoil_document),
    "statistics, pickled": Kind(statistics_files, read_of_statistics(".pkl"), share=2),
    "statistics, npz": Kind(lambda: [npz(mu=np.zeros(4), sigma=np.eye(4), n=9)],
                            read_of_statistics(".npz")),
    "statistics, safetensors": Kind(
        lambda: [save({"mean": torch.zeros(4), "covariance": torch.eye(4)}, {"count": "9"})],
        read_of_statistics(".safetensors"), spoil_tensors),
    "archives of torch": Kind(torch_archives, read_archive, share=3),
    "checkpoints of others": Kind(
        fuzz_checkpoints.samples, fuzz_checkpoints.read, fuzz_checkpoints.spoil, share=3
    ),
    "exports": Kind(lambda: [json.dumps(EXPORTED).encode()], read_export, spoil_document),
    "scores": Kind(lambda: [json.dumps(SCORES).encode()], read_scores, spoil_document),
    "sweeps": Kind(lambda: [json.dumps(SWEEP).encode()], read_sweep, spoil_document),
    "locks": Kind(lambda: [json.dumps(LOCK).encode()], read_a_lock, spoil_document),
    "manifests": Kind(lambda: [json.dumps(RECORD).encode() + b"\n"], read_manifest),
    "snapshots": Kind(snapshots, read_snapshot, spoil_tensors),
    "answers of servers": Kind(answers, read_web, share=2),
    "configurations": Kind(configs, read_config),
    "settings": Kind(lambda: [b""], read_settings, spoil_settings, share=1),
}  # fmt: skip

ALLOWED = (UserError,)
