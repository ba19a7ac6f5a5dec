"""Latents instead of images: packed, read, verified, trained on, and decoded to pictures."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from largegan import train
from largegan.commands import pack as pack_command
from largegan.data import open_data
from largegan.data.latents import LatentPreparation
from largegan.data.pack import pack
from largegan.data.verify import verify, write_index_of
from largegan.data.writing import Layout
from largegan.errors import ConfigError, DataError
from largegan.restore import restore
from tests.recipes.common import TINY

SCALE, SHAPE = 0.25, (5, 8, 12)


def latent(i: int) -> np.ndarray:
    return np.random.RandomState(i).standard_normal(SHAPE).astype(np.float32) * 4


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of latents, one a file."""
    for i in range(12):
        path = tmp_path / "encoded" / "ab"[i % 2] / f"{i:02d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, latent(i))
    return tmp_path / "encoded"


@pytest.fixture
def shards(folder, tmp_path) -> Path:
    pack(
        folder,
        tmp_path / "shards",
        preparation=LatentPreparation(SCALE),
        layout=Layout(shard_count=2),
    )
    return tmp_path / "shards"


def originals(path: Path) -> list[np.ndarray]:
    """What was packed, as it should be read, in any order."""
    wanted = [latent(i).astype(np.float16).astype(np.float32) * SCALE for i in range(12)]
    return sorted(wanted, key=lambda x: float(x.flat[0]))


def test_what_is_read_is_what_was_packed_in_16_bits_times_the_scale(shards):
    source = open_data(shards)
    info = source.info
    assert (info.channels, info.height, info.width) == SHAPE and info.num_classes == 2
    assert info.latent_scale == SCALE
    batch = source.read(np.arange(12))
    assert batch["image"].dtype == torch.float32
    found = sorted(batch["image"].numpy(), key=lambda x: float(x.flat[0]))
    for a, b in zip(found, originals(shards), strict=True):
        np.testing.assert_array_equal(a, b)
    # The class follows its latent.
    for image, label in zip(batch["image"].numpy(), batch["label"].tolist(), strict=True):
        numbers = [i for i in range(12) if np.allclose(image, latent(i) * SCALE, rtol=1e-3)]
        assert numbers and numbers[0] % 2 == label


def test_members_are_npy_files_that_anything_reads(shards):
    with tarfile.open(sorted(shards.glob("*.tar"))[0]) as tar:
        names = [m.name for m in tar if m.name.endswith(".npy")]
        stored = np.load(io.BytesIO(tar.extractfile(names[0]).read()))
    assert stored.dtype == np.float16 and stored.shape == SHAPE


def test_an_npz_gives_the_same_latents(tmp_path, shards):
    everything = np.stack([latent(i) for i in range(12)])
    np.savez(tmp_path / "all.npz", latents=everything, labels=np.arange(12) % 2)
    pack(tmp_path / "all.npz", tmp_path / "again", preparation=LatentPreparation(SCALE))
    found = open_data(tmp_path / "again").read(np.arange(12))["image"].numpy()
    for a, b in zip(sorted(found, key=lambda x: float(x.flat[0])), originals(shards), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not list((tmp_path / "again").glob("images.npy"))


def test_another_scale_is_another_data_set(folder, tmp_path, shards):
    pack(
        folder, tmp_path / "other", preparation=LatentPreparation(0.5), layout=Layout(shard_count=2)
    )
    assert open_data(tmp_path / "other").info.identity != open_data(shards).info.identity


def test_verify_reads_every_latent(shards):
    assert verify(str(shards)).faults == []
    path = sorted(shards.glob("*.tar"))[0]
    data = bytearray(path.read_bytes())
    place = data.index(b"\x93NUMPY")
    data[place + 130 : place + 132] = np.float16(np.inf).tobytes()
    path.write_bytes(data)
    (fault, bad) = sorted(verify(str(shards)).faults, key=len)
    assert "sha256" in fault + bad and "not finite" in fault + bad


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((5, 8, 8), np.float32), "is 8x8"),
        (np.zeros((4, 8, 12), np.float32), "4 channel"),
        (np.zeros((8, 12), np.float32), "a latent is [channels, height, width]"),
        (np.full(SHAPE, np.nan, np.float32), "not finite"),
        (np.full(SHAPE, 1e6, np.float32), "do not fit 16 bits"),
        (np.zeros(SHAPE, np.int64), "no array of floating-point numbers"),
    ],
)
def test_latents_of_another_kind_are_named(value, sentence, folder, tmp_path):
    np.save(folder / "b" / "99.npy", value)
    with pytest.raises(DataError) as fault:
        pack(folder, tmp_path / "out", preparation=LatentPreparation(SCALE))
    assert sentence in str(fault.value)
    assert ".npy" in str(fault.value) and not (tmp_path / "out").exists()


