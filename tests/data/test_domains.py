"""Two domains: packed apart or as pairs, streamed apart or together, framed alike, never mixed."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.data import framed, open_data, open_for, open_stream
from largegan.data.cache import cache_name
from largegan.data.micros import RankShare
from largegan.data.reading import Reading
from largegan.data.transforms import Framing, to_device
from largegan.data.verify import verify
from largegan.errors import ConfigError, DataError
from tests.data.conftest import members, picture, png, write_pairs, write_tar

BOTH = ("image_a", "image_b")


def opened(path, path_b=None, *, paired=False, **options):
    reading = Reading(**options)
    return open_for(BOTH, str(path), path_b and str(path_b), reading, paired=paired)


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory) -> Path:
    """7 images of domain a and 5 of b, made by the tool's own function."""
    from largegan.data.pack import pack
    from largegan.data.prepare import Preparation
    from largegan.data.writing import Layout

    root = tmp_path_factory.mktemp("unpaired")
    for domain, start, count in (("a", 0, 7), ("b", 100, 5)):
        (root / f"images_{domain}").mkdir()
        for i in range(start, start + count):
            Image.fromarray(picture(i, size=10)).save(root / f"images_{domain}" / f"{i:03d}.png")
        images, out = root / f"images_{domain}", root / "set" / domain
        pack(images, out, preparation=Preparation(format="png"), layout=Layout(shard_count=2))
    return root / "set"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    from largegan.data.pack import pack
    from largegan.data.prepare import Preparation
    from largegan.data.writing import Layout

    root = tmp_path_factory.mktemp("paired")
    write_pairs(root / "images", 9, size=10)
    preparation = Preparation(format="png")
    pack(
        root / "images",
        root / "set",
        preparation=preparation,
        channels_b=3,
        layout=Layout(shard_count=2),
    )
    return root / "set"


