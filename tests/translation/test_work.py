"""The pipeline of translation on folders, lists, zips and shards; resuming; bad files."""

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from largegan.data.account import Account
from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.files import photos as reading
from largegan.translation import images, manifest, target, work
from largegan.translation.sources import find_items
from largegan.translation.translator import Translator
from largegan.translation.work import How, Job, outputs_of

PLAIN = How()


class Negative(nn.Module):
    """A translation whose result is known: colors inverted. It counts how it was called."""

    multiple, halo = 1, 0

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight = nn.Parameter(-torch.eye(3)[:, :, None, None], requires_grad=False)
        self.shapes: list[tuple] = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.conv(x)


def job(out: Path, *, model: str = "sha", how: How = PLAIN, **options) -> Job:
    out.mkdir(exist_ok=True)
    return Job(Translator(Negative(), 3, "a_to_b", model, "test"), out, how, **options)


def translate(source: Path, out: Path, **options) -> tuple[work.Outcome, Job]:
    worker = job(out, **options)
    share = outputs_of(find_items(str(source)), worker.how.ext)
    return worker.run(worker.remaining(share)), worker


def pixels(path: Path) -> np.ndarray:
    return reading.read(path.read_bytes()).pixels


def save(path: Path, *, size=(6, 5), seed: int = 0, mode: str = "RGB") -> np.ndarray:
    """A random image `[H, W, C]` of `size` (height, width)."""
    shape = (*size, len(mode)) if len(mode) > 1 else size
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode=None).save(path)
    return array


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    save(folder / "a.png", seed=1)
    save(folder / "deep/er/b.png", seed=2)
    save(folder / "deep/c.png", size=(9, 4), seed=3)
    save(folder / ".hidden.png")
    (folder / "notes.txt").write_text("")
    return folder


NAMES = ["a.png", "deep/c.png", "deep/er/b.png"]


def check_mirrored(photos: Path, out: Path, names=NAMES, *, prefix: str = "") -> None:
    found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert found == sorted([prefix + name for name in names] + ["manifest.jsonl"])
    for name in names:
        assert np.array_equal(pixels(out / prefix / name), 255 - pixels(photos / name))


def test_what_translate_wrote_beside_its_images_is_not_left_out(tmp_path):
    (tmp_path / "manifest.jsonl").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    account = Account()
    save(tmp_path / "a.png")
    found = find_items(str(tmp_path), account=account)
    assert [item.name for item in found] == ["a.png"]
    assert [name for names in account.left_out.values() for name in names] == ["notes.txt"]


def test_folder_is_mirrored(photos, tmp_path):
    outcome, _ = translate(photos, tmp_path / "out")
    assert sorted(outcome.written) == NAMES and not outcome.faults
    check_mirrored(photos, tmp_path / "out")


def test_list(photos, tmp_path):
    (tmp_path / "list.txt").write_text("# some\nphotos/a.png\n\nphotos/deep/c.png\n")
    translate(tmp_path / "list.txt", tmp_path / "out")
    check_mirrored(photos, tmp_path / "out", ["a.png", "deep/c.png"], prefix="photos/")
    (tmp_path / "list.txt").write_text("\n".join(str(photos / name) for name in NAMES))
    translate(tmp_path / "list.txt", tmp_path / "absolute")
    check_mirrored(photos, tmp_path / "absolute")
    (tmp_path / "list.txt").write_text("photos/z.png")
    with pytest.raises(DataError, match=r"names photos/z\.png, which does not exist"):
        find_items(str(tmp_path / "list.txt"))


