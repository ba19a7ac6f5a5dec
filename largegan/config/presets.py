"""The configurations that come with largegan: `--config quickstart` is configs/quickstart.yaml.

In a clone they are the folder configs/; a wheel installs the same files as share/largegan/configs.
"""

from importlib import metadata
from pathlib import Path

CLONE = Path(__file__).parents[2]


def presets() -> dict[str, Path]:
    """The file of each preset by its name."""
    return {path.stem: path for path in sorted(files()) if path.suffix == ".yaml"}


def files() -> list[Path]:
    """In a clone what lies there now, else what the installed package has recorded."""
    if (CLONE / "pyproject.toml").is_file():
        return list((CLONE / "configs").glob("*"))  # none in a copy without them
    recorded = metadata.files("largegan") or []
    found = [path for path in recorded if path.parts[-3:-1] == ("largegan", "configs")]
    return [Path(str(path.locate())) for path in found]


def with_presets(argv: list[str]) -> list[str]:
    """The words, where `--config NAME` of a preset is its path. A file of that name goes first."""
    words, follows = [], False
    for word in argv:
        option, equals, value = word.partition("=")
        if follows:
            word = located(word)
        elif option == "--config" and equals:
            word = f"--config={located(value)}"
        follows = word == "--config" and not follows
        words.append(word)
    return words


def located(name: str) -> str:
    """The path of a preset, or the name itself."""
    plain = Path(name).suffix == "" and len(Path(name).parts) == 1
    if not plain or Path(name).is_file():
        return name
    return str(presets().get(name, name))
