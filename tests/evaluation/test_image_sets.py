"""What a path means, and images that are not as one would like: right, or refused in a sentence."""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.errors import ConfigError, DataError
from largegan.evaluation import scores
from largegan.evaluation.image_sets import open_image_set, split_path
from largegan.parallel.launch import World
from tests.data.writers import GRAY, IMAGES, LABELS, SOURCES
from tests.evaluation.images import picture, save, tiny_extractor


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(5):
        save(tmp_path / "photos" / f"{i}.png", picture((8, 10 + i), i))
    return tmp_path / "photos"


def pixels(images) -> list[np.ndarray]:
    return [image.permute(1, 2, 0).numpy() for image in images.read(0, images.count)]


def test_folder_zip_and_npz_are_the_same_images(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"inner/{path.name}")
    found = open_image_set(str(folder))
    zipped = open_image_set(str(tmp_path / "a.zip"))
    assert found.identity() == zipped.identity() and found.count == 5
    for i, (a, b) in enumerate(zip(pixels(found), pixels(zipped), strict=True)):
        assert (a == picture((8, 10 + i), i)).all() and (a == b).all()
    same = np.stack([picture(8, i) for i in range(3)])
    np.savez(tmp_path / "images.npz", images=same)
    assert (np.stack(pixels(open_image_set(str(tmp_path / "images.npz")))) == same).all()


def test_parts(folder):
    whole = pixels(open_image_set(str(folder)))
    even, odd = (open_image_set(f"{folder}[{part}]") for part in ("::2", "1::2"))
    assert even.count == 3 and odd.count == 2
    assert (pixels(odd)[1] == whole[3]).all() and even.about["part"] == "::2"
    assert even.identity() != odd.identity()
    assert split_path("a/b[0:3]") == ("a/b", "0:3") and split_path("a[1]") == ("a[1]", "")
    for part, says in (("9:", "leaves no image"), ("::0", "step of 0")):
        with pytest.raises(ConfigError, match=says):
            open_image_set(f"{folder}[{part}]")
    with pytest.raises(ConfigError, match="9 images were asked for and there are 5"):
        open_image_set(str(folder), count=9)
    assert open_image_set(str(folder), count=2).count == 2


def test_shards_know_their_labels():
    images = open_image_set("bundled:noto32[:40]", labels=True)
    assert images.count == 40 and images.read(3, 5)[0].shape == (3, 32, 32)
    batch = images.source.read(np.arange(40))
    assert images.labels() == batch["label"].tolist() and images.num_classes == 9
    assert torch.equal(images.read(39, 40)[0], batch["image"][39])
    assert images.identity() != open_image_set("bundled:noto32[1:41]").identity()


def test_folders_may_be_classes(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / "set" / name / "a.png", picture(8))
    assert open_image_set(str(tmp_path / "set"), labels=True).labels() == [0, 1]
    assert open_image_set(str(tmp_path / "set")).labels() is None


def stored(path: Path, image: Image.Image, **options) -> np.ndarray:
    """Writes an image alone into a folder, and what is read from there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return pixels(open_image_set(str(path.parent)))[0]


def test_16_bits_are_scaled(tmp_path):
    """clean-fid makes them white."""
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    found = stored(tmp_path / "a" / "a.png", Image.fromarray(ramp))
    assert (found == (ramp >> 8)[..., None]).all() and found.shape == (8, 8, 3)
    found = stored(tmp_path / "b" / "a.tiff", Image.fromarray(ramp))
    assert (found == (ramp >> 8)[..., None]).all()


def test_32_bit_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="8 bits per channel"):
        stored(tmp_path / "a.tiff", Image.fromarray(np.ones((4, 4), np.float32)))


def test_grey_alpha_palette_and_cmyk(tmp_path):
    gray = picture(8)[..., 0]
    found = stored(tmp_path / "a" / "a.png", Image.fromarray(gray))
    assert (found == gray[..., None]).all()
    alpha = np.dstack([picture(8), np.zeros((8, 8), np.uint8)])
    assert (stored(tmp_path / "b" / "a.png", Image.fromarray(alpha)) == 255).all()
    palette = Image.fromarray(picture(8)).quantize(16)
    found = stored(tmp_path / "c" / "a.png", palette)
    assert (found == np.asarray(palette.convert("RGB"))).all()
    cmyk = Image.fromarray(picture(8)).convert("CMYK")
    assert stored(tmp_path / "d" / "a.jpg", cmyk).shape == (8, 8, 3)


def test_exif_rotation_is_applied(tmp_path):
    image = Image.fromarray(picture((8, 16)))
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    found = stored(tmp_path / "a.png", image, exif=exif)
    assert (found == np.rot90(np.asarray(image), -1)).all()


def test_corrupt_files_are_named(folder):
    data = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(data[: len(data) // 2])
    images = open_image_set(str(folder))
    with pytest.raises(DataError, match=r"3\.png in .*photos is not a readable image"):
        images.read(0, 5)


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_image_set(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="does not exist"):
        open_image_set(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        open_image_set(str(tmp_path / "empty"), truncation=0.5)
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="holds no image"):
        open_image_set(str(tmp_path / "a.zip"))


def test_the_data_as_training_sees_them_are_the_reference(tmp_path):
    """Resized and cut in the middle; and what is scored does not count as training's."""
    from largegan.data import open_data
    from largegan.data.transforms import Framing, to_device
    from largegan.evaluation.image_sets import images_of_source

    source = open_data("bundled:noto32")
    framing = Framing(resize=24, crop=16)
    images = images_of_source(source, framing, count=7, path="x")
    assert images.count == 7 and images.about == {
        "kind": "shards", "path": "x", "part": "", "resize": 24, "crop": 16
    }  # fmt: skip
    seen = to_device(source.read(np.arange(7)), "cpu", framing)["image"]
    found = torch.stack(images.read(0, 7))
    assert found.shape == (7, 3, 16, 16)
    assert (found - (seen * 127.5 + 127.5)).abs().max() <= 0.5 + 1e-3
    plain = images_of_source(source, Framing(), count=7, path="x")
    assert plain.identity() == open_image_set("bundled:noto32[:7]").identity()
    assert images.identity() != plain.identity()
    assert images.source is not source and images.source.policy is not source.policy