def test_zip(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in [*NAMES, ".hidden.png"]:
            archive.write(photos / name, name)
    translate(tmp_path / "photos.zip", tmp_path / "out")
    check_mirrored(photos, tmp_path / "out")


def shard(path: Path, photos: Path, names: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.add(photos / name, name)
            archive.addfile(tarfile.TarInfo(name.replace(".png", ".cls")))


def test_shards(photos, tmp_path):
    shard(tmp_path / "shards/s-0.tar", photos, NAMES[:2])
    shard(tmp_path / "shards/s-1.tar", photos, NAMES[2:])
    for source in ("shards", "shards/s-{0,1}.tar"):
        out = tmp_path / f"out{len(source)}"
        translate(tmp_path / source, out)
        assert np.array_equal(pixels(out / "s-0/a.png"), 255 - pixels(photos / "a.png"))
        assert np.array_equal(pixels(out / "s-1" / NAMES[2]), 255 - pixels(photos / NAMES[2]))


def test_archives_cannot_write_elsewhere(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(photos / "a.png", "../a.png")
    shard(tmp_path / "evil.tar", photos, [])
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(photos / "a.png", "../../a.png")
    for name in ("evil.zip", "evil.tar"):
        with pytest.raises(DataError, match="outside of OUT"):
            find_items(str(tmp_path / name))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "holds no image"),
        (lambda path: path.with_suffix(".zip").write_bytes(b"PK"), "does not exist"),
    ],
)
def test_nothing_there(tmp_path, make, says):
    make(tmp_path / "in")
    with pytest.raises((ConfigError, DataError), match=says):
        find_items(str(tmp_path / "in"))


def test_batches_have_one_size(tmp_path):
    for i in range(10):
        save(tmp_path / f"in/{i}.png", size=[(6, 5), (5, 6), (7, 7)][i % 3], seed=i)
    outcome, worker = translate(tmp_path / "in", tmp_path / "out", batch_size=2)
    assert len(outcome.written) == 10
    shapes = worker.translator.net.shapes
    probe = (1, 3, 128, 128)
    sizes = [shape for shape in shapes if shape != probe]
    assert sum(shape[0] for shape in sizes) == 10 and len(sizes) == 6
    assert [shape[0] for shape in sizes[:4]] == [2] * 4
    for i in range(10):
        assert np.array_equal(
            pixels(tmp_path / f"out/{i}.png"), 255 - pixels(tmp_path / f"in/{i}.png")
        )


def test_many_sizes_do_not_pile_up(tmp_path):
    for i in range(30):
        save(tmp_path / f"in/{i:02d}.png", size=(5, 5 + i))
    worker = job(tmp_path / "out", batch_size=4)
    share = outputs_of(find_items(str(tmp_path / "in")), "keep")
    most = 0
    original = worker.sorted_in

    def watched(loaded):
        nonlocal most
        yield from original(loaded)
        most = max(most, sum(map(len, worker.buckets.values())))

    worker.sorted_in = watched
    assert len(worker.run(share).written) == 30
    assert most <= work.AHEAD * 4


def test_kinds_of_images(tmp_path):
    """Gray, alpha, 16 bits, orientation, several formats: all as they came."""
    source, out = tmp_path / "in", tmp_path / "out"
    gray = save(source / "gray.png", mode="L")
    rgba = save(source / "alpha.png", mode="RGBA")
    deep = np.random.default_rng(0).integers(0, 65536, (6, 5, 3), np.uint16)
    (source / "deep.png").write_bytes(images.encode(reading.Photo(deep), ".png"))
    tifffile.imwrite(source / "deep.tif", deep[..., 0])
    turned = Image.fromarray(save(source / "turned.jpg", size=(8, 16)))
    exif = Image.Exif()
    exif[reading.ORIENTATION] = 6
    turned.save(source / "turned.jpg", exif=exif, quality=100)
    save(source / "photo.webp", size=(32, 32))
    outcome, _ = translate(source, out)
    assert not outcome.faults and len(outcome.written) == 6
    assert np.array_equal(pixels(out / "gray.png"), 255 - gray[..., None].repeat(3, 2))
    result = reading.read((out / "alpha.png").read_bytes())
    assert np.array_equal(result.alpha, rgba[..., 3])
    clear = rgba[..., 3] == 255
    assert np.array_equal(result.pixels[clear], 255 - rgba[..., :3][clear])
    assert np.array_equal(pixels(out / "deep.png"), 65535 - deep)
    assert np.array_equal(pixels(out / "deep.tif"), 65535 - deep[..., :1].repeat(3, 2))
    assert pixels(out / "turned.jpg").shape == (16, 8, 3), "upright"
    assert Image.open(out / "turned.jpg").getexif().get(reading.ORIENTATION) is None
    assert Image.open(out / "photo.webp").format == "WEBP"


