"""Twelve images with classes in every format that people have, by the format's usual writer."""

import csv
import gzip
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.conftest import picture, png, write_tar

COUNT, CLASSES = 12, 3
IMAGES = np.stack([picture(i) for i in range(COUNT)])
GRAY = IMAGES[..., 0]
LABELS = [i % CLASSES for i in range(COUNT)]
NAMES = ["ant", "bee", "cat"]
FILES = [png(image) for image in IMAGES]


def webp(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True)
    return out.getvalue()


def folder(root: Path, *, inside: str = "", ending: str = "png") -> Path:
    for i, data in enumerate(FILES):
        path = root / inside / NAMES[LABELS[i]] / f"{i:04d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def imagenet(root: Path) -> Path:
    """ILSVRC as Kaggle gives it, with a part that must not be taken."""
    folder(root, inside="ILSVRC/Data/CLS-LOC/train", ending="JPEG")
    other = root / "ILSVRC/Data/CLS-LOC/val/ant/x.JPEG"
    other.parent.mkdir(parents=True)
    other.write_bytes(png(picture(99)))
    return root


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i, data in enumerate(FILES):
            archive.writestr(f"{NAMES[LABELS[i]]}/{i:04d}.png", data)
    return path


def nvidia(root: Path, *, style: str) -> Path:
    """The layout of NVIDIA's dataset_tool, and what other programs make of its names."""
    names = [f"0000{i // 6}/img{i:08d}.png" for i in range(COUNT)]
    shown = {
        "plain": names,
        "dots": [f"./{name}" for name in names],
        "backslashes": [name.replace("/", "\\") for name in names],
        "ids": [f"{i:08d}" for i in range(COUNT)],
        "numbers": list(range(COUNT)),
        "stems": [name.removesuffix(".png") for name in names],
    }[style]
    for name, data in zip(names, FILES, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    pairs = [list(pair) for pair in zip(shown, LABELS, strict=True)]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    return root


def npz(path: Path) -> Path:
    np.savez(path, images=IMAGES, labels=LABELS)
    return path


def npy(path: Path, images: np.ndarray = IMAGES) -> Path:
    np.save(path, images)
    return path


def keras_npz(path: Path) -> Path:
    """As mnist.npz, and with other names medmnist's, has it."""
    test = {"x_test": IMAGES[:3], "y_test": np.zeros(3, np.uint8)}
    np.savez(path, **test, x_train=IMAGES, y_train=np.array(LABELS, np.uint8)[:, None])
    return path


def lsun(root: Path) -> Path:
    """One image behind each key, no labels."""
    return lmdb(root, {f"{i:040x}": webp(image) for i, image in enumerate(IMAGES)})


def lmdb(root: Path, content: dict[str, bytes]) -> Path:
    import lmdb

    with (
        lmdb.open(str(root), map_size=1 << 22) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in content.items():
            transaction.put(key.encode(), value)
    return root


def labeled_lmdb(root: Path) -> Path:
    images = {f"image-{i:09d}": data for i, data in enumerate(FILES)}
    labels = {f"label-{i:09d}": str(label).encode() for i, label in enumerate(LABELS)}
    return lmdb(root, {**images, **labels, "num-samples": b"12"})


def sized_lmdb(root: Path) -> Path:
    small = {f"4-{i:05d}": png(picture(i, size=4)) for i in range(COUNT)}
    large = {f"8-{i:05d}": data for i, data in enumerate(FILES)}
    return lmdb(root, {**small, **large, "length": b"12"})


def hdf5(path: Path, **datasets: object) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


def encoded_hdf5(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        kind = h5py.vlen_dtype(np.uint8)
        images = file.create_dataset("images", (COUNT,), dtype=kind, chunks=(4,))
        for i, data in enumerate(FILES):
            images[i] = np.frombuffer(data, np.uint8)
        file["labels"] = [NAMES[label] for label in LABELS]
    return path


def python2_pickle(content: dict) -> bytes:
    """Protocol 2 as cPickle of Python 2 wrote it: texts and arrays' bytes are short strings."""

    def text(value: bytes) -> bytes:
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    def any_of(value: object) -> bytes:
        if isinstance(value, bytes):
            return text(value)
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        if isinstance(value, list):
            return b"](" + b"".join(map(any_of, value)) + b"e"
        rows, columns = value.shape
        kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R"
        state = b"(K\3" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b")
        shape = b"J" + struct.pack("<i", rows) + b"J" + struct.pack("<i", columns) + b"\x86"
        data = kind + state + b"\x89" + text(value.tobytes())
        return head + b"\x87R(K\1" + shape + data + b"tb"

    items = b"".join(text(key.encode()) + any_of(value) for key, value in content.items())
    return b"\x80\2}(" + items + b"u."


def cifar10(root: Path, *, parent: str = "", python: int = 2) -> Path:
    """Five batches and a test batch that must not be taken."""
    place = root / parent
    place.mkdir(parents=True)
    rows = IMAGES.transpose(0, 3, 1, 2).reshape(COUNT, -1)
    dump = python2_pickle if python == 2 else lambda content: pickle.dumps(content, 4)

    def batch(name: str, start: int, stop: int, **labels: list[int]) -> None:
        content = {"data": rows[start:stop].copy(), **labels}
        (place / name).write_bytes(dump(content))

    for n in range(4):
        batch(f"data_batch_{n + 1}", 3 * n, 3 * n + 3, labels=LABELS[3 * n : 3 * n + 3])
    batch("test_batch", 0, 2, labels=[0, 0])
    words = [name.encode() if python == 2 else name for name in NAMES]
    (place / "batches.meta").write_bytes(dump({"label_names": words}))
    return root


def cifar100(root: Path) -> Path:
    """Fine labels are other numbers than coarse ones."""
    root.mkdir()
    rows = IMAGES.transpose(0, 3, 1, 2).reshape(COUNT, -1)
    fine = list(range(COUNT))
    content = {"data": rows, "fine_labels": fine, "coarse_labels": LABELS}
    (root / "train").write_bytes(python2_pickle(content))
    (root / "test").write_bytes(python2_pickle({**content, "data": rows[::-1].copy()}))
    names = {
        "fine_label_names": [f"fine{i}".encode() for i in fine],
        "coarse_label_names": [name.encode() for name in NAMES],
    }
    (root / "meta").write_bytes(python2_pickle(names))
    return root


def mnist(root: Path, *, packed: bool, inside: str = "") -> Path:
    place = root / inside
    place.mkdir(parents=True)

    def save(name: str, values: np.ndarray) -> None:
        head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
        data = head + values.astype(np.uint8).tobytes()
        if packed:
            (place / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (place / name).write_bytes(data)

    save("train-images-idx3-ubyte", GRAY)
    save("train-labels-idx1-ubyte", np.array(LABELS))
    save("t10k-images-idx3-ubyte", GRAY[::-1])
    save("t10k-labels-idx1-ubyte", np.zeros(COUNT))
    return root


def parquet(root: Path, *, shards: int = 1, struct_of: bool = True, label: str = "label") -> Path:
    """As `datasets.push_to_hub` writes it: an image is {bytes, path}, and classes have names."""
    import pyarrow
    from pyarrow import parquet

    images = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(FILES)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {
        "image": pyarrow.array(images, kind) if struct_of else pyarrow.array(FILES),
        label: pyarrow.array(LABELS, pyarrow.int64()),
    }
    table = pyarrow.table(columns)
    features = {label: {"names": NAMES, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = table.replace_schema_metadata(about if struct_of else None)
    if shards == 1:
        parquet.write_table(table, root)
        return root
    (root / "data").mkdir(parents=True)
    size = COUNT // shards
    for n in range(shards):
        part = table.slice(n * size, size)
        parquet.write_table(part, root / f"data/train-{n:05d}-of-{shards:05d}.parquet")
    parquet.write_table(table.slice(0, 2), root / "data/test-00000-of-00001.parquet")
    return root


def listing(root: Path, *, heading: list[str] | None, style: str = "relative") -> Path:
    """A table beside the images, which lie flat in a folder with an odd name."""
    place = root / "my, pictures"
    place.mkdir(parents=True)
    rows = []
    for i, data in enumerate(FILES):
        (place / f"{i:04d}.png").write_bytes(data)
        path = place / f"{i:04d}.png"
        name = str(path) if style == "absolute" else str(path.relative_to(root))
        rows.append([name.removesuffix(".png") if style == "ids" else name, NAMES[LABELS[i]]])
        if heading and len(heading) == 3:
            rows[-1].insert(1, str(i))
    delimiter = "\t" if style == "tabs" else ","
    table = root / ("list.tsv" if style == "tabs" else "list.csv")
    mark = "utf-8-sig" if style == "bom" else "utf-8"
    with table.open("w", newline="", encoding=mark) as file:
        quoting = csv.QUOTE_ALL if style == "quoted" else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)
        writer.writerows([heading, *rows] if heading else rows)
    return table


def text_list(root: Path) -> Path:
    """`train.txt` of Caffe's times."""
    folder(root, inside="with spaces")
    paths = [f"with spaces/{NAMES[LABELS[i]]}/{i:04d}.png" for i in range(COUNT)]
    lines = [f"{path} {NAMES[LABELS[i]]}" for i, path in enumerate(paths)]
    (root / "train.txt").write_text("\n".join(lines))
    return root / "train.txt"


def npz_in_a_folder(root: Path) -> Path:
    root.mkdir()
    npz(root / "download.npz")
    return root


def foreign_shards(root: Path, *, label: str) -> Path:
    """Two shards of somebody else's."""
    beside = {
        "cls": lambda i: ("cls", str(LABELS[i])),
        "cls names": lambda i: ("cls", NAMES[LABELS[i]]),
        "json label": lambda i: ("json", json.dumps({"label": LABELS[i], "width": 8})),
        "json class": lambda i: ("json", json.dumps({"key": "x", "class": NAMES[LABELS[i]]})),
        "txt": lambda i: ("txt", NAMES[LABELS[i]]),
    }[label]
    for n, numbers in enumerate((range(5), range(5, COUNT))):
        members = []
        for i in numbers:
            ending, text = beside(i)
            members += [(f"{i:05d}.jpg", FILES[i]), (f"{i:05d}.{ending}", text.encode())]
        write_tar(root / f"part{n}.tar", members)
    return root


SOURCES = {
    # case: (format, writer, words for pack; names of the classes, None: no labels)
    "folder": ("folder", folder, [], NAMES),
    "imagenet": ("folder", imagenet, ["--split", "train"], NAMES),
    "zip": ("zip", lambda p: zipped(p.with_suffix(".zip")), [], NAMES),
    **{
        f"nvidia {style}": ("folder", lambda p, s=style: nvidia(p, style=s), [], [])
        for style in ("plain", "dots", "backslashes", "ids", "numbers", "stems")
    },
    "npz": ("npz", lambda p: npz(p.with_suffix(".npz")), [], []),
    "npy nhwc": ("npy", lambda p: npy(p.with_suffix(".npy")), [], None),
    "npy nchw": (
        "npy",
        lambda p: npy(p.with_suffix(".npy"), np.asfortranarray(IMAGES.transpose(0, 3, 1, 2))),
        [],
        None,
    ),
    "npz keras": ("npz", lambda p: keras_npz(p.with_suffix(".npz")), [], []),
    "lsun": ("lmdb", lsun, [], None),
    "lmdb file": ("lmdb", lambda p: lsun(p) / "data.mdb", [], None),
    "lmdb with labels": ("lmdb", labeled_lmdb, [], []),
    "lmdb of sizes": ("lmdb", sized_lmdb, [], None),
    "hdf5 nhwc": ("hdf5", lambda p: hdf5(p, images=IMAGES, labels=LABELS), [], []),
    "hdf5 biggan": (
        "hdf5",
        lambda p: hdf5(p, imgs=IMAGES.transpose(0, 3, 1, 2), labels=np.array(LABELS)),
        [],
        [],
    ),
    "hdf5 keras": (
        "hdf5",
        lambda p: hdf5(p, x_train=IMAGES, y_train=np.c_[LABELS], x_test=IMAGES[:2], y_test=[0, 0]),
        [],
        [],
    ),
    "hdf5 groups": (
        "hdf5",
        lambda p: hdf5(p, train__x=IMAGES, train__y=np.eye(3, dtype=int)[LABELS], test__x=IMAGES),
        [],
        [],
    ),
    "hdf5 files": ("hdf5", encoded_hdf5, [], NAMES),
    "cifar-10": ("cifar", cifar10, [], NAMES),
    "cifar-10 of python 3": ("cifar", lambda p: cifar10(p, python=3), [], NAMES),
    "cifar-10 by torchvision": (
        "cifar",
        lambda p: cifar10(p, parent="cifar-10-batches-py"),
        [],
        NAMES,
    ),
    "cifar-100 coarse": ("cifar", cifar100, ["--label-field", "coarse_labels"], NAMES),
    "mnist": ("mnist", lambda p: mnist(p, packed=False), [], []),
    "mnist gzipped": ("mnist", lambda p: mnist(p, packed=True), [], []),
    "mnist by torchvision": (
        "mnist",
        lambda p: mnist(p, packed=False, inside="MNIST/raw"),
        [],
        [],
    ),
    "parquet": ("parquet", parquet, [], NAMES),
    "parquet shards": ("parquet", lambda p: parquet(p, shards=3), [], NAMES),
    "parquet bytes": ("parquet", lambda p: parquet(p, struct_of=False, label="class"), [], []),
    **{
        f"csv {style}": (
            "listing",
            lambda p, s=style: listing(p, heading=["path", "label"], style=s),
            [],
            NAMES,
        )
        for style in ("relative", "absolute", "quoted", "bom", "tabs", "ids")
    },
    "text list": ("listing", lambda p: text_list(p), [], NAMES),
    "npz in a folder": ("npz", lambda p: npz_in_a_folder(p), [], []),
    "csv bare": ("listing", lambda p: listing(p, heading=None), [], NAMES),
    "csv of three columns": (
        "listing",
        lambda p: listing(p, heading=["file_name", "size", "breed"]),
        ["--label-field", "breed"],
        NAMES,
    ),
    **{
        f"shards {label}": (
            "shards",
            lambda p, k=label: foreign_shards(p, label=k),
            [],
            names,
        )
        for label, names in {
            "cls": [],
            "cls names": NAMES,
            "json label": [],
            "json class": NAMES,
            "txt": NAMES,
        }.items()
    },
}
