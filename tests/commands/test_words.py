"""Every option of every command, with words that it cannot take: one sentence, exit code 2.

The options are read from the parsers themselves: a new one is walked over without a line here.
"""

import argparse
import math
import os
from pathlib import Path

import pytest

from largegan.commands import TABLE, run
from largegan.files import words

WRONG = {
    "another kind": "many", "not a number": "nan", "infinite": "inf", "below 0": "-1", "zero": "0",
    "too large": "1" + "0" * 29, "empty": "", "blank": "  ", "long": "x" * 300, "nul": "a\0b",
    "list": "[1,2]", "table": "{a: 1}", "digits": "9" * 5000, "not ASCII": "٣",
    "colors": "\x1b[31m", "half a pair": "\udcff", "commas": "," * 5000,
    "way out": "../../x", "half": "0.5",
}  # fmt: skip
TRAIN = ("train", "doctor")  # tests/config/test_ranges.py walks over their settings
FREE = (str, words.to_source, words.to_path)  # what takes nearly all texts


class Seen(Exception):
    """Carries a parser out of the command that made it."""


def parser_of(command: str, monkeypatch) -> words.Parser:
    def show(self, *_):
        raise Seen(self)

    with monkeypatch.context() as patched:
        patched.setattr(words.Parser, "parse_args", show)
        with pytest.raises(Seen) as seen:
            run(command, [])
    return seen.value.args[0]


def actions_of(parser: argparse.ArgumentParser):
    """(parser, action) for all that take a word, of subcommands too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from actions_of(sub)
        elif action.nargs != 0:
            yield parser, action


@pytest.mark.parametrize("command", [name for name in TABLE if name not in TRAIN])
def test_wrong_words_are_one_sentence(command, monkeypatch, capsys):
    actions = list(actions_of(parser_of(command, monkeypatch)))
    assert actions
    for parser, action in actions:
        assert (action.type is not int and action.type is not float) or action.choices, (
            f"{action.dest} of {command} has no limits; see largegan/files/ranges.py"
        )
        for what, word in WRONG.items():
            try:
                value = parser._get_value(action, word)
                if action.choices is not None:
                    parser._check_value(action, value)
            except argparse.ArgumentError as fault:
                with pytest.raises(SystemExit) as stop:
                    parser.error(str(fault))
                said = capsys.readouterr().err
                assert stop.value.code == 2 and said.startswith("error: ") and len(said) < 700
                assert said.count("\n") == 1 and said[:-1].isprintable(), (action.dest, what, said)
                continue
            assert possible(value), (action.dest, what, value)


def possible(value: object) -> bool:
    """Whether a value is finite, not huge, and, if it is a path, one that may be."""
    if isinstance(value, list | tuple):
        return len(value) <= 1000 and all(map(possible, value))
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) < 1 << 63
    return not isinstance(value, Path) or ("\0" not in str(value) and value != Path())


@pytest.mark.parametrize(
    "words,says",
    [
        (["fid", "a", "b", "--batch", "0"], "--batch is 0; it must be a whole number of at"),
        (["walk", "a", "b.gif", "--fps", "nan"], "--fps is nan; it must be a whole number"),
        (["pack", "", "out"], "source is ''; it must be a path, not empty"),
        (["sample", "a", ""], "out is ''; it must be a path, not empty"),
        (["pack", "a", "b", "--fit", "x" * 300], "--fit: invalid choice"),
        (["sample", "a", "b", "--grid", ""], "--grid is empty; leave it out"),
        (["sample", "a", "b", "--layers", " "], "--layers is empty"),
        (["sample", "a", "b", "--interpolate", ""], "--interpolate is empty"),
        (["walk", "a", "b.gif", "--seeds", ""], "--seeds is empty"),
        (["sample", "a"], "the following arguments are required: out"),
        (["weights", "fetch", "\x1b"], r"NAME is '\x1b'; it must be a name"),
        (["project", "a", "b", "c", "--lr", "-1"], "--lr is -1; it must be above 0"),
    ],
)  # fmt: skip
def test_sentences(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        run(words[0], words[1:])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and f"error: {says}" in said and said.count("\n") == 1, said


@pytest.mark.parametrize("command", [name for name in TABLE if name not in TRAIN])
def test_what_need_not_end_is_no_path(command, monkeypatch, tmp_path):
    """A pipe without a writer would be waited for, a device may have no end, a circle no target."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for parser, action in actions_of(parser_of(command, monkeypatch)):
        if action.type in (words.to_source, words.to_path):
            for place in (tmp_path / "pipe", tmp_path / "circle", Path("/dev/zero")):
                with pytest.raises(argparse.ArgumentError, match=r"a pipe|a device|in a circle"):
                    parser._get_value(action, str(place))


def test_paths_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert words.to_path("~/a") == Path("/home/someone/a")
    assert words.to_source("~/a[::2]") == "/home/someone/a[::2]"
    assert words.to_source("~nobody-of-this-name/a") == "~nobody-of-this-name/a"