def test_window(tmp_path):
    scan = np.array([[-3000, -1000, 0, 500, 2000, 3000]], np.int16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/ct.tif", scan)
    translate(tmp_path / "in", tmp_path / "out", how=How(window=(-1000, 2000)))
    result = pixels(tmp_path / "out/ct.tif")
    assert result.dtype == np.int16
    assert result[0, :, 0].tolist() == [2000, 2000, 1000, 500, -1000, -1000]


def test_bad_files_are_reported_and_the_rest_goes_on(photos, tmp_path):
    (photos / "bad.png").write_bytes(b"nonsense")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:60])
    Image.new("L", (5, 5)).save(photos / "odd.gif")
    outcome, _ = translate(photos, tmp_path / "out")
    assert sorted(outcome.written) == NAMES
    assert sorted(fault.split()[0] for fault in outcome.faults) == ["bad.png", "cut.png", "odd.gif"]
    (photos / "bad.png").unlink(), (photos / "cut.png").unlink(), (photos / "odd.gif").unlink()
    check_mirrored(photos, tmp_path / "out")


def test_format_is_changed_when_asked(photos, tmp_path):
    translate(photos, tmp_path / "out", how=How(ext="tif"))
    expected = 255 - pixels(photos / "a.png")
    assert np.array_equal(pixels(tmp_path / "out/a.tif"), expected)
    save(photos / "a.bmp")
    with pytest.raises(ConfigError, match=r"a\.bmp and a\.png would both become a\.tif"):
        outputs_of(find_items(str(photos)), "tif")


def test_resume_skips_what_is_whole(photos, tmp_path):
    out = tmp_path / "out"
    translate(photos, out)
    before = {name: (out / name).stat().st_mtime_ns for name in NAMES}
    (out / "a.png").write_bytes((out / "a.png").read_bytes()[:-5])
    (out / "deep/c.png").unlink()
    outcome, _ = translate(photos, out)
    assert sorted(outcome.written) == ["a.png", "deep/c.png"] and outcome.skipped == 1
    assert (out / NAMES[2]).stat().st_mtime_ns == before[NAMES[2]]
    check_mirrored(photos, out)


def test_resume_of_another_model_or_of_strangers_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    translate(photos, out)
    with pytest.raises(ConfigError, match=r"translated with another model \(sha, now other\)"):
        translate(photos, out, model="other")
    with pytest.raises(ConfigError, match="another options"):
        translate(photos, out, how=How(tile=256))
    save(out / "new.png")
    save(photos / "new.png", seed=9)
    with pytest.raises(ConfigError, match="does not know it"):
        translate(photos, out)


def test_killed_between_line_and_file(photos, tmp_path, monkeypatch):
    """The line is there, the file is not: it is made again; a torn line is no line."""
    out = tmp_path / "out"
    original = Path.replace

    def killed(self, other):
        if Path(other).name == "a.png":
            raise KeyboardInterrupt
        return original(self, other)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        translate(photos, out)
    monkeypatch.undo()
    assert not (out / "a.png").exists()
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"output": "a.p')
    translate(photos, out)
    check_mirrored(photos, out)
    assert len(manifest.Manifest(out).records) == 3
    assert translate(photos, out)[0].skipped == 3


