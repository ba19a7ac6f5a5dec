"""`largegan.load`: every recipe from every kind of folder, the same images as the tools draw."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import largegan
from largegan import commands
from largegan.api.generator import Generator
from largegan.errors import ConfigError, DataError
from largegan.metrics import features
from largegan.recipe import HasEncoder, HasStyles
from tests.evaluation.images import tiny_extractor
from tests.product.runs import CLASS_NAMES, RECIPES, trained


@pytest.fixture(scope="module")
def styled(runs_of_recipes):
    return largegan.load(trained("stylegan2", runs_of_recipes), device="cpu")


def outputs(model) -> list[torch.Tensor]:
    """What a model makes of inputs that are always the same, in every way that it has."""
    if not isinstance(model, Generator):
        channels = 3
        image = torch.linspace(-1, 1, channels * 16 * 16).view(channels, 16, 16)
        return [model.translate(image, direction=way) for way in model.directions]
    found = [model.sample(3, to="torch")]
    if isinstance(model.sampler.recipe, HasStyles):
        found.append(model.w(2))
    if "E_ema" in model.nets:
        found.append(model.encode(model.sample(2)))
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_from_every_kind_of_folder(name, runs_of_recipes, tmp_path, capsys):
    """A run, its checkpoint and the published folder are one; an export has a single network."""
    run = trained(name, runs_of_recipes)
    assert commands.main(["publish", str(run), str(tmp_path / "m")]) == 0
    assert commands.main(["export", str(run), str(tmp_path / "e"), "--forms", "safetensors"]) == 0
    wanted = outputs(largegan.load(run, device="cpu"))
    for source in (run / "checkpoints" / "000000016", str(tmp_path / "m")):
        found = outputs(largegan.load(source, device="cpu"))
        assert len(found) == len(wanted)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    exported = largegan.load(tmp_path / "e", device="cpu")
    assert torch.equal(outputs(exported)[0], wanted[0])
    assert not [n for n in (tmp_path / "m").iterdir() if n.suffix in (".pkl", ".pth", ".pt")]


def test_a_published_model_has_only_what_it_draws_with(runs_of_recipes, tmp_path):
    run = trained("ali", runs_of_recipes)
    commands.main(["publish", str(run), str(tmp_path / "m")])
    model = largegan.load(tmp_path / "m", device="cpu")
    assert set(model.nets) == {"G_ema", "E_ema"} and model.nimg == 16
    weights = (run / "checkpoints/000000016/model.safetensors").stat().st_size
    assert (tmp_path / "m/model.safetensors").stat().st_size < 0.6 * weights
    assert isinstance(model.sampler.recipe, HasEncoder)


def test_commands_take_a_published_model(runs_of_recipes, tmp_path, monkeypatch):
    commands.main(["publish", str(trained("biggan", runs_of_recipes)), str(tmp_path / "m")])
    for out, source in (("a", trained("biggan", runs_of_recipes)), ("b", tmp_path / "m")):
        assert commands.main(["sample", str(source), str(tmp_path / out), "--count", "3"]) == 0
    drawn = [sorted((tmp_path / n).glob("*.png")) for n in "ab"]
    assert [p.name for p in drawn[0]] == [p.name for p in drawn[1]] and len(drawn[0]) == 3
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*drawn, strict=True))
    many = ["fid", str(tmp_path / "a"), str(tmp_path / "m"), "--count", "3", "--device", "cpu"]
    monkeypatch.setattr(features, "open_extractor", lambda *words, **options: tiny_extractor())
    assert commands.main([*many, "--metrics", "fid", "--no-cache", "--chunks", "1"]) == 0
    # It is read as a whole, so nothing is written into it.
    assert commands.main(["sample", str(tmp_path / "m"), str(tmp_path / "m/a.png")]) == 2


def test_seeds_are_those_of_the_tool(runs_of_recipes, tmp_path):
    run = trained("biggan", runs_of_recipes)
    commands.main(["sample", str(run), str(tmp_path / "a"), "--seeds", "3-5"])
    files = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "a").glob("*.png"))]
    model = largegan.load(run, device="cpu")
    assert np.array_equal(model.sample(3, seed=3), np.stack(files))
    assert np.array_equal(model.sample(seeds=[5, 3], batch=1), np.stack([files[2], files[0]]))
    (image,) = model.sample(seed=4, to="pil")
    assert np.array_equal(np.asarray(image), files[1]) and image.size == (16, 16)
    assert np.array_equal(model.sample(z=model.z([3]), label=0), files[0][None])


def test_classes_by_number_and_name(runs_of_recipes):
    model = largegan.load(trained("biggan", runs_of_recipes), device="cpu")
    assert model.class_names == tuple(CLASS_NAMES[:3]) and "3 classes" in repr(model)
    one, other = model.sample(2, label=1), model.sample(2, label="bee")
    assert np.array_equal(one, other) and not np.array_equal(one, model.sample(2, label="cat"))
    mixed = model.sample(2, label=["bee", 2])
    assert np.array_equal(mixed[:1], one[:1])
    assert np.array_equal(mixed[1:], model.sample(2, label="cat")[1:])


def test_styles_go_in_and_out(styled):
    ws = styled.w(3, truncation=0.5)
    images = styled.sample(w=ws)
    assert np.array_equal(images, styled.sample(3, truncation=0.5))
    assert not np.array_equal(images, styled.sample(3))
    toward = [styled.w(3, truncation=0, toward=t, label=1) for t in ("mean", "class")]
    assert torch.equal(toward[0][0], toward[0][2]) and torch.equal(toward[1][0], toward[1][2])
    assert not torch.equal(*toward)
    center = torch.cat([styled.w(1000, label=1)]).mean(0)
    spread = (styled.w(100, label=1) - center).norm(dim=2).mean()
    assert (toward[1][0] - center).norm(dim=1).max() < 0.2 * spread


def test_directions_are_principal_axes(styled):
    found = styled.directions(3, label=0)
    ws = styled.w(2000, label=0)[:, 0]
    along = (ws - ws.mean(0)) @ found.axes.T
    assert torch.allclose(found.axes @ found.axes.T, torch.eye(3), atol=1e-5)
    assert torch.allclose(along.std(0), found.deviations, rtol=0.1)
    assert (found.deviations.diff() <= 0).all() and 0 < found.share.sum() <= 1 + 1e-6
    ws = styled.w(1)
    moved = found.move(ws, 1, 2.0, layers=[0])
    step = 2 * found.deviations[1] * found.axes[1]
    assert torch.allclose(moved[:, 0] - ws[:, 0], step, atol=1e-6)
    assert torch.equal(moved[:, 1:], ws[:, 1:])


@pytest.mark.parametrize("name", ["stylegan2", pytest.param("stylegan3", marks=pytest.mark.slow)])
def test_projection_of_its_own_image(name, runs_of_recipes):
    model = largegan.load(trained(name, runs_of_recipes), device="cpu")
    target = model.sample(1, label=1)[0]
    near = model.project(target, label=1, steps=20)
    far = model.project(target, label=1, steps=1)
    assert near.distance < 0.5 * far.distance and near.image.shape == target.shape
    assert np.array_equal(model.sample(w=near.w)[0], near.image)


def test_pictures_come_back_as_they_came(runs_of_recipes, tmp_path):
    model = largegan.load(trained("cyclegan", runs_of_recipes), device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 17, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made = model.translate(pixels)
    assert made.shape == pixels.shape and made.dtype == np.uint8
    for source in (Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(model.translate(source)), made)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    floats = model.translate(tensor.float() / 127.5 - 1)
    assert torch.equal(floats, model.translate(tensor)) and floats.dtype == torch.float32
    assert ((floats + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy().tolist() == (
        made.tolist()
    )
    several = model.translate([pixels, pixels[:10]], direction="b_to_a")
    assert [len(image) for image in several] == [20, 10]
    assert model.translate(np.stack([pixels] * 2)).shape == (2, 20, 17, 3)
    gray = model.translate(pixels[..., 0])
    assert np.array_equal(gray, model.translate(np.repeat(pixels[..., :1], 3, axis=2)))
    assert model.translate(pixels.astype(np.uint16) * 257, to="torch").shape == (3, 20, 17)


def test_a_large_picture_goes_in_tiles(runs_of_recipes, monkeypatch):
    from largegan.translation import memory

    model = largegan.load(trained("srresnet", runs_of_recipes), device="cpu")
    image = torch.rand(3, 40, 530) * 2 - 1
    whole = model.translate(image)
    monkeypatch.setattr(memory, "fits", lambda *words: False)
    found = model.translate(image)
    assert found.shape == (3, 80, 1060) and not torch.equal(found, whole)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


def test_codes(runs_of_recipes):
    model = largegan.load(trained("ali", runs_of_recipes), device="cpu")
    images = model.sample(3)
    codes = model.encode(images)
    assert codes.shape == (3, model.z_dim)
    assert np.array_equal(model.sample(z=codes), model.reconstruct(images))


def test_sixteen_bits_are_nearly_the_same(styled, runs_of_recipes):
    model = largegan.load(trained("stylegan2", runs_of_recipes), device="cpu", dtype=torch.bfloat16)
    found, wanted = model.sample(2, to="torch"), styled.sample(2, to="torch")
    assert found.dtype == torch.float32 and 0 < (found - wanted).abs().max() < 0.3


def test_loading_disturbs_no_random_numbers(runs_of_recipes):
    run = trained("dcgan", runs_of_recipes)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    largegan.load(run, device="cpu").sample(2)
    assert torch.equal(torch.rand(2), wanted)


BAD = {
    "n is 0": lambda m: m.sample(0),
    "n and seeds were given|seeds and n were given": lambda m: m.sample(2, seeds=[1]),
    "seeds is empty": lambda m: m.sample(seeds=[]),
    "-1 is no seed": lambda m: m.sample(seeds=[-1]),
    "there is no class 'dog'": lambda m: m.sample(label="dog"),
    "there is no class 7": lambda m: m.sample(label=7),
    "label is empty": lambda m: m.sample(label=[]),
    "z has the shape": lambda m: m.sample(z=torch.zeros(1, 99)),
    "w has the shape": lambda m: m.sample(w=torch.zeros(1, 2, 3)),
    "w and z were given": lambda m: m.sample(w=m.w(1), z=m.z([0])),
    "needs a truncation": lambda m: m.sample(toward="class"),
    "toward is 'up'": lambda m: m.sample(toward="up"),
    "the form 'jpg' is none of": lambda m: m.sample(to="jpg"),
    "past two seeds": lambda m: m.walk([1]),
    "batch or steps is 0": lambda m: m.sample(batch=0),
    "has no encoder": lambda m: m.encode(m.sample(1)),
    "say with label": lambda m: m.project(m.sample(1)[0]),
    "bring it to 16 by 16": lambda m: m.project(np.zeros((9, 9, 3), np.uint8), label=0),
    "directions were asked for": lambda m: m.directions(99),
    "'a' is no seed": lambda m: m.sample(seed="a"),
    "1.5 is no seed": lambda m: m.sample(seed=1.5),
    r"\[1, 2\] is no seed": lambda m: m.sample(seed=[1, 2]),
    "1.5 is no class": lambda m: m.sample(label=1.5),
    "True is no class": lambda m: m.sample(label=[True]),
    "truncation is 'a'": lambda m: m.sample(truncation="a"),
    "truncation is nan": lambda m: m.sample(truncation=float("nan")),
    "z holds numbers that are not finite": lambda m: m.sample(z=m.z([0]) * np.nan),
    "z is no array": lambda m: m.sample(z="a"),
    "w is no array": lambda m: m.sample(w=[["a"]]),
    "not a NoneType": lambda m: largegan.load(None),
    "a picture is a dict": lambda m: m.project({}, label=0),
}


NUMBERS = (1, np.int64(1), torch.tensor(1), np.array([1]), torch.tensor([1]), [np.int32(1)])


@pytest.mark.parametrize("one", NUMBERS, ids=repr)
def test_numbers_of_numpy_and_torch_are_numbers(styled, one):
    wanted = styled.sample(seed=3, label=1)
    assert np.array_equal(styled.sample(seed=3, label=one), wanted)
    assert np.array_equal(styled.sample(seed=np.int64(3), label=1), wanted)
    assert np.array_equal(styled.sample(seeds=np.array([3]), label=1), wanted)


@pytest.mark.parametrize("says", BAD)
def test_what_cannot_be_is_a_sentence(styled, says):
    with pytest.raises(ConfigError, match=says):
        BAD[says](styled)


BAD_PICTURES = {
    "is not a readable image": b"no picture",
    "there is no picture": None,
}


@pytest.mark.parametrize("says", BAD_PICTURES)
def test_pictures_that_are_none(says, runs_of_recipes, tmp_path):
    model = largegan.load(trained("cyclegan", runs_of_recipes), device="cpu")
    if BAD_PICTURES[says]:
        (tmp_path / "a.png").write_bytes(BAD_PICTURES[says])
    with pytest.raises((ConfigError, DataError), match=says):
        model.translate(tmp_path / "a.png")
    for array in (np.zeros((4, 4, 7), np.uint8), np.zeros((9, 9, 3)), torch.full((3, 9, 9), 2.0)):
        with pytest.raises(DataError):
            model.translate(array)
    with pytest.raises(ConfigError, match="too small"):
        model.translate(np.zeros((4, 9, 3), np.uint8))
    with pytest.raises(ConfigError, match="does not translate"):
        model.translate(np.zeros((9, 9, 3), np.uint8), direction="up")


def test_what_is_no_model(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"x")
    for source, says in (
        (tmp_path / "a.pkl", "is a file"),
        (tmp_path / "nothing", "there is no folder"),
        (tmp_path, "neither a checkpoint nor a run"),
        ("somebody/a-model-that-is-not-here", "no model of that name in the hub's cache"),
    ):
        with pytest.raises(ConfigError, match=says):
            largegan.load(source)
    with pytest.raises(ConfigError, match=r"dtype is torch\.int8"):
        largegan.load(tmp_path, dtype=torch.int8)


def test_damage_to_a_published_model(runs_of_recipes, tmp_path):
    model = tmp_path / "m"
    commands.main(["publish", str(trained("dcgan", runs_of_recipes)), str(model)])
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(config.replace("version 1", "version 9"))
    with pytest.raises(ConfigError, match="version 9, and this largegan reads"):
        largegan.load(model)
    (model / "config.json").write_text(config.replace('"z_dim": 4', '"z_dimension": 4'))
    with pytest.raises(ConfigError, match="options that recipe dcgan does not take"):
        largegan.load(model)
    for wrong, says in (
        ('"channels": 4000', "describes .* as .*, and its weights hold"),
        ('"channels": 1e9', "says that channels is 1000000000.0"),
        ('"channels": "4"', "says that channels is 4, which recipe dcgan does not take"),
        ('"channels": 0', "says that channels is 0"),
    ):
        (model / "config.json").write_text(config.replace('"channels": 4', wrong, 1))
        with pytest.raises((ConfigError, DataError), match=says):
            largegan.load(model)
    (model / "config.json").write_text(config)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match="not the one that was published"):
        largegan.load(model)


def test_a_model_of_the_hub_comes_from_its_cache(runs_of_recipes, tmp_path, monkeypatch):
    """In the layout that huggingface_hub keeps; no connection is opened."""
    import huggingface_hub
    from huggingface_hub import constants

    place = tmp_path / "models--somebody--faces"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    commands.main(
        ["publish", str(trained("dcgan", runs_of_recipes)), str(place / "snapshots" / ("0" * 40))]
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    download = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **words: download(name, cache_dir=tmp_path, **words),
    )
    monkeypatch.setattr("socket.socket.connect", lambda *words: pytest.fail("it connects"))
    assert largegan.load("somebody/faces", device="cpu").recipe == "dcgan"


def test_the_hub_is_asked_only_when_told(tmp_path, monkeypatch):
    """And only for a model's own files; what goes wrong there is a sentence."""
    import huggingface_hub

    asked = []

    def download(name, *, allow_patterns, local_files_only):
        asked.append((name, local_files_only, allow_patterns))
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for told in (False, True):
        with pytest.raises(ConfigError, match=r"somebody/faces cannot be fetched .*no network"):
            largegan.load("somebody/faces", download=told)
    assert [(name, local) for name, local, _ in asked] == [("somebody/faces", n) for n in (1, 0)]
    assert all(not pattern.endswith((".pkl", ".bin", "*")) for pattern in asked[0][2])


def test_importing_is_light():
    code = (
        "import sys, largegan\n"
        "heavy = {'torch', 'numpy', 'PIL', 'timm'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
