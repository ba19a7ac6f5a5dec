"""What people have, written by its usual writer: counts, labels and pixels are equal."""

import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from largegan.data import open_data
from largegan.data.formats import FORMATS, format_of, open_originals
from largegan.data.formats.pairs import open_pairs
from largegan.data.originals import Request
from largegan.errors import DataError, UserError
from largegan.files.photos import BadImage
from tests.data import writers
from tests.data.writers import COUNT, GRAY, IMAGES, LABELS, SOURCES


def expected(name: str, classes: list[str] | None) -> dict[bytes, int]:
    images = np.repeat(GRAY[..., None], 3, 3) if name == "mnist" else IMAGES
    labels = LABELS if classes is not None else [0] * COUNT
    return {image.tobytes(): label for image, label in zip(images, labels, strict=True)}


def content(out: Path) -> dict[bytes, int]:
    micro = open_data(out).read(np.arange(open_data(out).info.count))
    images = micro["image"].permute(0, 2, 3, 1)
    return {
        image.numpy().tobytes(): int(label)
        for image, label in zip(images, micro["label"], strict=True)
    }


def test_every_format_has_a_case():
    assert {row[0] for row in SOURCES.values()} == set(FORMATS)


@pytest.mark.parametrize("case", SOURCES)
def test_a_format_is_recognized_and_packed(tool, tmp_path: Path, case: str) -> None:
    name, write, words, classes = SOURCES[case]
    source = write(tmp_path / "source")
    assert format_of(source) == name
    code, said, err = tool("pack", source, tmp_path / "out", "--format", "png", *words)
    assert code == 0, err
    assert f"{COUNT} images" in said
    assert content(tmp_path / "out") == expected(name, classes)
    info = open_data(tmp_path / "out").info
    assert info.num_classes == (0 if classes is None else 3)
    assert list(info.class_names) == (classes or [])


@pytest.mark.parametrize("open_it", ["pack", "verify", "train"])
def test_shards_in_sub_folders_are_named(tool, tmp_path: Path, open_it: str) -> None:
    """Their indexes are .npy files, which must not be taken for images."""
    for name in ("day", "night"):
        assert tool("pack", writers.folder(tmp_path / "images"), tmp_path / "set" / name)[0] == 0
    if open_it == "train":
        with pytest.raises(DataError, match=r"sub-folders \(day, night\)"):
            open_data(tmp_path / "set")
        assert open_data(f"{tmp_path}/set/*/*.tar").info.count == 2 * COUNT
        return
    words = [tmp_path / "out"] if open_it == "pack" else []
    code, _, error = tool(open_it, tmp_path / "set", *words)
    assert code == 3 and "holds its shards in sub-folders (day, night); give one" in error


NO_SETS = {  # an array as .npy: what is said of it
    "one image": (IMAGES[0], "an array of one image"),
    "one image CHW": (IMAGES[0].transpose(2, 0, 1), "an array of one image"),
    "numbers": (np.arange(9), "is int64"),
    "bytes": (np.arange(9, dtype=np.uint8), "has shape (9,)"),
    "floats": (IMAGES / 255, "is float64; save it as uint8"),
    "deeper": (IMAGES[None], "images are [N, H, W, C]"),
    "objects": (np.array([{}]), "save it again"),
}


@pytest.mark.parametrize("case", NO_SETS)
def test_an_array_that_is_no_set_of_images(tool, tmp_path: Path, case: str) -> None:
    content, sentence = NO_SETS[case]
    np.save(tmp_path / "x.npy", content)
    code, _, error = tool("pack", tmp_path / "x.npy", tmp_path / "out")
    assert code == 3 and sentence in error and not (tmp_path / "out").exists()


def test_an_array_of_gray_images_and_a_damaged_one(tool, tmp_path: Path) -> None:
    path = writers.npy(tmp_path / "x.npy", GRAY)
    code, said, error = tool("pack", path, tmp_path / "out", "--channels", 1)
    assert code == 0 and f"{COUNT} images of 8x8x1" in said, error
    path.write_bytes(path.read_bytes()[:-1])
    assert "does not fit its" in tool("pack", path, tmp_path / "no")[2]


SPLITS = {  # (writer, split): how many images, and a word of what is left out
    ("cifar", "test"): (lambda p: writers.cifar10(p), 2),
    ("cifar", "all"): (lambda p: writers.cifar10(p), COUNT + 2),
    ("mnist", "test"): (lambda p: writers.mnist(p, packed=True), COUNT),
    ("mnist", "all"): (lambda p: writers.mnist(p, packed=True), 2 * COUNT),
    ("parquet", "test"): (lambda p: writers.parquet(p, shards=2), 2),
    ("hdf5", "test"): (lambda p: writers.hdf5(p, x_train=IMAGES, x_test=IMAGES[:5]), 5),
    ("folder", "val"): (writers.imagenet, 1),
}