def test_a_file_that_is_no_npy_is_named(folder, tmp_path):
    (folder / "a" / "98.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="98.npy is not a readable"):  # noqa: RUF043
        pack(folder, tmp_path / "out", preparation=LatentPreparation(SCALE))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        LatentPreparation(scale)


def test_shards_without_their_index_lack_the_scale(shards):
    for path in shards.glob("*"):
        if path.suffix != ".tar":
            path.unlink()
    with pytest.raises(DataError, match="read with the index"):
        open_data(shards)
    bad = verify(str(shards)).faults
    assert sum(".npy" in line for line in bad) == 12, "every latent is named"


def test_a_new_index_keeps_the_scale(shards):
    write_index_of(verify(str(shards)), str(shards))
    assert open_data(shards).info.latent_scale == SCALE


def arguments(shards: Path, run: Path, **options) -> list[str]:
    words = {
        "run.dir": run,
        "data.path": shards,
        "data.workers": 0,
        "data.mirror": "true",
        "train.total_nimg": 16,
        "train.batch_size": 8,
        "train.sample_rows": 2,
        "train.cpu_threads": 1,
        "recipe.name": "gat",
        **{f"recipe.{k}": v for k, v in TINY["gat"].items()},
        **options,
    }
    return [word for key, value in words.items() for word in (f"--{key}", str(value))]


@pytest.fixture
def decoder(tmp_path) -> Path:
    """Twice the size, three colors; an exported program for any batch."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(SHAPE[0], 3, 2, 2)

        def forward(self, x):
            return torch.tanh(self.up(x))

    torch.manual_seed(0)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Decoder().eval(), (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, tmp_path / "decoder.pt2")
    return tmp_path / "decoder.pt2"


def test_training_on_latents_shows_decoded_pictures(shards, decoder, tmp_path):
    from PIL import Image

    assert train.main(arguments(shards, tmp_path / "run", **{"recipe.decoder": decoder})) == 0
    found = restore(tmp_path / "run")
    assert found.spec.latent_scale == SCALE
    z = found.recipe.latent(3, torch.Generator().manual_seed(0))
    images = found.recipe.decode(z)
    assert images.shape == (3, 3, 16, 24)
    labels = torch.arange(3) % 2
    made = found.recipe.G_ema.net(z, labels)[-1]
    program = torch.export.load(decoder).module()
    torch.testing.assert_close(images, program(made / SCALE))
    with Image.open(tmp_path / "run" / "samples" / "fakes-000000016.png") as picture:
        assert picture.width > 2 * 24 and picture.mode == "RGB"


def test_without_a_decoder_the_first_channels_are_colors(shards, tmp_path):
    assert train.main(arguments(shards, tmp_path / "run")) == 0
    recipe = restore(tmp_path / "run").recipe
    images = recipe.decode(recipe.latent(2, torch.Generator().manual_seed(0)))
    assert images.shape == (2, 3, 8, 12) and images.abs().max() <= 1


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ({"data.crop": 8}, 2, "data.resize and data.crop cannot change"),
        ({"recipe.decoder": "missing.pt2"}, 4, "the decoder missing.pt2 is not here"),
        ({"recipe.decoder": "decoder.onnx"}, 2, "is no .pt2"),
        ({"recipe.patch": 5}, 2, "does not divide"),
        ({"recipe.g_depth": 6}, 2, "a multiple of 4"),
        ({"recipe.g_heads": 3}, 2, "must be a multiple of 4 for each"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    options, code, sentence, shards, tmp_path, capfd
):
    assert train.main(arguments(shards, tmp_path / "run", **options)) == code
    assert sentence in capfd.readouterr().err


def test_recipes_of_images_refuse_latents(shards, tmp_path, capfd):
    words = ["--run.dir", str(tmp_path / "run"), "--data.path", str(shards)]
    assert train.main([*words, "--recipe.name", "dcgan", "--data.workers", "0"]) == 2
    assert "recipe dcgan makes images, and the data are latents" in capfd.readouterr().err


def test_a_damaged_decoder_is_named(shards, tmp_path, capfd):
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    words = arguments(shards, tmp_path / "run", **{"recipe.decoder": tmp_path / "broken.pt2"})
    assert train.main(words) == 3
    assert "cannot be read as an exported program" in capfd.readouterr().err


def test_the_tool_packs_latents(folder, tmp_path, capsys):
    words = [str(folder), str(tmp_path / "out"), "--latents", str(SCALE)]
    assert pack_command.main(words) == 0
    assert "12 latents of 8x12x5, 2 classes" in capsys.readouterr().out
    assert open_data(tmp_path / "out").info.latent_scale == SCALE
