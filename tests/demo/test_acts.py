"""What the buttons of the page do, without a page."""

import json

import numpy as np
import pytest
from PIL import Image

import largegan
from largegan import commands
from largegan.api.acts import Draws, Translates
from largegan.errors import ConfigError, UserError
from tests.ending import code_of
from tests.product.runs import trained


@pytest.fixture
def draws(runs_of_recipes):
    def of(name: str) -> Draws:
        return Draws(largegan.load(trained(name, runs_of_recipes), device="cpu"))

    return of


def same(a, b) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("name", ["stylegan2", "biggan", "dcgan"])
def test_the_ends_of_a_way_are_its_seeds(draws, name):
    page = draws(name)
    label = page.classes[1] if page.classes else None
    ends = [page.draw(seed, 1, label).image for seed in (3, 5)]
    found = [page.between(3, 5, part, 1, label).image for part in (0, 0.5, 1)]
    assert same(found[0], ends[0]) and same(found[2], ends[1])
    assert not same(found[1], ends[0]) and not same(found[1], ends[1])


def test_mixing_and_moving_begin_at_the_seed(draws):
    page = draws("stylegan2")
    ends = [page.draw(seed, 0.7, "bee").image for seed in (0, 1)]
    found = [page.mixed(0, 1, n, 0.7, "bee").image for n in (page.layers, 0, page.layers // 2)]
    assert same(found[0], ends[0]) and same(found[1], ends[1])
    assert not same(found[2], ends[0]) and not same(found[2], ends[1])
    assert same(page.moved(0, 1, 0.0, 0.7, "bee").image, ends[0])
    assert not same(page.moved(0, 1, 3.0, 0.7, "bee").image, ends[0])


def test_settings_make_the_image_again(draws, runs_of_recipes, tmp_path):
    page = draws("biggan")
    drawn = page.draw(4.0, 0.5, "cat")
    facts = json.loads(json.dumps(drawn.facts))
    assert facts["recipe"] == "biggan" and facts["nimg"] == 16
    words = ["--seeds", facts["seed"], "--truncation", facts["truncation"]]
    words = [trained("biggan", runs_of_recipes), tmp_path / "a", *words, "--classes", "cat"]
    assert commands.main(["sample", *map(str, words)]) == 0
    (file,) = (tmp_path / "a").iterdir()
    assert same(Image.open(file), drawn.image)


def test_uploads(draws, runs_of_recipes, tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 90)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    before, after = draws("ali").reconstruct(str(tmp_path / "a.png"))
    assert before.getpixel((0, 0)) == (200, 30, 90) and after.size == (16, 16)
    model = largegan.load(trained("srresnet", runs_of_recipes), device="cpu")
    translates = Translates(model)
    before, after = translates.translate(str(tmp_path / "a.png"), "upscale")
    assert before.size == after.size == (32, 32)
    for path, says in ((None, "upload one"), (str(tmp_path / "b.png"), "is not a readable image")):
        with pytest.raises(UserError, match=says):
            translates.translate(path)


def test_seeds_that_are_none(draws):
    for seed in (None, 0.5, -1):
        with pytest.raises(ConfigError, match="seed"):
            draws("dcgan").draw(seed)


def test_a_toy_shows_its_picture(draws):
    page = draws("gaussian")
    assert not page.has_images and page.own_picture().width > 100


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(["nowhere"], 2, "there is no folder"), (["RUN", "--port", "70000"], 2, "--port is 70000")],
)
def test_what_cannot_be_served_is_a_sentence(words, code, says, runs_of_recipes, capsys):
    run = str(trained("dcgan", runs_of_recipes))
    words = [run if word == "RUN" else word for word in words]
    assert code_of(commands.main, ["demo", *words]) == code
    said = capsys.readouterr().err
    assert says in said and said.startswith("error: ")


def test_without_gradio_the_command_says_how_to_get_it(runs_of_recipes, capsys, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "largegan.api.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert commands.main(["demo", str(trained("dcgan", runs_of_recipes))]) == 4
    assert "pip install 'largegan[demo]'" in capsys.readouterr().err
