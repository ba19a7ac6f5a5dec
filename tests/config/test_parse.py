"""Strict, layered, and helpful when wrong."""

import subprocess
import sys
import time

import pytest
import yaml

from largegan.config.parse import as_dict, check, parse, resolved_yaml
from largegan.errors import ConfigError


@pytest.fixture
def yaml_file(tmp_path):
    def write(text: str, name: str = "a.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_layers_and_overrides(yaml_file):
    first = yaml_file("recipe: {name: gan, width: 16}\ntrain: {seed: 1, batch_size: 8}")
    second = yaml_file("train: {seed: 2}", "b.yaml")
    config = parse(["--config", first, "--config", second, "--train.batch_size", "4"])
    assert (config.train.seed, config.train.batch_size, config.recipe.width) == (2, 4, 16)
    assert config.recipe.z_dim == 64, "the recipe's own default"


def test_the_last_recipe_name_wins(yaml_file):
    first = yaml_file("recipe: {name: gan}")
    assert parse(["--config", first, "--recipe.name", "dcgan"]).recipe.name == "dcgan"
    assert parse(["--recipe.name=wgan"]).recipe.name == "wgan"


def test_resolved_configuration_starts_the_same_run(yaml_file):
    config = parse(["--recipe.name", "gan", "--train.seed", "5"])
    again = parse(["--config", yaml_file(resolved_yaml(config))])
    assert as_dict(again) == as_dict(config)


def test_print_config(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--recipe.name", "gan", "--train.seed", "5", "--print_config"])
    assert not stop.value.code
    assert yaml.safe_load(capsys.readouterr().out)["train"]["seed"] == 5


def test_scientific_notation_is_a_number(yaml_file):
    """Plain YAML reads 1e-4 as text."""
    config = parse(["--config", yaml_file("recipe: {name: gan, lr: 1e-4}")])
    assert config.recipe.lr == 1e-4


GAN = "recipe: {name: gan}\n"
BAD_FILES = {
    "unknown key": (GAN + "train: {batchsize: 3}", "no setting train.batchsize.*train.batch_size"),
    "unknown far key": (GAN + "train: {learning_rate: 3}", "train has total_nimg, batch_size"),
    "unknown group": (GAN + "trian: {seed: 3}", r"did you mean train\.seed"),
    "unknown recipe option": ("recipe: {name: gan, zdim: 3}", r"did you mean recipe\.z_dim"),
    "option of another recipe": ("recipe: {name: gan, n_critic: 3}", "no setting recipe.n_critic"),
    "wrong type": (
        GAN + "train: {batch_size: many}",
        "train.batch_size is 'many'; it must be a whole number of at least 1",
    ),
    "wrong choice": (GAN + "data: {on_error: hide}", "data.on_error: expected one of 'raise'"),
    "wrong optional": (GAN + "train: {max_grad_norm: x}", "max_grad_norm is x; it must be above 0"),
    "not yaml": ("recipe: {name: gan", "not valid YAML"),
    "not a mapping": ("- gan", "top level"),
    "recipe is text": ("recipe: gan", "recipe must hold"),
    "unknown recipe": ("recipe: {name: gann}", "no recipe 'gann'; did you mean gan?"),
    "no recipe": ("train: {seed: 1}", "no recipe is chosen"),
    "zero batch": (
        GAN + "train: {batch_size: 0}",
        "batch_size is 0; it must be a whole number",
    ),
    "micro-batch": (GAN + "train: {batch_size: 8, micro_batch_size: 3}", "is not a multiple"),
    "micro-batch 0": (
        GAN + "train: {micro_batch_size: 0}",
        "micro_batch_size is 0; it must be",
    ),
    "clip": (GAN + "train: {max_grad_norm: 0}", "max_grad_norm is 0; it must be above 0"),
    "workers": (GAN + "data: {workers: -1}", "data.workers is -1"),
    "skip fraction": (GAN + "data: {max_skip_fraction: 2}", "max_skip_fraction"),
    "resume what": (GAN + "run: {resume: auto}", "needs run.dir"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_configuration_is_one_sentence(yaml_file, kind):
    text, sentence = BAD_FILES[kind]
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse(["--config", yaml_file(text)])
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


BAD_WORDS = {
    "no file": (["--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
    "typo": (["--recipe.name", "gan", "--train.sed", "1"], r"did you mean train\.seed"),
    "stray word": (["--recipe.name", "gan", "faster"], "faster"),
    "missing value": (["--recipe.name", "gan", "--run.dir"], "expected one argument"),
}


@pytest.mark.parametrize("kind", BAD_WORDS)
def test_bad_command_line_is_one_sentence(kind):
    words, sentence = BAD_WORDS[kind]
    with pytest.raises(ConfigError, match=sentence):
        parse(words)


def test_check_accepts_defaults():
    check(parse(["--recipe.name", "gan"]))


def test_help_is_quick_and_names_the_recipes():
    start = time.process_time()
    code = "import sys; from largegan.train import main; main(['--help'])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0
    assert "sngan" in answer.stdout and "--train.batch_size" in answer.stdout
    assert "Exit codes" in answer.stdout
    assert time.process_time() - start < 2


def test_help_and_import_do_not_load_torch():
    code = (
        "import sys, largegan, largegan.train\n"
        "from largegan.config.parse import build_parser\n"
        "build_parser(None).format_help()\n"
        "assert 'torch' not in sys.modules and 'deepspeed' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_of_a_recipe_lists_its_options(capsys):
    with pytest.raises(SystemExit):
        parse(["--recipe.name", "gan", "--help"])
    assert "Discriminator steps per generator step" in capsys.readouterr().out


@pytest.mark.parametrize("form", [["--config", "quickstart"], ["--config=quickstart"]])
def test_the_command_line_has_the_last_word_wherever_the_file_is_named(form):
    config = parse(["--train.seed", "3", "--train.batch_size", "8", *form, "--run.dir", "mine"])
    assert (config.train.seed, config.train.batch_size, config.run.dir) == (3, 8, "mine")
    assert config.recipe.channels == 32  # of the file
    with pytest.raises(ConfigError, match="--config"):
        parse(["--recipe.name", "dcgan", "--config", "--train.seed", "3"])
