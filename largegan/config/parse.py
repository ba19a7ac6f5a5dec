"""The configuration: typed, strict, layered (`--config a.yaml --config b.yaml --train.seed 3`).

Importing this file and asking for `--help` stay cheap: torch is imported only once a recipe is
named, because a recipe's options are declared in its file.
"""

import argparse
import copy
import dataclasses
import difflib
import os
import re
import textwrap
import typing
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
from largegan.config.presets import presets, with_presets
from largegan.config.schema import DEVICES, GROUPS
from largegan.errors import ConfigError, shown, without_secrets
from largegan.files.ranges import LIMITS, Place, plain
from largegan.files.special import special
from largegan.metrics import table
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
    argv = with_presets(argv)
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
        settle(settings)
    check_groups(config)
    check_places(config)
    check(config)
    return config


def check_groups(config: Namespace) -> None:
    """Refuses null, which the parser takes, for a group, and for a group within a group."""
    for group, schema in GROUPS.items():
        for name, hint in typing.get_type_hints(schema).items():
            if name not in vars(config[group]):  # null, and then a word of the command line
                raise ConfigError(f"{group} is null in a file; leave it out, or give its settings")
            if dataclasses.is_dataclass(hint) and getattr(config[group], name) is None:
                raise ConfigError(f"{group}.{name} is null; leave it out, or give its settings")


def check_places(config: Namespace) -> None:
    """Refuses paths that lead to what is no file and no folder, and may have no end."""
    for group, schema in GROUPS.items():
        for name, hint in typing.get_type_hints(schema).items():
            place = getattr(config[group], name)
            is_place = place and Place in (hint, *typing.get_args(hint))
            if is_place and (kind := special(place)):
                raise ConfigError(
                    f"{group}.{name} is {shortened(place)}, {kind}; give a file or folder"
                )


def settle(settings: Namespace) -> None:
    """Makes plain values of what the parser took, at any depth."""
    for key, value in vars(settings).items():
        if isinstance(value, Namespace):
            settle(value)
        else:
            setattr(settings, key, at_home(plain(value)))


def at_home(value: object) -> object:
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
    check_actions(config)


def check_evaluate(evaluate: Namespace) -> None:
    """The evaluate group, when it is used at all."""
    if evaluate.every_nimg is None:
        return
    table.rows(evaluate.metrics, "evaluate.metrics")
    given = table.given_by(evaluate.metrics)
    if evaluate.best not in given:
        raise ConfigError(
            f"evaluate.best is {evaluate.best}, but evaluate.metrics gives only {', '.join(given)}"
        )


def check_stop(stop: Namespace, evaluate: Namespace) -> None:
    """The settings train.stop, when they are used at all."""
    if stop.metric is None:
        return
    if evaluate.every_nimg is None:
        raise ConfigError(
            f"train.stop.metric is {stop.metric}, but nothing is scored while training; set "
            "evaluate.every_nimg"
        )
    given = table.given_by(evaluate.metrics)
    if stop.metric not in given:
        raise ConfigError(
            f"train.stop.metric is {stop.metric}, but evaluate.metrics gives only "
            f"{', '.join(given)}"
        )
    if stop.metric != evaluate.best:
        raise ConfigError(
            f"train.stop.metric is {stop.metric} and evaluate.best is {evaluate.best}; set both "
            "alike, so that the best checkpoint is kept"
        )
    has_errors = table.error_of(stop.metric) is not None and evaluate.error_bars
    if stop.min_gain == "error_bars" and not has_errors:
        raise ConfigError(
            f"train.stop.min_gain is error_bars, but {stop.metric} is scored without one; give a "
            "number, or set evaluate.error_bars"
        )


def actions_of(health: Namespace) -> dict[str, str]:
    """Verdict -> warn, stop or rollback, of those for which something is to be done."""
    given = {k: v for k, v in vars(health).items() if k.startswith("on_") and v is not None}
    return {name.removeprefix("on_"): action for name, action in given.items()}