@pytest.mark.parametrize("case", SPLITS, ids=str)
def test_a_split_is_taken_and_the_rest_is_said(tmp_path: Path, case: tuple[str, str]) -> None:
    write, count = SPLITS[case]
    request = Request(split=case[1], labels="none", scratch=tmp_path)
    found = open_originals(write(tmp_path / "source"), request)
    assert len(found.names) == count
    assert (found.account.count == 0) == (case[1] == "all")


def test_the_test_part_is_left_out_and_said(tool, tmp_path: Path) -> None:
    source = writers.mnist(tmp_path / "mnist", packed=False)
    _, said, err = tool("pack", source, tmp_path / "out")
    assert "the part test (the split is train) (t10k-images-idx3-ubyte)" in err
    assert "1 left out" in said
    code, _, err = tool("pack", source, tmp_path / "none", "--split", "val")
    assert code == 2 and "no part 'val'; it has test and train" in err


def test_parts_in_folders_are_asked_about(tool, tmp_path: Path) -> None:
    code, _, err = tool("pack", writers.imagenet(tmp_path / "s"), tmp_path / "out")
    assert code == 2 and "--split train" in err


def zipped(folder: Path, *, parted: str = "/") -> Path:
    """A zip of a folder, as people make them; `parted` with a backslash, as on Windows."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            name = file.relative_to(folder.parent).as_posix()
            archive.writestr(name.replace("/", parted), file.read_bytes())
    return folder.with_suffix(".zip")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_cyclegans_layout_becomes_two_domains(tool, tmp_path: Path, packed: bool) -> None:
    for name, first in (("trainA", 0), ("trainB", 4), ("testA", 8), ("testB", 9)):
        (tmp_path / "zebras" / name).mkdir(parents=True)
        for i in range(first, first + 4):
            (tmp_path / "zebras" / name / f"{i}.png").write_bytes(writers.FILES[i % COUNT])
    source = zipped(tmp_path / "zebras") if packed else tmp_path / "zebras"
    code, said, err = tool("pack", source, tmp_path / "out", "--format", "png")
    assert code == 0, err
    assert [line.split(":")[0] for line in said.splitlines()] == [
        str(tmp_path / "out" / name) for name in "ab"
    ]
    for name, first in (("a", 0), ("b", 4)):
        wanted = {IMAGES[i].tobytes() for i in range(first, first + 4)}
        assert set(content(tmp_path / "out" / name)) == wanted
    code, said, _ = tool("pack", source, tmp_path / "test", "--split", "test")
    assert code == 0 and said.count("4 images") == 2
    (tmp_path / "zebras/trainB/bad.png").write_bytes(b"")
    source = zipped(tmp_path / "zebras") if packed else source
    assert tool("pack", source, tmp_path / "none")[0] == 3
    assert not (tmp_path / "none").exists()


def test_pairs_in_a_zip(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "maps" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "maps" / name / f"{i}.png").write_bytes(
                writers.FILES[i + 2 * (name == "b")]
            )
    found = open_pairs(zipped(tmp_path / "maps"), Request(), open_originals)
    assert [found.load(i) for i in range(2)] == [
        (writers.FILES[0], writers.FILES[2]),
        (writers.FILES[1], writers.FILES[3]),
    ]


def test_backslashes_in_a_zip_part_names(tmp_path: Path) -> None:
    source = zipped(writers.folder(tmp_path / "source"), parted="\\")
    found = open_originals(source, Request())
    assert len(found.names) == COUNT and len(found.class_names) == 3
    assert found.load(0).startswith(b"\x89PNG")


ARRAYS = {  # what is stored -> as pixels [H, W, C]
    "uint8": (IMAGES[0], IMAGES[0]),
    "first the channels": (IMAGES[0].transpose(2, 0, 1), IMAGES[0]),
    "gray of 16 bits": (
        GRAY[0].astype(np.uint16) * 257,
        GRAY[0][..., None].astype(np.uint16) * 257,
    ),
    "halves": ((IMAGES[0] / 255).astype(np.float16), (IMAGES[0] / 255).astype(np.float16)),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_in_files_are_images_where_there_are_no_others(tmp_path: Path, case: str) -> None:
    stored, pixels = ARRAYS[case]
    np.save(tmp_path / "0.npy", stored)
    found = open_originals(tmp_path, Request(windowed=case == "halves"))
    assert np.array_equal(found.load(0), pixels) and found.load(0).dtype == pixels.dtype
    (tmp_path / "1.png").write_bytes(writers.FILES[0])
    assert open_originals(tmp_path, Request()).names == ["1.png"]


@pytest.mark.parametrize(
    "array", [IMAGES[0] / 255, np.zeros((2, 3, 4, 5)), np.array(["a"])], ids=str
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray) -> None:
    for i in range(2):  # one alone would be an array of images
        np.save(tmp_path / f"{i}.npy", array)
    with pytest.raises(BadImage, match=r"is an \.npy that is no image: it"):
        open_originals(tmp_path, Request()).load(0)


def test_halves_keep_more_than_8_bits(tool, tmp_path: Path) -> None:
    values = np.linspace(0, 1, 4096).reshape(64, 64).astype(np.float16)
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s" / "0.npy", values)
    words = ("--window", "0,1", "--depth", "16", "--channels", "1")
    assert tool("pack", tmp_path / "s", tmp_path / "out", *words)[0] == 0
    image = open_data(tmp_path / "out").read(np.arange(1))["image"][0, 0].double().numpy()
    assert np.abs(image / 65535 - values.astype(float)).max() < 1 / 65535


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_that_is_said(tool, tmp_path: Path, kind) -> None:
    (tmp_path / "s").mkdir()
    frames = [Image.fromarray(image) for image in IMAGES[:3]]
    path = tmp_path / "s" / f"moving.{kind.lower()}"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "s" / f"still.{kind.lower()}", kind)
    _, said, err = tool("pack", tmp_path / "s", tmp_path / "out")
    assert "first frame or page is taken: the other ones (moving." in err and "1 left out" in said


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_shard_that_is_compressed_is_named(tool, tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "s.tar", f"w:{mode}") as archive:
        (tmp_path / "0.png").write_bytes(writers.FILES[0])
        archive.add(tmp_path / "0.png", "0.png")
    for words in (("pack", tmp_path / "s.tar", tmp_path / "out"), ("verify", tmp_path / "s.tar")):
        code, said, err = tool(*words)
        assert code == 3 and "s.tar is damaged: it is compressed; " in said + err


def test_what_lies_beside_shards_is_said(tool, tmp_path: Path) -> None:
    """Images and compressed shards in a folder of shards are not read, and that is no secret."""
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "0.png").write_bytes(writers.FILES[0])
    for name, mode in (("a.tar", "w"), ("b.tar.gz", "w:gz"), ("c.tgz", "w:gz")):
        with tarfile.open(folder / name, mode) as archive:
            archive.add(folder / "0.png", "0.png")
    code, said, err = tool("pack", folder, tmp_path / "out")
    assert code == 0 and "1 images of" in said and "3 left out" in said
    assert "1 images that lie beside shards" in err and "2 shards that are compressed" in err


def test_somebodys_index_among_images_makes_no_shards_of_them(tool, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "0.png").write_bytes(writers.FILES[0])
    (tmp_path / "s" / "index.json").write_text('{"mine": 1}')
    code, said, err = tool("pack", tmp_path / "s", tmp_path / "out")
    assert code == 0 and "1 images of" in said and "index.json" in err


def test_colors_that_cannot_be_converted_are_a_sentence(tool, tmp_path: Path) -> None:
    """PIL has not every way from one kind of color to another."""
    (tmp_path / "s").mkdir()
    image = Image.fromarray(IMAGES[0])
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    ImageCms.applyTransform(image, to_lab).save(tmp_path / "s" / "lab.tiff")
    code, _, err = tool("pack", tmp_path / "s", tmp_path / "out", "--channels", "1")
    assert code == 3 and "lab.tiff is not a readable image (conversion from LAB" in err


NEEDED = {"lmdb": writers.lsun, "h5py": SOURCES["hdf5 nhwc"][1], "pyarrow": writers.parquet}


@pytest.mark.parametrize("package", NEEDED)
def test_a_package_that_is_missing_is_a_sentence(tool, tmp_path, monkeypatch, package) -> None:
    source = NEEDED[package](tmp_path / "source")
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = tool("pack", source, tmp_path / "out")
    assert code == 2 and f"not installed; pip install {package}" in err


def test_several_sets_of_one_kind_are_asked_about(tmp_path: Path) -> None:
    source = writers.hdf5(tmp_path / "x.h5", a=IMAGES, b=IMAGES)
    with pytest.raises(DataError, match="several datasets of images; it holds a, b"):
        open_originals(source, Request(scratch=tmp_path))
    source = writers.mnist(tmp_path / "emnist", packed=False)
    for name in ("emnist-letters-train", "emnist-digits-train"):
        (source / "train-images-idx3-ubyte").rename(source / f"{name}-images-idx3-ubyte")
        writers.mnist(tmp_path / name, packed=False)
        (tmp_path / name / "train-images-idx3-ubyte").rename(source / "train-images-idx3-ubyte")
    (source / "train-images-idx3-ubyte").unlink()
    with pytest.raises(UserError, match="several sets"):
        open_originals(source, Request(scratch=tmp_path))


def test_captions_are_no_classes(tmp_path: Path) -> None:
    """Texts that differ from image to image are left out, and counted."""
    members = [
        (f"{i:03d}.{ending}", data)
        for i in range(COUNT)
        for ending, data in (("jpg", writers.FILES[i]), ("txt", f"picture number {i}".encode()))
    ]
    found = open_originals(
        writers.write_tar(tmp_path / "x.tar", members), Request(scratch=tmp_path)
    )
    assert found.labels is None
    assert "12 texts, which are captions" in next(found.account.sentences())
