"""The configurations that come with largegan: `--config quickstart` is configs/quickstart.yaml.

In a clone they are the folder configs/; a wheel installs the same files as share/largegan/configs.
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CLONE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Advice:
    """A preset for people who name none: `largegan train FOLDER`.

    Args:
        preset: its name.
        reads: what it learns from: "images", "domains" (two, without pairs) or "pairs".
        gpu: whether it is meant for a GPU.
        sides: sizes that it trains at; the largest that the images have is taken.
        least: the fewest images that it is advised for.
        why: the end of a sentence that begins with the preset.
        epochs: trains so many passes over the data, instead of the preset's number of images.
        seconds: what 1000 images of the smallest size took on two CPU cores.
    """

    preset: str
    reads: str
    gpu: bool
    sides: tuple[int, ...]
    why: str
    least: int = 2
    epochs: int | None = None
    seconds: float | None = None


# The first row that fits is taken.
ADVICE = (
    Advice(
        "stylegan2_auto",
        "images",
        True,
        (32, 64, 128, 256),
        "adapts its augmentation to the number of images, so it learns from few as from many",
    ),
    Advice(
        "cyclegan_horse2zebra",
        "domains",
        True,
        (64, 128, 256),
        "learns from two sets of images without pairs",
        epochs=200,
    ),
    Advice("pix2pix_facades", "pairs", True, (256,), "learns from pairs of images", epochs=200),
    Advice(
        "quickstart",
        "images",
        False,
        (32,),
        "is small enough for a machine without a GPU, where larger ones take weeks",
        seconds=1.8,
    ),
    Advice(
        "cyclegan_emoji32",
        "domains",
        False,
        (32,),
        "learns from two sets without pairs, and is small enough for a machine without a GPU",
        seconds=80.0,
    ),
    Advice(
        "pix2pix_emoji64",
        "pairs",
        False,
        (64,),
        "learns from pairs, and is small enough for a machine without a GPU",
        seconds=40.0,
    ),
)


def advised(reads: str, count: int, *, gpu: bool) -> Advice | None:
    """The first row for so many images; None where there is none."""
    rows = (row for row in ADVICE if row.reads == reads and row.gpu == gpu)
    return next((row for row in rows if count >= row.least), None)


def presets() -> dict[str, Path]:
    """The file of each preset by its name."""
    return {path.stem: path for path in sorted(files()) if path.suffix == ".yaml"}


def files() -> list[Path]:
    """In a clone what lies there now, else what the installed package has recorded."""
    if (CLONE / "pyproject.toml").is_file():
        return list((CLONE / "configs").glob("*"))  # none in a copy without them
    try:
        recorded = metadata.files("largegan") or []
    except metadata.PackageNotFoundError:  # a copy on the path that nobody installed
        return []
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
