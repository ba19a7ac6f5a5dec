"""How a command ends, whether it returns its exit code or its words are refused before."""

from collections.abc import Callable


def code_of(main: Callable[[list[str]], int], words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)