def check_actions(config: Namespace) -> None:
    """The settings health.on_VERDICT and health.rollback, when they are used at all."""
    health, actions = config.health, actions_of(config.health)
    turning = [verdict for verdict, action in actions.items() if action == "rollback"]
    check_changed(config, after_rollback(config))
    if actions and not health.signals:
        raise ConfigError(
            f"health.on_{next(iter(actions))} is set, but health.signals is off; switch it on"
        )
    if "discriminator_overfits" in actions and not config.data.held_out:
        raise ConfigError(
            "health.on_discriminator_overfits is set, but nothing is held out, so it is never "
            "found; set data.held_out"
        )
    if health.rollback.change and not turning:
        raise ConfigError(
            "health.rollback.change is set, but no verdict asks for a rollback; set "
            "health.on_VERDICT: rollback"
        )
    if not turning:
        return
    if config.train.save_every_nimg >= config.train.total_nimg:
        raise ConfigError(
            f"health.on_{turning[0]} is rollback, but train.save_every_nimg is "
            f"{config.train.save_every_nimg}, so there is no checkpoint before the end; save more "
            "often"
        )


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


def out_of_range(message: str) -> str | None:
    """The sentence for a value that one of the types of `ranges` does not take, or None."""
    found = re.search(r'Parser key "([\w.]+)".*?Not of type (\w+): (.*)', message)
    if not found or found[2] not in LIMITS:
        return None
    key, kind, why = found.groups()
    given = re.search(r"Given value(?: type: <class '[\w.]+'>)?: (.*)", message)
    value = given[1] if given else re.split(r"\s*does not (?:conform|match)", why)[0]
    if no_text := re.match(r"expected string or bytes-like object, got '(\w+)'", value):
        value = f"a {no_text[1]}"
    if "invalid literal" in why or "could not convert" in why:
        value = why.rpartition(": ")[2]
    shown_value = shortened(value) if value.strip() else "empty"
    return f"{key} is {shown_value}; it must be {LIMITS[kind]}"


def shortened(text: str, most: int = 80) -> str:
    """A value for a sentence."""
    text = shown(text)
    return text if len(text) <= most else f"{text[:most]}..."


UNKNOWN = (
    r"nrecognized arguments: --(?P<key>[\w.]+)",
    r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'",
    r"(?:Key|Option) '(?P<key>[\w.]+)' is not (?:accepted|expected)",
)


NO_GROUP = r"""Parser key "([\w.]+)":? Unable to load config ['"](.*)['"]"""


def explain(message: str, known: list[str]) -> str:
    """The parser's message on one line, with the nearest option that exists."""
    message = one_line(message)
    for pattern in UNKNOWN:
        if found := re.search(pattern, message):
            groups = found.groupdict()
            key, group = groups["key"], groups.get("group")
            if group and not key.startswith(f"{group}."):
                key = f"{group}.{key}"
            return f"there is no setting {key}{near(key, known)}"
    if sentence := out_of_range(message):
        return sentence
    if whole := re.search(NO_GROUP, message):
        some = [k for k in known if k.startswith(f"{whole[1]}.")]
        return f"{whole[1]}: expected settings such as {some[0]}, got {shortened(whole[2])}"
    union = re.search(
        r'Parser key "([\w.]+)".* Subtypes: \[(.*?)\] Errors.*Given value: (.*)', message
    )
    if union:
        kinds = re.sub(r"<class '|'>|typing\.", "", union[2]).replace(", ", " or ")
        return f"{union[1]}: expected {kinds}, got {shortened(union[3])}"
    wrong = re.search(r'Parser key "([\w.]+)":? (.*?)\.? ?Got value: (.*)', message)
    if wrong:
        expected = re.sub(r"^Expected an? |<class '|'>|typing\.", "", wrong[2]).strip()
        expected = re.sub(r"^Literal\[(.*)\]$", r"one of \1", expected)
        return f"{wrong[1]}: expected {expected}, got {shortened(wrong[3])}"
    return message


def near(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the closest known name, else what its group offers."""
    tails = {k.split(".")[-1]: k for k in known}
    found = difflib.get_close_matches(word, known, 1, 0.6)
    found = found or [
        tails[t] for t in difflib.get_close_matches(word.split(".")[-1], list(tails), 1, 0.6)
    ]
    group = word.split(".")[0]
    offers = [k.split(".")[-1] for k in known if k.startswith(f"{group}.")]
    # "train.learning_rate" looks like nothing in its group: its neighbors say what to look for.
    if "." in word and not (found and found[0].startswith(f"{group}.")) and offers:
        return f"; {group} has {', '.join(offers)}"
    return f"; did you mean {found[0]}?" if found else ""


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
