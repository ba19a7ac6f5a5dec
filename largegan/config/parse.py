"""The configuration: typed, strict, layered (`--config a.yaml --config b.yaml --train.seed 3`).

Importing this file and asking for `--help` stay cheap: torch is imported only once a recipe is
named, because a recipe's options are declared in its file.
"""

import argparse
import copy
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import yaml
from jsonargparse import (
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from largegan.config.changes import after_rollback
from largegan.config.checks import (
    check_actions,
    check_evaluate,
    check_groups,
    check_places,
    check_stop,
)
from largegan.config.explain import explain, near, one_line, shortened
from largegan.config.presets import presets, with_presets
from largegan.config.schema import DEVICES, GROUPS
from largegan.errors import ConfigError, shown, without_secrets
from largegan.files.ranges import plain
from largegan.files.special import special
from largegan.recipes import TABLE, options_class

set_parsing_settings(docstring_parse_attribute_docstrings=True)

DESCRIPTION = """Trains a GAN. Start it with python -m, accelerate launch -m, torchrun -m or srun.
DATA is short for --data.path DATA; alone, it trains the preset that suits such images.

recipes (recipe.name):
{table}

presets (--config NAME):
{presets}

The options of a recipe are listed by `--recipe.name NAME --help`. Settings come from the files
given with --config, in order, then from the command line. Exit codes: 2 configuration, 3 data,
4 environment, 5 stopped by its health, 75 start me again.
"""


class Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the table of recipes a table."""


class Parser(ArgumentParser):
    """Raises `ConfigError` instead of printing usage, and says what was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ConfigError(explain(message, list(self.known_options())))

    def known_options(self) -> list[str]:
        return [a.dest for a in self._actions if "." in a.dest] + ["config"]


def parse(argv: list[str]) -> Namespace:
    """The resolved configuration, validated. Raises `ConfigError` (exit code 2)."""
    argv = files_first(with_presets(argv))
    try:
        name = chosen_recipe(argv)
        config = build_parser(name).parse_args(argv)
    except ConfigError:
        raise
    except (TypeError, ValueError, OverflowError, yaml.YAMLError, OSError) as fault:
        raise ConfigError(f"cannot read the configuration: {one_line(str(fault))}") from fault
    for group in (*GROUPS, "recipe"):
        settings = getattr(config, group)
        if not isinstance(settings, Namespace):
            raise ConfigError(f"{group} is {shortened(str(settings))}; it must hold settings")
        make_plain(settings)
    check_groups(config)
    check_places(config)
    check(config)
    return config


def files_first(argv: list[str]) -> list[str]:
    """Words as before, but --config and its files at the front: the command line has the last word.

    The parser itself would take them as they come, and a file after an option would undo it.
    """
    files: list[str] = []
    others: list[str] = []
    for before, word in zip(["", *argv], argv, strict=False):
        is_value = before == "--config" and not word.startswith("--")
        named = word == "--config" or word.startswith("--config=")
        (files if named or is_value else others).append(word)
    return files + others


def make_plain(settings: Namespace) -> None:
    """Makes plain values of what the parser took, at any depth."""
    for key, value in vars(settings).items():
        if isinstance(value, Namespace):
            make_plain(value)
        else:
            setattr(settings, key, from_home(plain(value)))


def from_home(value: object) -> object:
    """A path that begins with ~ from the person's own folder on."""
    return os.path.expanduser(value) if isinstance(value, str) and value[:1] == "~" else value


def build_parser(recipe: str | None) -> Parser:
    """All groups, and the options of `recipe` when one is chosen."""
    table = "\n".join(f"  {name:13s} {about}" for name, (_, about) in TABLE.items())
    parser = Parser(
        prog="python -m largegan.train",
        usage="python -m largegan.train [DATA] [--config FILE] ... [--GROUP.OPTION VALUE] ...",
        description=DESCRIPTION.format(table=table, presets=folded(list(presets()))),
        formatter_class=Help,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file or the name of a preset; may be repeated"
    )
    for group, schema in GROUPS.items():
        parser.add_class_arguments(schema, group)
    parser.add_argument(
        "--recipe.name", type=str, default=recipe, help="which GAN: " + ", ".join(TABLE)
    )
    parser.add_argument(
        "--dry-run",
        nargs="?",
        const="h100",
        choices=DEVICES,
        help="say what the run would cost on this kind of GPU, and start nothing (default: h100)",
    )
    if recipe is not None:
        parser.add_class_arguments(options_class(recipe), "recipe")
    return parser


def folded(words: list[str]) -> str:
    return textwrap.fill(" ".join(words), 98, initial_indent="  ", subsequent_indent="  ")


def chosen_recipe(argv: list[str]) -> str | None:
    """`recipe.name` before everything else is known: the last word wins, as in the full parse."""
    name = None
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in ("--config", "--recipe.name"):
            continue
        value = value if equals else next(words, "")
        name = (recipe_in_file(value) or name) if option == "--config" else value
    if name is None and not {"-h", "--help"} & set(argv):
        raise ConfigError(
            "no recipe is chosen; set recipe.name in a --config file or give --recipe.name NAME "
            f"(one of {', '.join(TABLE)})"
        )
    if name is not None and name not in TABLE:
        raise ConfigError(f"recipe.name: there is no recipe {name!r}{near(name, list(TABLE))}")
    return name


def recipe_in_file(path: str) -> str | None:
    """The recipe that a YAML file names, if any."""
    if kind := special(path):
        raise ConfigError(f"--config {shown(path)}: is {kind}; give a file")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        what = f"there is no such file, and no preset of that name{near(path, list(presets()))}"
        raise ConfigError(f"--config {path}: {what}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"--config {path}: cannot be read ({fault})") from None
    except (yaml.YAMLError, RecursionError) as fault:
        raise ConfigError(f"--config {path}: not valid YAML: {one_line(str(fault))}") from None
    if content is None:
        return None
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path}: expected `group: ...` at the top level")
    recipe = content.get("recipe") or {}
    if not isinstance(recipe, dict):
        raise ConfigError(f"--config {path}: recipe must hold `name: ...` and its options")
    return recipe.get("name")


def check(config: Namespace) -> None:
    """What types cannot say. One sentence for the first thing that cannot work."""
    train = config.train
    if train.micro_batch_size is not None and train.batch_size % train.micro_batch_size:
        raise ConfigError(
            f"train.batch_size {train.batch_size} is not a multiple of "
            f"train.micro_batch_size {train.micro_batch_size}"
        )
    if config.run.resume in ("auto", "must") and config.run.dir is None:
        raise ConfigError(f"run.resume {config.run.resume} needs run.dir: which run to continue")
    check_evaluate(config.evaluate)
    check_stop(train.stop, config.evaluate)
    check_changed(config, after_rollback(config))
    check_actions(config)


def check_changed(config: Namespace, new: Mapping[str, float]) -> None:
    """Refuses new values of settings that are out of their range. Raises ConfigError."""
    if not new:
        return
    content = copy.deepcopy(as_dict(config))  # the parser changes what it is given
    for name, value in new.items():
        group, _, key = name.partition(".")
        content[group][key] = value
    try:
        build_parser(config.recipe.name).parse_object(content)
    except ConfigError as fault:
        raise ConfigError(f"health.rollback.change: {fault}") from None


def recipe_options(config: Namespace) -> dict:
    """The options of the chosen recipe, for `recipes.build`."""
    return {key: value for key, value in vars(config.recipe).items() if key != "name"}


def resolved_yaml(config: Namespace) -> str:
    """The whole configuration as a file that starts the same run again.

    But for passwords and tokens in addresses, which nobody writes down.
    """
    return yaml.safe_dump(as_dict(config), sort_keys=False)


def as_dict(config: Namespace) -> dict:
    """Plain nested dictionaries, without the list of config files and without passwords."""
    content = {"recipe": {"name": config.recipe.name, **recipe_options(config)}}
    for group in GROUPS:
        content[group] = nested(getattr(config, group))
    return content


def nested(settings: Namespace) -> dict:
    """Plain dictionaries of a group, at any depth."""
    return {
        key: nested(value) if isinstance(value, Namespace) else for_others(value)
        for key, value in vars(settings).items()
    }


def for_others(value: object) -> object:
    """A setting as it may be kept where others read it."""
    return without_secrets(value) if isinstance(value, str) and "://" in value else value
