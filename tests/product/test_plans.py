"""Every recipe is planned by `--dry-run` and rehearsed by the doctor."""

import pytest

from largegan import commands
from tests.product.runs import RECIPES
from tests.recipes.common import NAMES, NUMBERS, TINY, TWO_DOMAINS, spec_of

DATA = {  # for images the bundled ones; two domains are not here, and a plan does without
    str(TWO_DOMAINS): "--data.path nowhere --data.resolution 32",
    str(NUMBERS): "--data.path synthetic:gaussian",
}
WORDS = [
    "--train.batch_size",
    "8",
    "--train.cpu_threads",
    "1",
    "--data.workers",
    "0",
    "--run.dir",
    "RUN",
]


def settings(name: str, run: str) -> list[str]:
    """What is typed for the tiny form of a recipe."""
    words = ["--recipe.name", name]
    for option, value in TINY.get(name, {}).items():
        words += [f"--recipe.{option}", str(value).lower() if value is True else str(value)]
    return [*words, *(run if word == "RUN" else word for word in WORDS)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = DATA.get(str(spec_of(name)), "").split()
    code = commands.main(["train", *settings(name, "run"), *data, "--dry-run"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "\nparameters" in said.out and "\nmemory" in said.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # it trains a little
@pytest.mark.parametrize("name", NAMES)
def test_the_doctor_rehearses_it(name, tmp_path, capsys, monkeypatch):
    if spec_of(name) == TWO_DOMAINS:
        pytest.skip("two domains have no bundled images; tests/doctor packs some")
    monkeypatch.chdir(tmp_path)
    data = DATA.get(str(spec_of(name)), "").split()
    code = commands.main(["doctor", *settings(name, "run"), *data])
    said = capsys.readouterr()
    assert code == 0 and "FAIL" not in said.out, said.out
    assert list(tmp_path.iterdir()) == []
