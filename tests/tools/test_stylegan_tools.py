"""Style mixing, walks and projection on a tiny StyleGAN2 that has seen nothing."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from largegan import checkpoint
from largegan.recipe import DataSpec
from largegan.recipes import build
from largegan.viz import video
from largegan.viz.inversion import PixelDistance, invert, schedule
from tests.ending import code_of
from tests.recipes.common import TINY
from tests.tools.test_sample import load_tool

TOOLS = Path(__file__).parents[2] / "tools"
sample, walk, find = (load_tool(TOOLS / f"{n}.py") for n in ("sample", "walk", "project"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run directory of an untrained StyleGAN2, 16 x 8 pixels, without classes."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    spec = DataSpec(3, 16, 8)
    recipe = build("stylegan2", spec, TINY["stylegan2"])
    options = {"name": "stylegan2", **TINY["stylegan2"]}
    state = {"spec": vars(spec), "config": {"recipe": options}, "class_names": []}
    content = checkpoint.Checkpoint(recipe.state_dict(), {}, state)
    checkpoint.save(folder / "checkpoints", 0, content)
    return folder


@pytest.fixture
def picture(tmp_path) -> Path:
    Image.new("RGB", (30, 30), (200, 40, 90)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def answer(tool, *words) -> int:
    return code_of(tool.main, [str(word) for word in words])


def test_style_mixing_shows_sources_and_mixtures(run, tmp_path):
    out = tmp_path / "mix.png"
    words = [run, out, "--sheet", "style-mixing", "--seeds", "0-4", "--layers", "0-1"]
    assert answer(sample, *words) == 0
    cells = Image.open(out)  # names, then 3 rows and 4 columns of 64 x 32 pixels
    assert cells.height > 3 * 64 and cells.width > 4 * 32


@pytest.mark.parametrize("layers", [(), (0, 1, 2, 3, 4, 5)])
def test_all_layers_of_a_column_are_its_image(run, monkeypatch, layers):
    from largegan.sampler import open_sampler
    from largegan.viz import sheets

    monkeypatch.setattr(sheets, "sheet", lambda images, **names: images.int())
    sampler = open_sampler(run, "cpu")
    layers = layers[: sampler.recipe.G.mapping.num_ws]
    images = sheets.style_mixing(sampler, sheets.Request((0, 1, 2, 3, 4), layers=layers))
    assert images.shape == (3, 4, 3, 16, 8)  # two rows, three columns, and the sources
    assert images[0, 0].min() == 255
    same = [(images[1 + row, 1:] - images[0, 1:]).abs().max() <= 1 for row in (0, 1)]
    assert all(same) if layers else not any(same)
    assert (images[1, 1:] - images[1, :1]).abs().max() > 1


def test_layers_and_seeds_that_are_not_there_are_refused(run, tmp_path, capsys):
    out = tmp_path / "a.png"
    mixing = (run, out, "--sheet", "style-mixing")
    assert answer(sample, *mixing, "--layers", "9") == 2
    assert "there is no layer 9" in capsys.readouterr().err
    assert answer(sample, *mixing, "--seeds", "1") == 2
    assert "two seeds or more" in capsys.readouterr().err


def test_w_interpolation(run, tmp_path):
    words = [
        run,
        tmp_path / "w.png",
        "--sheet",
        "w-interpolation",
        "--seeds",
        "1,2",
        "--steps",
        "3",
    ]
    assert answer(sample, *words) == 0


def test_a_walk_is_a_loop_past_every_seed(run):
    from largegan.sampler import open_sampler
    from largegan.viz.paths import loop, path_images

    sampler = open_sampler(run, "cpu")
    images = path_images(sampler, [0, 1, 2], 4, batch=5)
    assert images.shape == (12, 3, 16, 8)
    alone = sampler.images(torch.stack([sampler.latent(s) for s in (0, 1, 2)]), [None] * 3)
    assert (images[::4].int() - alone.int()).abs().max() <= 1
    places = torch.tensor([[0.0], [1.0], [4.0], [9.0]])
    assert torch.equal(loop(places, 5)[::5], places)


def test_gif_holds_its_frames(run, tmp_path):
    out = tmp_path / "walk.gif"
    assert answer(walk, run, out, "--seeds", "0-1", "--frames", "3", "--grid", "1x2") == 0
    assert Image.open(out).n_frames == 6


def test_mp4_needs_an_encoder_and_says_so(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video.shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    assert answer(walk, run, tmp_path / "walk.mp4") == 4
    assert "pip install imageio-ffmpeg" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_mp4_where_there_is_an_encoder(tmp_path):
    try:
        video.encoder()
    except video.EnvironmentFault:
        pytest.skip("no ffmpeg on this machine")
    frames = [torch.full((3, 17, 33), 40 * i, dtype=torch.uint8) for i in range(4)]
    video.write_video(tmp_path / "a.mp4", frames)
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_walks_that_cannot_be_are_refused(run, tmp_path, capsys):
    for words in (["w.txt"], ["w.gif", "--seeds", "1"], ["w.gif", "--frames", "0"]):
        assert answer(walk, run, tmp_path / words[0], *words[1:]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_the_search_finds_an_image_of_the_generator(run):
    """The target is drawn from a known w: the distance falls to a small part of what it was."""
    from largegan.sampler import open_sampler

    recipe = open_sampler(run, "cpu").recipe.requires_grad_(False)
    target = recipe.synthesize(recipe.ws(recipe.latent(1, torch.Generator().manual_seed(5))))
    steps = list(invert(recipe, PixelDistance(target), steps=80))
    assert len(steps) == 81 and steps[-1].distance < 0.2 * steps[0].distance
    assert steps[-1].ws.shape == (1, recipe.G.mapping.num_ws, 4)
    assert schedule(0.0) == 0 and schedule(0.5) == 1 and schedule(1.0) == 0


def test_project_writes_what_it_found(run, picture, tmp_path):
    """Through a timm backbone whose weights are a local file."""
    import timm

    backbone = timm.create_model("test_efficientnet", pretrained=False)
    save_file(backbone.state_dict(), tmp_path / "test_efficientnet.safetensors")
    out = tmp_path / "found"
    words = [run, picture, out, "--features", "test_efficientnet", "--weights", tmp_path]
    assert answer(find, *words, "--steps", "2", "--extended") == 0
    assert Image.open(out / "projected.png").size == (8, 16)
    assert load_file(out / "w.safetensors")["ws"].shape[0] == 1
    assert {p.name for p in out.iterdir()} == {
        "projected.png",
        "comparison.png",
        "progress.gif",
        "w.safetensors",
    }


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--features", "nonsense"], 2, "no feature network 'nonsense'"),
        (["--features", "resnet18"], 4, "the weights of resnet18 are not here"),
        (["--steps", "0"], 2, "--steps is 0"),
        (["--class", "3"], 2, "without classes"),
    ],
)
def test_projections_that_cannot_be_are_refused(run, picture, tmp_path, words, code, says, capsys):
    weights = ["--weights", tmp_path / "empty"]
    assert answer(find, run, picture, tmp_path / "out", *weights, *words) == code
    assert says in capsys.readouterr().err


def test_a_damaged_picture_is_refused(run, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert answer(find, run, tmp_path / "a.png", tmp_path / "out") == 3
    assert "cannot be read as an image" in capsys.readouterr().err
