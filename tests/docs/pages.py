"""Reads README and the guides: their fenced commands, as words of the programs they start."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LAUNCHERS = ("accelerate", "torchrun", "srun")
# What a shell has, or another page explains; their words are not ours to check.
OTHERS = {"pip", "uv", "cp", "squeue", "tail", "scancel", "sbatch", "pytest", "python"}


def commands(page: Path) -> list[str]:
    """Every command of the page's bash blocks, without comments, in order."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            found += [part for part in line.split(" && ") if part.split("#")[0].strip()]
    return found


def words_of(command: str) -> list[str]:
    """The words, without `NAME=VALUE` before them and without a comment."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    return words


def largegan_words(command: str) -> list[str] | None:
    """What follows `largegan`, however it is launched; None for other programs."""
    words = words_of(command)
    if words[:2] == ["uv", "run"] and "-m" in words:
        words = words[2:]
    if words[0] == "largegan":
        return words[1:]
    if words[0] in (*LAUNCHERS, "python") and "-m" in words:
        module, rest = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
        if module == "largegan":
            return rest
        if module.startswith("largegan."):
            return [module.removeprefix("largegan."), *rest]
    return None
