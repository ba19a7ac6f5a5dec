"""Every setting of every recipe, with words that no setting can take: one sentence, exit code 2.

The settings come from the tables and the declarations: a new recipe is walked over by its row.
"""

import dataclasses
import math
import os
import typing

import pytest

from largegan.config.parse import build_parser, parse
from largegan.config.schema import GROUPS
from largegan.errors import ConfigError
from largegan.files.ranges import Place
from largegan.recipes import TABLE, options_class

WRONG = ["nan", "inf", "-inf", "-1", "1e29", "9" * 40, "x" * 300, "a\0b", "[1, [2]]", "{a: {b: 1}}"]
KINDS = (bool, int, float, str)


def kinds_of(annotation: object) -> set[type]:
    """What values of an annotation can be: bool, int, float, str, list, type(None)."""
    found = set()
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return {type(part) for part in parts}
    if typing.get_origin(annotation) in (list, tuple, dict):
        return {list}
    for part in parts or (annotation,):
        if part in (int, float, str, bool, type(None)):
            found.add(part)
        elif isinstance(part, type):
            found |= {base for base in (int, float, str) if issubclass(part, base)}
        else:
            found |= kinds_of(part)
    return found


def settings() -> list[tuple[str, str, object]]:
    """(recipe, option, annotation) for every option of every recipe, and for every group once."""
    found = []
    for name in TABLE:
        hints = typing.get_type_hints(options_class(name))
        fields = dataclasses.fields(options_class(name))
        found += [(name, f"recipe.{f.name}", hints[f.name]) for f in fields]
    of_groups = (leaf for group, schema in GROUPS.items() for leaf in leaves(group, schema))
    return found + [("gan", *leaf) for leaf in of_groups]


def leaves(group: str, schema: type) -> list[tuple[str, object]]:
    """(option, annotation) of a group, and of the groups within it."""
    found = []
    for name, hint in typing.get_type_hints(schema).items():
        inner = dataclasses.is_dataclass(hint)
        found += leaves(f"{group}.{name}", hint) if inner else [(f"{group}.{name}", hint)]
    return found


@pytest.mark.parametrize("group", ["train.stop", "health.rollback"])
@pytest.mark.parametrize("word", [*WRONG, "", "null"])
def test_a_word_for_a_group_within_a_group_is_one_sentence(group, word):
    with pytest.raises(ConfigError) as fault:
        parse(["--recipe.name", "gan", f"--{group}={word}"])
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 500


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999"])
def test_numbers_that_no_float_holds(tmp_path, number):
    path = tmp_path / "a.yaml"
    path.write_text(f"recipe: {{name: gan, lr: {number}}}\n")
    with pytest.raises(ConfigError) as fault:
        parse(["--config", str(path)])
    assert "\n" not in str(fault.value)


