"""`largegan publish`: the card, what may be replaced, graphs, and three lines elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import largegan
from largegan import commands
from largegan.interop import publish as publishing
from tests.product.runs import trained
from tests.test_wheel import install, wheel  # noqa: F401  a fixture

SCORES = {
    "scores": {"fid": 12.345678, "fid_error": 0.5},
    "protocol": {
        "backbone": {"name": "tiny", "sha256": "ab" * 32},
        "reference": {"count": 24, "path": "/home/somebody/data"},
        "generated": {"count": 8},
    },
}

SAID = (
    "# me/faces",
    "Karras et al., 2020",
    "ant, bee, cat",
    "Images seen: 16.",
    'largegan.load("me/faces", download=True)',
    "truncation=0.7",
    '"batch_size": 8',
    "| fid | 12.346 | 24 images | 8 images | tiny abababababab |",
    "FILL IN",
)


def publish(*words: object) -> int:
    return commands.main(["publish", *map(str, words)])


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def front_matter(card: str) -> dict[str, object]:
    import yaml

    return yaml.safe_load(card.split("---")[1])


def test_the_card_says_what_a_reader_needs(runs_of_recipes, tmp_path):
    (tmp_path / "fid.json").write_text(json.dumps(SCORES))
    run = trained("stylegan2", runs_of_recipes)
    words = ["--name", "me/faces", "--license", "cc-by-4.0", "--dataset", 'od"d: name']
    assert publish(run, tmp_path / "m", *words, "--scores", tmp_path / "fid.json") == 0
    assert listing(tmp_path / "m") == [
        "README.md", "config.json", "model.safetensors", "picture.png",
    ]  # fmt: skip
    card = (tmp_path / "m/README.md").read_text()
    about = front_matter(card)
    assert about["library_name"] == "largegan" and about["license"] == "cc-by-4.0"
    assert about["pipeline_tag"] == "unconditional-image-generation"
    assert about["datasets"] == ['od"d: name'] and "stylegan2" in about["tags"]
    for part in SAID:
        assert part in card, part
    assert "/home" not in card and str(tmp_path) not in card, "no path of this machine"
    with Image.open(tmp_path / "m/picture.png") as picture:
        assert picture.width > 8 * 64 and picture.height > 4 * 64


def test_a_card_without_facts_says_so(runs_of_recipes, tmp_path):
    assert publish(trained("cyclegan", runs_of_recipes), tmp_path / "m") == 0
    card = (tmp_path / "m/README.md").read_text()
    assert front_matter(card)["pipeline_tag"] == "image-to-image"
    assert front_matter(card)["license"] == "other" and "picture.png" not in card
    assert 'model.translate("photo.jpg")' in card and "a_to_b, b_to_a" in card
    assert listing(tmp_path / "m") == ["README.md", "config.json", "model.safetensors"]


def test_a_translation_is_shown_on_images(runs_of_recipes, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels = np.full((20, 16 + i, 3), 80 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{i}.png")
    run = trained("srresnet", runs_of_recipes)
    assert publish(run, tmp_path / "m", "--images", tmp_path / "photos") == 0
    with Image.open(tmp_path / "m/picture.png") as picture:
        assert picture.height > 2 * 60


def test_what_is_refused(runs_of_recipes, tmp_path, capsys):
    run, out = trained("dcgan", runs_of_recipes), tmp_path / "m"
    (tmp_path / "bad.json").write_text('{"scores": 3}')
    for words, code, says in (
        ([run, run / "checkpoints"], 2, "what is read"),
        ([run, out, "--images", tmp_path], 2, "--images is for translations"),
        ([run, out, "--scores", tmp_path / "none.json"], 2, "there is no file"),
        ([run, out, "--scores", tmp_path / "bad.json"], 3, "is not what"),
        ([tmp_path, out], 2, "neither a checkpoint nor a run"),
    ):
        assert publish(*words) == code
        said = capsys.readouterr().err
        assert says in said and said.startswith("error: ") and said.count("\n") == 1
    assert not out.exists()


def test_only_an_earlier_publication_is_replaced(runs_of_recipes, tmp_path, capsys):
    run, out = trained("dcgan", runs_of_recipes), tmp_path / "m"
    assert publish(run, out) == 0
    assert publish(run, out) == 2 and "exists; choose another OUT" in capsys.readouterr().err
    assert publish(run, out, "--overwrite") == 0
    (out / "notes.txt").write_text("mine")
    assert publish(run, out, "--overwrite") == 2
    assert "holds notes.txt" in capsys.readouterr().err and (out / "notes.txt").exists()
    # A publication may be published again, from itself.
    os.remove(out / "notes.txt")
    assert publish(out, tmp_path / "again") == 0
    assert publish(out, out, "--overwrite") == 2


def test_a_model_that_differs_leaves_nothing(runs_of_recipes, tmp_path, capsys, monkeypatch):
    real = publishing.restore

    def wrong(path):
        found = real(path)
        with torch.no_grad():
            next(found.recipe.parameters()).add_(0.1)
        return found

    monkeypatch.setattr(publishing, "restore", wrong)
    assert publish(trained("dcgan", runs_of_recipes), tmp_path / "m") == 3
    assert "does not compute what the checkpoint does" in capsys.readouterr().err
    assert listing(tmp_path) == []


@pytest.mark.slow  # two exporters, twice
def test_graphs_of_every_direction(runs_of_recipes, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export`")
    run = trained("cyclegan", runs_of_recipes)
    assert publish(run, tmp_path / "m", "--forms", "onnx,pt2") == 0
    graphs = [f"model-{way}.{form}" for way in ("a_to_b", "b_to_a") for form in ("onnx", "pt2")]
    assert set(graphs) < set(listing(tmp_path / "m"))
    model = largegan.load(tmp_path / "m", device="cpu")
    image = torch.rand(1, 3, 37, 50) * 2 - 1
    for way in model.directions:
        session = onnxruntime.InferenceSession(str(tmp_path / f"m/model-{way}.onnx"))
        (found,) = session.run(None, {"image": image.numpy()})
        wanted = model.translate(image, direction=way)
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow  # packages come from the index
@pytest.mark.skipif(not shutil.which("uv"), reason="uv installs the wheel")
def test_three_lines_in_an_empty_environment(wheel, runs_of_recipes, tmp_path):  # noqa: F811
    """The code of a card, where there is nothing but the wheel and what it needs."""
    for name in ("stylegan2", "cyclegan"):
        assert publish(trained(name, runs_of_recipes), tmp_path / name) == 0
    Image.new("RGB", (20, 30)).save(tmp_path / "photo.jpg")
    place = tmp_path / "venv"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    subprocess.run(["uv", "venv", "-q", "--python", version, str(place)], check=True)
    install(wheel, "--python", place / "bin/python")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    for name in ("stylegan2", "cyclegan"):
        card = (tmp_path / name / "README.md").read_text()
        code = re.search(r"```python\n(.*?)```", card, re.S)[1]
        code = code.replace("PATH OF THIS FOLDER", name)
        done = subprocess.run(
            [place / "bin/python", "-c", code + "\nprint(largegan.__file__)"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(place))
