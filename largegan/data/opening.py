"""The data of a recipe, which reads one domain, or two: apart, or in pairs."""

from collections.abc import Sequence
from pathlib import Path

from largegan.data.domains import Domains
from largegan.data.indexed import IndexedSource
from largegan.data.reading import PLAIN, Reading
from largegan.data.source import open_data
from largegan.data.stream import Source
from largegan.errors import ConfigError, DataError

FOLDERS = ("a", "b")  # what largegan pack --domain writes


def open_for(
    reads: Sequence[str],
    path: str,
    path_b: str | None,
    reading: Reading = PLAIN,
    *,
    paired: bool,
) -> "Source | Domains":
    """The data of a recipe that reads "image", or "image_a" and "image_b" (``paired``: of pairs).

    Raises ConfigError where data and recipe do not fit.
    """
    if "image_b" in reads:
        source = open_domains(path, path_b, reading)
        if paired and isinstance(source, Domains):
            raise ConfigError(
                f"this recipe learns from pairs, and {path} holds two separate domains; pack pairs "
                "with largegan pack --paired, or choose recipe.name cyclegan or cut"
            )
        return source
    if path_b is not None:
        raise ConfigError("this recipe reads one domain; leave out data.path_b")
    source = open_data(path, reading)
    if source.info.channels_b:
        raise ConfigError(f"{path} holds pairs, which are for recipes that translate")
    return source


def open_domains(path: str, path_b: str | None, reading: Reading) -> Domains | IndexedSource:
    """Data of two domains; raises ConfigError when there is only one, else see ``open_data``.

    ``path`` is a folder that holds the shards of each in a/ and b/, or shards of pairs; or it is
    domain a, and ``path_b`` is domain b.
    """
    if path_b is None:
        root = Path(path)
        if any((root / name).is_dir() for name in FOLDERS):
            missing = [name for name in FOLDERS if not (root / name).is_dir()]
            if missing:
                raise DataError(
                    f"{root} has no folder {missing[0]}; pack that domain too: largegan pack "
                    f"IMAGES {root} --domain {missing[0]}"
                )
            path, path_b = str(root / "a"), str(root / "b")
    first = open_data(path, reading)
    if path_b is None:
        if not first.info.channels_b:
            raise ConfigError(
                f"{path} holds one domain, and translation needs two; pack them with largegan pack "
                "--domain a and --domain b (or --paired), or give the other as data.path_b"
            )
        return first
    second = open_data(path_b, reading)
    for source, name in ((first, path), (second, path_b)):
        if source.info.channels_b:
            raise ConfigError(f"{name} holds pairs; give it alone, as data.path")
    return Domains(first, second)