def numbers_of(value: object) -> list[float]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers_of(item)]
    if isinstance(value, list | tuple):
        return [n for item in value for n in numbers_of(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("recipe", TABLE)
def test_numbers_of_recipes_have_types_with_limits(recipe):
    """A plain int or float has none; each setting says what it can be where it is declared."""
    for owner, option, annotation in settings():
        if owner == recipe:
            bare = kinds_in(annotation) & {int, float, str}
            literal = typing.get_origin(annotation) is typing.Literal
            free = option in FREE_TEXT
            assert literal or free or not bare, f"{option} of {recipe} is a plain {bare}"


FREE_TEXT = {  # names that are looked up in a table, which says when there is none
    "recipe.align", "recipe.backbone", "recipe.content",
    "parallel.engine",
    "health.rollback.change",  # values of other settings, each in its own setting's range
}  # fmt: skip


def kinds_in(annotation: object) -> set:
    """The types that an annotation is made of, as they are written."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return set()
    return {kind for part in parts for kind in kinds_in(part)} if parts else {annotation}


@pytest.mark.parametrize("recipe", TABLE)
def test_wrong_words_are_one_sentence(recipe):
    parser = build_parser(recipe)
    for owner, option, annotation in settings():
        if owner != recipe:
            continue
        for word in [*WRONG, ""]:
            try:  # the defaults of all others, which are right, would take 25 times as long
                value = parser.parse_args([f"--{option}={word}"], defaults=False).get(option)
            except ConfigError as fault:
                assert "\n" not in str(fault) and option.split(".")[-1] in str(fault), fault
                assert len(str(fault)) < 500, fault
                continue
            except Exception as fault:
                raise AssertionError(f"--{option}={word[:20]!r}: {fault!r}") from fault
            for number in numbers_of(value):
                assert math.isfinite(number) and abs(number) < 1e19, (option, word, number)
            if int in kinds_of(annotation) or float in kinds_of(annotation):
                assert word in ("-1", "") or str not in kinds_of(annotation), (option, word)


@pytest.mark.parametrize(
    "words,says",
    [
        (["--recipe.lr", "-1"], r"recipe\.lr is -1; it must be above 0"),
        (["--recipe.channels", "0"], r"recipe\.channels is 0; it must be a whole number of at le"),
        (["--recipe.ema_halflife_nimg", "nan"], r"ema_halflife_nimg is nan; it must be at least 0"),
        (["--train.seed", str(2**64)], r"train\.seed is 18446744073709551616; it must be"),
        (["--train.cpu_threads", "-1"], r"train\.cpu_threads is -1; it must be"),
        (["--train.total_nimg", "many"], r"train\.total_nimg is 'many'; it must be a whole number"),
        (["--run.dir", ""], r"run\.dir is .*; it must be a path: not empty"),
        (["--run.dir", "[a]"], r"run\.dir is \['a'\]; it must be a path"),
        (["--data.path", "{a: 1}"], r"data\.path is a dict; it must be a path"),
        (["--run.dir", "a" * 300], r"run\.dir is a+\.\.\..*no name longer than 255"),
    ],
)
def test_sentences(words, says):
    with pytest.raises(ConfigError, match=says):
        parse(["--recipe.name", "dcgan", *words])


def test_paths_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = parse(["--recipe.name", "gan", "--run.dir", "~/runs/a", "--data.path", "~/shards"])
    assert config.run.dir == "/home/someone/runs/a" and config.data.path == "/home/someone/shards"
    assert type(config.train.batch_size) is int and type(config.recipe.lr) is float


SOME = {
    "run": "dir=x", "data": "workers=0", "train": "seed=1", "evaluate": "count=9",
    "health": "signals=true", "parallel": "overlap=true", "log": "project=x",
}  # fmt: skip


@pytest.mark.parametrize("word", ["null"])
def test_a_group_that_is_null_is_one_sentence(tmp_path, word):
    assert SOME.keys() == GROUPS.keys()
    for group, setting in SOME.items():
        (tmp_path / "a.yaml").write_text(f"recipe: {{name: gan}}\n{group}: {word}\n")
        for words in ([], [f"--{group}.{setting}"]):
            with pytest.raises(ConfigError, match=rf"{group}( is|:) "):
                parse(["--config", str(tmp_path / "a.yaml"), *words])


PLACES = [
    f"{group}.{name}"
    for group, schema in GROUPS.items()
    for name, hint in typing.get_type_hints(schema).items()
    if Place in (hint, *typing.get_args(hint))
]


def test_what_need_not_end_is_no_path(tmp_path):
    """A pipe without a writer would be waited for, a device may have no end."""
    os.mkfifo(tmp_path / "pipe")
    assert "data.path" in PLACES and "parallel.deepspeed" in PLACES
    for name in PLACES:
        with pytest.raises(ConfigError, match=f"{name} is .*, a pipe; give a file or folder"):
            parse(["--recipe.name", "gan", f"--{name}", str(tmp_path / "pipe")])
    for place, kind in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device")):
        with pytest.raises(ConfigError, match=f"--config {place}: is {kind}; give a file"):
            parse(["--config", str(place)])
