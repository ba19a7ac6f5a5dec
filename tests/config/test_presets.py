"""`--config NAME`: the presets that come with largegan, found from anywhere."""

import pytest

from largegan.config import presets
from largegan.config.parse import as_dict, parse
from largegan.errors import ConfigError


def test_a_name_is_the_file_of_the_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["--config", "quickstart"], ["--config=quickstart"]):
        assert parse(words).run.dir == "runs/quickstart"
    file = str(presets.CLONE / "configs/quickstart.yaml")
    assert as_dict(parse(["--config", file])) == as_dict(parse(["--config", "quickstart"]))


def test_a_file_of_that_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("recipe: {name: gan}\n")
    assert parse(["--config", "quickstart"]).recipe.name == "gan"


def test_layers_of_presets_and_files(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {batch_size: 8}\n")
    config = parse(["--config", "quickstart", "--config", str(tmp_path / "mine.yaml")])
    assert (config.train.batch_size, config.recipe.name) == (8, "dcgan")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("quickstrt", "no preset of that name; did you mean quickstart?"),
        ("configs/quickstrt.yaml", "there is no such file"),
        ("runs/quickstart", "there is no such file"),
    ],
)
def test_a_name_that_is_none(word, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        parse(["--config", word])


def test_only_words_after_config_are_names():
    words = ["--recipe.name", "gan", "--run.dir", "quickstart", "--config", "--config"]
    assert presets.with_presets(words) == words