def test_full_disk_is_one_sentence(photos, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EnvironmentFault, match="the disk is full; make room, and start"):
        translate(photos, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*.png")]


def test_manifest(photos, tmp_path):
    translate(photos, tmp_path / "out")
    lines = (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    record = next(r for r in map(json.loads, lines) if r["output"] == "deep/c.png")
    assert (record["height"], record["width"], record["mode"]) == (9, 4, "full")
    assert record["model"] == "sha" and record["direction"] == "a_to_b"
    assert record["bytes"] == (tmp_path / "out/deep/c.png").stat().st_size
    assert record["options"]["norm_stats"] == "auto" and record["dtype"] == "uint8"


def test_shares_of_processes_are_all_of_it(photos, tmp_path):
    share = outputs_of(find_items(str(photos)), "keep")
    parts = [dict(list(share.items())[rank::2]) for rank in range(2)]
    out = tmp_path / "out"
    for part in parts:
        worker = job(out)
        worker.run(worker.remaining(part))
    check_mirrored(photos, out)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_large_images_go_through_maps(tmp_path, monkeypatch, ending, mode):
    monkeypatch.setattr(reading, "HUGE", 1000)
    monkeypatch.setattr(target, "HUGE", 1000)
    array = save(tmp_path / f"in/large.{ending}", size=(50, 70), mode=mode)
    how = How(norm_stats="exact", tile=32)
    outcome, worker = translate(tmp_path / "in", tmp_path / "out", how=how)
    assert not outcome.faults and max(shape[2] for shape in worker.tiler.shared.shapes) == 32
    result = reading.read((tmp_path / f"out/large.{ending}").read_bytes())
    clear = array[..., 3] == 255 if mode == "RGBA" else np.ones(array.shape[:2], bool)
    assert np.array_equal(result.pixels[clear], 255 - array[..., :3][clear])
    assert mode == "RGB" or np.array_equal(result.alpha, array[..., 3])
    left = [p.name for p in (tmp_path / "out").iterdir()]
    assert sorted(left) == [f"large.{ending}", "manifest.jsonl"]


def test_auto_takes_tiles_when_memory_is_short(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(work.memory, "free_bytes", lambda device: 40 * 40 * 48)
    save(tmp_path / "in/large.png", size=(50, 70))
    save(tmp_path / "in/small.png", size=(20, 20))
    how = How(tile=32, thumbnail=32)
    translate(tmp_path / "in", tmp_path / "out", how=how)
    records = manifest.Manifest(tmp_path / "out").records
    assert records["large.png"]["mode"] == "thumbnail" and records["large.png"]["tiles"] == 6
    assert records["small.png"]["mode"] == "full"


def test_memory_that_falls_when_a_batch_is_gathered_loses_no_image(tmp_path, monkeypatch):
    """Enough is free while each of three images is looked at, too little when they are run."""
    for i in range(3):
        save(tmp_path / f"in/{i}.png", size=(50, 70), seed=i)
    left = iter([1e12] * 3)
    monkeypatch.setattr(work.memory, "free_bytes", lambda device: next(left, 40 * 40 * 48))
    how = How(tile=32, thumbnail=32)
    outcome, _ = translate(tmp_path / "in", tmp_path / "out", how=how, batch_size=3)
    assert sorted(outcome.written) == ["0.png", "1.png", "2.png"] and not outcome.faults
    records = manifest.Manifest(tmp_path / "out").records
    assert {records[name]["mode"] for name in outcome.written} == {"thumbnail"}
    for i in range(3):
        wanted = 255 - pixels(tmp_path / f"in/{i}.png")
        assert np.array_equal(pixels(tmp_path / f"out/{i}.png"), wanted)


def test_memory_that_runs_out_is_a_bad_image(photos, tmp_path):
    worker = job(tmp_path / "out")

    def forward(x):
        if x.shape[2] == 9:
            raise torch.OutOfMemoryError("out of memory")
        return -x

    worker.translator.net.forward = forward
    worker._bytes_per_pixel = 1.0
    outcome = worker.run(outputs_of(find_items(str(photos)), "keep"))
    assert len(outcome.written) == 2
    assert "deep/c.png (4x9) does not fit into the memory of cpu" in outcome.faults[0]
