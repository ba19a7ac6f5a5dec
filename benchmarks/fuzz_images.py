"""Images of every format, and sets of them: what the fuzzer spoils, and who reads it."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz_bytes import document, spoiled, tar_lies
from fuzz_place import SIDE, Place, encoded, pixels
from PIL import Image

from largegan.data import open_data
from largegan.data.decode import decode_into, image_shape
from largegan.data.pack import pack
from largegan.data.prepare import Preparation, size_of, upright_rgb
from largegan.data.reading import Reading
from largegan.data.streaming import read_shard
from largegan.data.verify import verify
from largegan.data.writing import Layout
from largegan.files import photos
from largegan.translation.sources import find_items

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
        pack(
            place.mine,
            place.out / "set",
            preparation=Preparation((8, 8)),
            layout=Layout(on_error="skip"),
        )


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
        pack(Path(home) / "in", Path(home) / "out", preparation=how, layout=Layout(shard_count=1))
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
        pack(place.mine / "a.zip", place.out / "set", preparation=how, layout=Layout(on_error=wish))
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
    pack(
        place.mine,
        place.out / "set",
        preparation=LatentPreparation(1.0),
        layout=Layout(on_error="skip"),
    )


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