def drawn(source, batches: int, *, world: int = 1, state: dict | None = None, **framing):
    """Global batches of 4 in micro-batches of 2, put together from all ranks."""
    streams = [
        open_stream(
            source,
            RankShare(4, 2, rank, world),
            Framing(**framing),
            seed=3,
            workers=0,
            mirror=True,
        )
        for rank in range(world)
    ]
    for stream in streams:
        if state:
            stream.load_state_dict(json.loads(json.dumps(state)))
    out = []
    for _ in range(batches):
        shares = [stream.next_batch() for stream in streams]
        out += [shares[j % world][j // world] for j in range(2)]
    return out, streams[0].state_dict()


def test_images_without_their_other_half_are_asked_about_or_left_out(tool, tmp_path):
    write_pairs(tmp_path / "images", 6, size=8)
    next((tmp_path / "images" / "a").glob("*2.*")).unlink()
    next((tmp_path / "images" / "b").glob("*4.*")).unlink()
    words = ("pack", tmp_path / "images", tmp_path / "out", "--paired")
    code, _, error = tool(*words)
    assert code == 3 and "2 without its other half" in error and not (tmp_path / "out").exists()
    code, said, error = tool(*words, "--on-error", "skip")
    assert code == 0 and "4 pairs" in said and "2 left out" in said
    assert "2 images whose other half is missing" in error
    for path in (tmp_path / "images" / "b").iterdir():
        path.rename(path.with_stem(f"other {path.stem}"))
    code, _, error = tool(
        "pack", tmp_path / "images", tmp_path / "no", *words[3:], *("--on-error", "skip")
    )
    assert code == 3 and "hold no pair" in error


def test_the_tool_packs_domains_and_pairs(tool, tmp_path):
    write_pairs(tmp_path / "images", 6, size=8)
    out = tmp_path / "out"
    for domain in "ab":
        arguments = ("--domain", domain, "--format", "png")
        code, said, _ = tool("pack", tmp_path / "images" / domain, out, *arguments)
        assert code == 0 and f"out/{domain}: 6 images" in said
    assert opened(out).info.channels_b == 3
    code, said, _ = tool("pack", tmp_path / "images", tmp_path / "pairs", "--paired",
                         "--channels-b", 1, "--format", "png")  # fmt: skip
    assert code == 0 and "6 pairs" in said
    with tarfile.open(tmp_path / "pairs" / "shard-000000.tar") as tar:
        assert tar.getnames()[:2] == ["00000000.a.png", "00000000.b.png"]
    info = opened(tmp_path / "pairs", paired=True).info
    assert (info.channels, info.channels_b, info.count) == (3, 1, 6)
    for wrong in (("--paired", "--domain", "a"), ("--channels-b", 1)):
        code, _, error = tool("pack", tmp_path / "images", tmp_path / "no", *wrong)
        assert code == 2 and error.count("\n") == 1


def test_pairs_stay_pairs(pairs):
    """In every order, mirrored and cut: b is still the negative of a, and crops do move."""
    micros, _ = drawn(opened(pairs, paired=True), 9, crop=7)
    seen, places = [], set()
    for micro in micros:
        seen += micro["index"].tolist()
        places |= {tuple(place) for place in micro["crop"].tolist()}
        batch = to_device(micro, "cpu", Framing(crop=7))
        assert batch["image_a"].shape == (2, 3, 7, 7)
        torch.testing.assert_close(batch["image_b"], -batch["image_a"])
    assert sorted(seen) == sorted(list(range(9)) * 4), "every pair once an epoch"
    assert len(places) > 5 and all(0 <= y <= 3 and 0 <= x <= 3 for y, x in places)


def test_domains_have_their_own_epochs(unpaired):
    """35 images: 5 epochs of a, 7 of b; the shorter wraps, in a new order."""
    micros, _ = drawn(opened(unpaired), 35)
    a, b = (torch.cat([m[f"index_{d}"] for m in micros]).tolist() for d in "ab")
    assert all(sorted(a[i : i + 7]) == list(range(7)) for i in range(0, 140, 7))
    assert all(sorted(b[i : i + 5]) == list(range(5)) for i in range(0, 140, 5))
    assert b[:5] != b[5:10] or b[5:10] != b[10:15]
    flips = [torch.cat([m[f"flip_{d}"] for m in micros]).tolist() for d in "ab"]
    assert flips[0] != flips[1]


def test_skipped_samples_of_both_domains_count(unpaired):
    stream = open_stream(opened(unpaired), RankShare(4, 2), Framing(), seed=3, workers=0)
    stream.a.source.policy.bad |= {1, 2}
    stream.b.source.policy.bad |= {5}
    stream.b.source.policy.bad_shards = 1
    assert stream.skipped == {"samples": 3, "shards": 1}


def test_domains_of_one_size_do_not_meet_in_one_order(pairs):
    """The same images twice: unpaired training must not pair them."""
    source = opened("bundled:noto32", "bundled:noto32")
    micros, _ = drawn(source, 50)
    a, b = (torch.cat([m[f"index_{d}"] for m in micros]).tolist() for d in "ab")
    assert sum(x == y for x, y in zip(a, b, strict=True)) < 4


@pytest.mark.parametrize("world", [1, 2])
def test_any_world_and_any_start_draw_the_same(unpaired, world):
    source = opened(unpaired)
    whole, _ = drawn(source, 8, crop=6)
    first, state = drawn(source, 5, crop=6)
    rest, _ = drawn(source, 3, world=world, state=state, crop=6)
    for left, right in zip(whole, first + rest, strict=True):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_cache_never_mixes_domains(unpaired, web, tmp_path):
    """Shards of both domains have the same names; what is cached of them has not."""
    folder, address, _ = web
    shutil.copytree(unpaired, folder / "set")
    urls = [f"{address}/set/{d}/shard-{{000000..000001}}.tar" for d in "ab"]
    options = {"cache_dir": str(tmp_path / "cache")}
    remote, local = opened(*urls, **options), opened(unpaired)
    for _ in range(2):  # fetched, then from the cache
        there, here = remote.read(np.arange(7)), local.read(np.arange(7))
        for name in BOTH:
            assert torch.equal(there[name], here[name])
    names = {cache_name(f"{address}/set/{d}/shard-000000.tar") for d in "ab"}
    assert len(names) == 2
    assert names <= {path.name for path in (tmp_path / "cache").iterdir()}


def test_what_does_not_fit_is_one_sentence(unpaired, pairs, tmp_path):
    with pytest.raises(ConfigError, match="holds one domain"):
        opened("bundled:noto32")
    with pytest.raises(ConfigError, match="learns from pairs"):
        opened(unpaired, paired=True)
    with pytest.raises(ConfigError, match="holds pairs; give it alone"):
        opened(pairs, "bundled:noto32")
    with pytest.raises(ConfigError, match="reads one domain"):
        open_for(("image",), "bundled:noto32", "bundled:noto32", paired=False)
    with pytest.raises(ConfigError, match="recipes that translate"):
        open_for(("image",), str(pairs), None, paired=False)
    with pytest.raises(ConfigError, match=r"domain a are 10x10.*b 32x32.*data\.resize"):
        framed(opened(unpaired / "a", "bundled:noto32"), Framing())
    with pytest.raises(ConfigError, match=r"data\.crop 11 is larger"):
        framed(opened(unpaired), Framing(crop=11))
    shutil.copytree(unpaired / "a", tmp_path / "half" / "a")
    with pytest.raises(DataError, match="has no folder b"):
        opened(tmp_path / "half")


def test_pairs_that_are_not_are_named(tool, tmp_path):
    images = write_pairs(tmp_path / "images", 3, size=8)
    (images / "b" / "0001.png").rename(images / "b" / "other.png")
    code, _, error = tool("pack", images, tmp_path / "out", "--paired")
    assert code == 3 and "0001 is in" in error
    (images / "b" / "other.png").rename(images / "b" / "0001.png")
    Image.fromarray(picture(0, size=9)).save(images / "b" / "0001.png")
    code, _, error = tool("pack", images, tmp_path / "out", "--paired")
    assert code == 3 and "8x8" in error and "9x9" in error


def test_shards_of_pairs_without_an_index(pairs, tmp_path):
    """Scanned from their headers: the same pairs; a lone half is named."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for tar in pairs.glob("*.tar"):
        shutil.copy(tar, bare)
    one, two = (opened(path, paired=True) for path in (pairs, bare))
    assert one.info.identity == two.info.identity and two.info.channels_b == 3
    for name in BOTH:
        assert torch.equal(one.read(np.arange(9))[name], two.read(np.arange(9))[name])
    lone = [
        ("0.a.png", png(picture(0))),
        ("0.b.png", png(picture(1))),
        ("1.a.png", png(picture(2))),
    ]
    write_tar(tmp_path / "lone" / "x.tar", lone)
    with pytest.raises(DataError, match="not the other image of the pair"):
        open_data(tmp_path / "lone")
    write_tar(tmp_path / "mixed" / "x.tar", [*lone[:2], *members(2, start=1)])
    with pytest.raises(DataError, match="pack pairs and single images apart"):
        open_data(tmp_path / "mixed")


def test_verify_looks_at_both_halves(pairs, tmp_path):
    shutil.copytree(pairs, tmp_path / "set")
    assert not verify(str(tmp_path / "set")).faults
    tar = tmp_path / "set" / "shard-000000.tar"
    offset, size = np.load(tmp_path / "set" / "shard-000000.idx.npy")[1, 3:]
    data = bytearray(tar.read_bytes())
    data[offset + size // 2] ^= 0xFF
    tar.write_bytes(data)
    faults = verify(str(tmp_path / "set")).faults
    assert any("00000001.b.png" in fault for fault in faults)
    with pytest.raises(DataError, match=r"00000001\.b\.png"):
        opened(tmp_path / "set", paired=True).read(np.arange(9))


def test_resizing_is_bicubic_and_keeps_the_sides_in_proportion():
    """As PIL resizes, within what its rounding to bytes leaves open."""
    calm = picture(0, size=16) // 2 + 64  # PIL clips between its two passes
    image = torch.from_numpy(calm)[:12].permute(2, 0, 1)[None]
    framing = Framing(resize=9, crop=8)
    assert framing.resized(12, 16) == (9, 12) and framing.size(12, 16) == (8, 8)
    assert framing.jitter(12, 16) == (1, 4)
    place = torch.tensor([[1, 3]])
    got = to_device({"image": image, "crop": place}, "cpu", framing)["image"]
    pil = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((12, 9), Image.BICUBIC)
    want = torch.from_numpy(np.array(pil)).permute(2, 0, 1)[None, :, 1:9, 3:11]
    assert float(((got + 1) * 127.5 - want).abs().max()) < 1.5
    middle = to_device({"image": image}, "cpu", Framing(crop=4))["image"]
    assert torch.equal(middle, to_device({"image": image[..., 4:8, 6:10]}, "cpu")["image"])
