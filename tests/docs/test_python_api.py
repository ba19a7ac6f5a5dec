"""The Python of the guides runs, block after block, as it stands there."""

import re

import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.product.runs import trained

RUNS = {"runs/faces": "stylegan2", "runs/zebras": "cyclegan", "runs/ali": "ali", "faces": "biggan"}


@pytest.fixture
def at_home(tmp_path, monkeypatch, runs_of_recipes):
    """A folder with the runs and the photo that the guides speak of."""
    (tmp_path / "runs").mkdir()
    for place, recipe in RUNS.items():
        (tmp_path / place).symlink_to(trained(recipe, runs_of_recipes))
    Image.new("RGB", (20, 30), "red").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("guide", ["python-api", "import-and-publish"])
def test_the_code_of_a_guide_runs(guide, at_home, capsys):
    text = (ROOT / f"docs/{guide}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    program = "\n".join(blocks)
    names: dict[str, object] = {}
    exec(compile(program, f"{guide}.md", "exec"), names)  # our own page
    if guide == "python-api":
        assert "there is no class 'unicorn'" in capsys.readouterr().out
        assert names["film"].shape == (12, 16, 16, 3)
        assert [len(image) for image in names["several"]] == [16, 12]


def test_every_public_method_is_in_the_guide():
    from largegan.api.generator import Generator
    from largegan.api.translator import Translator

    text = (ROOT / "docs/python-api.md").read_text()
    for cls in (Generator, Translator):
        for name in vars(cls):
            if not name.startswith(("_", "of_")):
                assert re.search(rf"\.{name}\b", text), f"{cls.__name__}.{name} is not in the guide"
