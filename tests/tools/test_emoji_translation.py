"""Emoji-translation sets: parts disjoint by family, files of the same names, licenses kept."""

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

PATH = Path(__file__).parents[2] / "tools" / "datasets" / "emoji_translation.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("emoji_translation", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def icon_set(name: str, color: str, names: list[str]) -> dict:
    body = f'<rect width="32" height="32" fill="{color}"/>'
    license = {"title": "MIT", "spdx": "MIT", "url": "a link"}
    icons = {n: {"body": body} for n in names} | {"wide": {"body": body, "width": 64}}
    info = {"name": name, "author": {"name": "somebody"}, "license": license}
    return {"info": info, "icons": icons, "width": 32, "height": 32}


NAMES = [f"thing-{i}" for i in range(12)] + ["man-running", "woman-running-dark", "flag-nowhere"]


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, color in (("flat", "red"), ("solid", "blue")):
            data = json.dumps(icon_set(name, color, NAMES)).encode()
            member = tarfile.TarInfo(f"package/json/{name}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_relatives_stay_together(tool):
    assert tool.family("woman-running-medium-dark") == tool.family("man-running") == "running"
    assert tool.family("woman") == "woman" and tool.family("mango") == "mango"
    parts = tool.split(
        ["man-x", "woman-x", "person-x", "a", "b", "c"], test=2, seed=1, paired=False
    )
    homes = [part for part, names in parts.items() if {"man-x", "woman-x", "person-x"} & set(names)]
    assert len(homes) == 1
    assert sorted(name for names in parts.values() for name in names) == [
        "a",
        "b",
        "c",
        "man-x",
        "person-x",
        "woman-x",
    ]


def test_names_in_common(tool):
    sets = [icon_set("flat", "red", NAMES), icon_set("solid", "blue", [*NAMES, "only-here"])]
    names = tool.common_names(sets, skin_tones=False)
    assert "only-here" not in names and "flag-nowhere" not in names
    assert "woman-running-dark" not in names
    assert "woman-running-dark" in tool.common_names(sets, skin_tones=True)


def test_a_set_is_built(tool, package, tmp_path):
    pytest.importorskip("resvg_py", reason="the renderer comes with the dev extra")
    words = ["--from", "flat", "--to", "solid", "--test", "3", "--resolution", "16"]
    tool.run(tool.parse_arguments([str(tmp_path / "out"), *words, "--package", str(package)]))
    found = {
        part.name: {path.name for path in part.iterdir()}
        for part in (tmp_path / "out").iterdir()
        if part.is_dir()
    }
    assert found["test_a"] == found["test_b"] and len(found["test_a"]) == 3
    assert not found["train_a"] & found["train_b"]
    assert not found["test_a"] & (found["train_a"] | found["train_b"])
    for part, color in (("train_a", (255, 0, 0)), ("train_b", (0, 0, 255))):
        image = Image.open(tmp_path / "out" / part / min(found[part])).convert("RGB")
        assert image.size == (16, 16) and image.getpixel((8, 8)) == color
    assert "MIT" in (tmp_path / "out" / "LICENSES.txt").read_text()


def test_what_cannot_be_built_is_one_sentence(tool, package, tmp_path):
    from largegan.errors import ConfigError, DataError

    pytest.importorskip("resvg_py", reason="the renderer comes with the dev extra")
    words = [str(tmp_path / "out"), "--package", str(package), "--from", "flat", "--to"]
    with pytest.raises(DataError, match="no icon set nothing"):
        tool.run(tool.parse_arguments([*words, "nothing"]))
    with pytest.raises(ConfigError, match="leaves nothing to train on"):
        tool.run(tool.parse_arguments([*words, "solid"]))
    assert not (tmp_path / "out").exists()