@pytest.mark.parametrize(
    ("kind", "says"), [({"channels_b": 3}, "holds pairs"), ({"latent_scale": 0.2}, "holds latents")]
)
def test_shards_of_other_samples_are_refused(monkeypatch, kind, says):
    """Pairs have two images, and latents none."""
    from largegan.data import open_data
    from largegan.data.transforms import Framing
    from largegan.evaluation import image_sets

    source = open_data("bundled:noto32")
    source.info = dataclasses.replace(source.info, **kind)
    monkeypatch.setattr(image_sets, "open_data", lambda *_: source)
    with pytest.raises(ConfigError, match=says):
        open_image_set("bundled:noto32")
    with pytest.raises(ConfigError, match=says):
        image_sets.images_of_source(source, Framing(), count=None, path="x")


def labels_of(counts: tuple[int, ...], seeds: range) -> list[int]:
    from largegan.recipe import DataSpec
    from largegan.sampler import Sampler

    classes = tuple(range(len(counts)))
    spec = DataSpec(3, 8, 8, len(counts))
    sampler = Sampler(None, spec, (), torch.device("cpu"), classes, label_counts=counts)
    assert [sampler.label(seed) for seed in (0, 1)] == [0, 1]
    return [sampler.as_in_data().label(seed) for seed in seeds]


@pytest.mark.parametrize("counts", [(900, 90, 10), (1, 2, 3, 4), (7, 0, 1)])
@pytest.mark.parametrize("first", [0, 1, 12345])
def test_labels_of_fakes_follow_the_data(counts, first):
    """Any stretch of seeds has every class in its proportion, within a few images."""
    n = 500
    found = np.bincount(labels_of(counts, range(first, first + n)), minlength=len(counts))
    wanted = n * np.array(counts) / sum(counts)
    assert np.abs(found - wanted).max() < 4
    assert all(f == 0 for f, count in zip(found, counts, strict=True) if count == 0)


def test_labels_of_classes_of_one_size_come_in_turn():
    assert labels_of((5, 5, 5), range(7)) == [0, 1, 2, 0, 1, 2, 0]


SCORED = ["lsun", "hdf5 nhwc", "cifar-10", "mnist", "parquet", "csv absolute", "npz keras"]


@pytest.mark.parametrize("case", SCORED)
def test_every_format_is_scored_as_it_is(tmp_path, case):
    name, write, _, _ = SOURCES[case]
    images = open_image_set(str(write(tmp_path / "source")), labels=case != "lsun")
    wanted = np.repeat(GRAY[..., None], 3, 3) if name == "mnist" else IMAGES
    assert {x.tobytes() for x in pixels(images)} == {x.tobytes() for x in wanted}
    if case != "lsun":
        assert sorted(images.labels()) == sorted(LABELS)


ANIMATED = {"a.gif": "GIF", "a.webp": "WEBP", "a.png": "PNG", "a.tiff": "TIFF"}


@pytest.mark.parametrize("batch", [1, 4])
def test_files_of_several_frames_are_counted(tmp_path, batch):
    """Of the reference, which is read for its identity, and of what is only extracted."""
    frames = [Image.fromarray(picture(16, i)) for i in range(3)]
    for name, kind in ANIMATED.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        first, *others = (frame.copy() for frame in frames)  # saving leaves marks on an image
        first.save(path, kind, save_all=True, append_images=others)
        others[0].save(path.with_stem("still"), kind)
    world = World(0, 1, torch.device("cpu"))
    images = open_image_set(str(tmp_path / "photos"))
    generated = scores.extract(images, tiny_extractor(), world, batch=batch)
    for _ in range(2):  # the second time it is cached
        fresh = open_image_set(str(tmp_path / "photos"))
        options = {"cache": tmp_path / "cache", "batch": batch}
        reference = scores.reference_side(fresh, tiny_extractor(), world, **options)
        for name, side in (("reference", reference), ("generated", generated)):
            assert side.about["first_frames"] == len(ANIMATED)
            said = scores.warnings_of(reference, generated, {"dim": 12})
            assert any(s.startswith(f"{name}: 4 files hold several") for s in said)
    half = open_image_set(f"{tmp_path / 'photos'}[4:]")
    assert "first_frames" not in scores.extract(half, tiny_extractor(), world).about
