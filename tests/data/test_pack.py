"""Packing: every source, one result, down to the byte."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from largegan.data import open_data
from largegan.data.decode import decode_into
from largegan.data.prepare import Preparation
from largegan.errors import ConfigError
from tests.data.conftest import ROOT, picture, png, save_pictures


def everything(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(path.iterdir())}


def images_of(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    source = open_data(path)
    micro = source.read(np.arange(source.info.count))
    return micro["image"].permute(0, 2, 3, 1), micro["label"]


def by_content(path: Path) -> dict[bytes, int]:
    images, labels = images_of(path)
    return {i.numpy().tobytes(): n for i, n in zip(images, labels.tolist(), strict=True)}


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_gives_the_same_bytes(tool, tmp_path: Path, threads: int) -> None:
    source = save_pictures(tmp_path / "source", 30)
    for out, seed, count in (("a", 1, 1), ("b", 1, threads), ("c", 2, 1)):
        arguments = ("--seed", seed, "--threads", count, "--shard-count", 4)
        assert tool("pack", source, tmp_path / out, *arguments)[0] == 0
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    a, c = everything(tmp_path / "a"), everything(tmp_path / "c")
    assert a.keys() == c.keys() and a["shard-000000.tar"] != c["shard-000000.tar"]


def test_order_is_random_over_all_shards(shards: Path) -> None:
    labels = open_data(shards).read(np.arange(101))["label"].reshape(-1)
    assert len(set(labels[:12].tolist())) == 3  # the source was sorted by class
    document = json.loads((shards / "index.json").read_text())
    assert document["packed_random"] and len(document["shards"]) == 9
    for shard in document["shards"]:
        data = (shards / shard["name"]).read_bytes()
        assert len(data) == shard["bytes"] and hashlib.sha256(data).hexdigest() == shard["sha256"]


def test_webdataset_reads_the_shards(shards: Path) -> None:
    """The public format is plain WebDataset: no index is needed to read it."""
    urls = sorted(map(str, shards.glob("*.tar")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == 101 and all({"png", "cls"} <= set(sample) for sample in samples)
    source = open_data(shards)
    out = np.empty((8, 8, 3), np.uint8)
    for i, sample in enumerate(samples):
        decode_into(sample["png"], out)
        micro = source.read(np.array([i]))
        assert (micro["image"][0].permute(1, 2, 0).numpy() == out).all()
        assert int(micro["label"][0]) == int(sample["cls"])


def test_folder_zip_and_npz_agree(tool, tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "folder", 12)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    images = np.stack([picture(i) for i in range(12)])
    labels = np.arange(12) % 3
    np.savez_compressed(tmp_path / "nhwc.npz", images=images, labels=labels)
    np.savez(tmp_path / "nchw.npz", x=images.transpose(0, 3, 1, 2), y=np.eye(3, dtype=int)[labels])
    contents = []
    for source in ("folder", "images.zip", "nhwc.npz", "nchw.npz"):
        out = tmp_path / f"out-{source}"
        assert tool("pack", tmp_path / source, out, "--format", "png")[0] == 0
        contents.append(by_content(out))
    assert contents[0] == contents[1] == contents[2] == contents[3]
    assert contents[0] == {picture(i).tobytes(): i % 3 for i in range(12)}
    info = open_data(tmp_path / "out-folder").info
    assert info.class_names == ("class0", "class1", "class2") and info.label_counts == (4, 4, 4)


@pytest.mark.parametrize("extra", ["", "__MACOSX/._x", "/"])
def test_a_zip_of_the_folder_itself_has_its_classes(tool, tmp_path: Path, extra: str) -> None:
    """`zip -r pics.zip pics` wraps the class folders in one more; so do Finder and others."""
    folder = save_pictures(tmp_path / "pics", 12)
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        if extra:
            archive.writestr(extra if extra != "/" else "pics/", b"")
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    assert tool("pack", tmp_path / "pics.zip", tmp_path / "out", "--format", "png")[0] == 0
    assert by_content(tmp_path / "out") == {picture(i).tobytes(): i % 3 for i in range(12)}
    assert open_data(tmp_path / "out").info.class_names == ("class0", "class1", "class2")


def test_a_zip_of_one_flat_folder_has_no_classes(tool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        for path in sorted(save_pictures(tmp_path / "all", 12).rglob("*.png")):
            archive.write(path, f"pics/{path.name}")
    assert tool("pack", tmp_path / "pics.zip", tmp_path / "out")[0] == 0
    assert open_data(tmp_path / "out").info.num_classes == 0


def test_labels_from_files_beside_the_images(tool, tmp_path: Path) -> None:
    names = [f"{i // 4:05d}/img{i:08d}.png" for i in range(8)]
    for kind in ("json", "csv", "names"):
        for i, name in enumerate(names):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(i)).save(path)
    pairs = [[name, i % 2] for i, name in enumerate(names)]
    (tmp_path / "json" / "dataset.json").write_text(json.dumps({"labels": pairs}))
    with (tmp_path / "csv" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["name", "label"], *pairs])
    with (tmp_path / "names" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[n, ("cat", "dog")[y]] for n, y in pairs])
    for kind in ("json", "csv", "names"):
        assert tool("pack", tmp_path / kind, tmp_path / f"{kind}-out", "--format", "png")[0] == 0
        expected = {picture(i).tobytes(): i % 2 for i in range(8)}
        assert by_content(tmp_path / f"{kind}-out") == expected
    assert open_data(tmp_path / "names-out").info.class_names == ("cat", "dog")


def test_flat_folder_has_no_labels(tool, tmp_path: Path) -> None:
    save_pictures(tmp_path / "source", 6, classes=1)
    for source in (tmp_path / "source", tmp_path / "source" / "class0"):
        out = tmp_path / f"out-{source.name}"
        assert tool("pack", source, out)[0] == 0
        assert open_data(out).info.num_classes == 0
        with tarfile.open(out / "shard-000000.tar") as archive:
            assert not any(name.endswith(".cls") for name in archive.getnames())


def test_compact_labels_and_names(tool, tmp_path: Path) -> None:
    images = np.stack([picture(i) for i in range(6)])
    np.savez(tmp_path / "d.npz", images=images, labels=np.array([0, 2, 5, 0, 2, 5]))
    extra = ("--compact-labels", "--class-names", "a,b,c", "--format", "png")
    assert tool("pack", tmp_path / "d.npz", tmp_path / "out", *extra)[0] == 0
    info = open_data(tmp_path / "out").info
    assert info.class_names == ("a", "b", "c") and info.label_counts == (2, 2, 2)


STORED_AS = {  # what the camera stores of a shown image [H, W, C], by EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_is_baked_in_and_metadata_gone(
    tool, tmp_path: Path, orientation: int
) -> None:
    """Stored pixels plus a tag, as cameras write: what comes out is what a viewer shows."""
    shown = np.zeros((8, 16, 3), np.uint8)
    shown[:4, :8], shown[:4, 8:], shown[4:, :8] = 250, 150, 80
    stored = STORED_AS[orientation](shown)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a secret"
    (tmp_path / "source").mkdir()
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "source" / "a.png", exif=exif)
    for extension in ("png", "jpg"):
        out = tmp_path / extension
        assert tool("pack", tmp_path / "source", out, "--format", extension)[0] == 0
        images, _ = images_of(out)
        assert images.shape[1:] == (8, 16, 3)
        assert np.abs(images[0].numpy().astype(int) - shown).max() <= (
            0 if extension == "png" else 12
        )
        data = (out / "shard-000000.tar").read_bytes()
        assert b"secret" not in data and b"Exif" not in data and b"eXIf" not in data


def test_alpha_grey_and_background(tool, tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 100, 0, 255)
    (tmp_path / "source").mkdir()
    Image.fromarray(rgba).save(tmp_path / "source" / "a.png")

    def packed(name: str, *arguments: object) -> np.ndarray:
        code, _, err = tool("pack", tmp_path / "source", tmp_path / name, *arguments)
        assert code == 0, err
        return images_of(tmp_path / name)[0][0].numpy()

    assert (packed("white", "--format", "png")[2:] == 255).all()
    colored = packed("red", "--format", "png", "--background", "9,8,7")
    assert (colored[2:] == (9, 8, 7)).all() and (colored[:2] == (200, 100, 0)).all()
    assert (packed("alpha", "--channels", 4) == rgba).all()
    gray = packed("gray", "--channels", 1, "--format", "png")
    assert gray.shape == (4, 4, 1) and (gray[2:] == 255).all() and (gray[:2] == 118).all()
    assert json.loads((tmp_path / "red" / "index.json").read_text())["made"]["background"] == [
        9,
        8,
        7,
    ]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16", "RGBA"])
def test_every_pil_mode_becomes_rgb(tool, tmp_path: Path, mode: str) -> None:
    (tmp_path / "source").mkdir()
    if mode == "I;16":
        image = Image.fromarray(picture(0, channels=1).astype(np.uint16) * 257)
    else:
        image = Image.fromarray(picture(0)).convert(mode)
    image.save(tmp_path / "source" / ("a.tif" if mode == "CMYK" else "a.png"))
    assert tool("pack", tmp_path / "source", tmp_path / "out", "--format", "png")[0] == 0
    got = images_of(tmp_path / "out")[0][0].numpy()
    assert got.shape == (8, 8, 3)
    if mode == "I;16":
        assert (got[..., 0] == picture(0, channels=1)).all()


def test_fits(tool, tmp_path: Path) -> None:
    """A wide image: crop loses its sides, stretch keeps them, pad adds background above."""
    wide = np.full((16, 32, 3), 100, np.uint8)
    wide[:, :8], wide[:, 24:] = 0, 200
    (tmp_path / "source").mkdir()
    Image.fromarray(wide).save(tmp_path / "source" / "a.png")
    results = {}
    for fit in ("center-crop", "stretch", "pad"):
        extra = ("--resolution", 16, "--fit", fit, "--format", "png")
        assert tool("pack", tmp_path / "source", tmp_path / fit, *extra)[0] == 0
        results[fit] = images_of(tmp_path / fit)[0][0].numpy()
        assert results[fit].shape == (16, 16, 3)
    assert (results["center-crop"] == 100).all()
    assert results["stretch"][8, 0, 0] < 20 and results["stretch"][8, -1, 0] > 180
    assert (results["pad"][0] == 255).all() and results["pad"][8, 0, 0] < 20
    extra = ("--resolution", "8x16", "--format", "png")
    assert tool("pack", tmp_path / "source", tmp_path / "rectangle", *extra)[0] == 0
    assert images_of(tmp_path / "rectangle")[0].shape[1:] == (8, 16, 3)


def test_shard_size_and_count(tool, tmp_path: Path) -> None:
    save_pictures(tmp_path / "source", 20)
    tool("pack", tmp_path / "source", tmp_path / "five", "--shard-count", 5)
    tool("pack", tmp_path / "source", tmp_path / "small", "--shard-size", 0.001)
    assert len(list((tmp_path / "five").glob("*.tar"))) == 5
    assert len(list((tmp_path / "small").glob("*.tar"))) > 5
    assert open_data(tmp_path / "small").info.count == 20


def test_skipping_bad_images_is_said(tool, tmp_path: Path) -> None:
    save_pictures(tmp_path / "source", 9)
    (tmp_path / "source" / "class1" / "bad.png").write_bytes(b"not an image")
    (tmp_path / "source" / "class1" / "odd.png").write_bytes(png(picture(1, size=9)))
    code, out, err = tool("pack", tmp_path / "source", tmp_path / "out", "--on-error", "skip")
    assert code == 0 and "2 skipped" in out
    assert "class1/bad.png is not a readable image" in err
    assert open_data(tmp_path / "out").info.count == 9


def test_a_failed_run_leaves_nothing(tool, tmp_path: Path) -> None:
    save_pictures(tmp_path / "source", 5)
    (tmp_path / "source" / "class1" / "bad.png").write_bytes(b"not an image")
    assert tool("pack", tmp_path / "source", tmp_path / "out")[0] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_bundled_shard_is_what_the_packer_makes(tool, tmp_path: Path) -> None:
    """Unpack the bundled emoji to an npz and pack them again: the same images and labels."""
    images, labels = images_of(
        Path(open_data("bundled:noto32")._locate(0)).with_name("noto32.json")
    )
    np.savez(tmp_path / "noto.npz", x=images.numpy(), y=labels.numpy())
    assert tool("pack", tmp_path / "noto.npz", tmp_path / "out", "--format", "png")[0] == 0
    again, labels_again = images_of(tmp_path / "out")
    pairs = sorted(zip([i.numpy().tobytes() for i in images], labels.tolist(), strict=True))
    pairs_again = sorted(
        zip([i.numpy().tobytes() for i in again], labels_again.tolist(), strict=True)
    )
    assert pairs == pairs_again


@pytest.mark.parametrize("name", ["pack", "verify"])
def test_help_is_quick(name: str) -> None:
    """Nothing heavy is imported to print the help, and the tool runs as a program."""
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_path(r'{ROOT / 'tools' / f'{name}.py'}', run_name='__main__')\n"
        f"except SystemExit as stop: assert stop.code == 0\n"
        f"assert not {{'torch', 'numpy', 'webdataset'}} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
def test_filters_are_pillows(name):
    """A wide image: its center square, resized by the filter of that name."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    data, size = Preparation(size=(8, 8), filter=name, format="png").encode(pixels)
    box = (8, 0, 40, 32)
    wanted = Image.fromarray(pixels).resize((8, 8), Image.Resampling[name.upper()], box=box)
    assert size == (8, 8)
    assert (np.asarray(Image.open(io.BytesIO(data))) == np.asarray(wanted)).all()


def test_a_filter_that_is_not_there():
    with pytest.raises(ConfigError, match="give one of lanczos"):
        Preparation(filter="nearest")
