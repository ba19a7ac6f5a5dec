"""Ranges of settings, as types of the configuration library: stated where a setting is declared.

A range has one name only, as the library knows types by their limits. Every float has a lower and
an upper one, so that neither an infinity nor a NaN is within.
"""

import types
import typing

from jsonargparse.typing import ClosedUnitInterval, restricted_number_type, restricted_string_type

from largegan.files.words import LARGEST_SEED

LIMITS = {"ClosedUnitInterval": "at least 0 and at most 1"}  # by the name of a type, for people


def whole(name: str, least: int, most: int) -> type:
    """Whole numbers from `least` to `most`."""
    LIMITS[name] = f"a whole number of at least {least} and at most {most}"
    return restricted_number_type(name, int, [(">=", least), ("<=", most)])


def real(name: str, least: float, most: float, *, above: bool = False, below: bool = False) -> type:
    """Numbers from `least` to `most`; `above` and `below` leave the limits themselves out."""
    LIMITS[name] = (
        f"{'above' if above else 'at least'} {least:g} and {'below' if below else 'at most'} "
        f"{most:g}"
    )
    limits = [(">" if above else ">=", least), ("<" if below else "<=", most)]
    return restricted_number_type(name, float, limits)


Width = whole("Width", 1, 1 << 14)  # channels, features: what makes weights wide
Depth = whole("Depth", 1, 256)  # layers, blocks, steps in a row
WholeNumber = whole("WholeNumber", 0, 1 << 20)
Few = whole("Few", 0, 1 << 10)  # of something that may be left out
Side = whole("Side", 1, 1 << 15)  # pixels
Base = whole("Base", 1, 1 << 24)  # what is divided by a resolution
Interval = whole("Interval", 1, 1 << 20)  # iterations
Seed = whole("Seed", 0, LARGEST_SEED)
Images = whole("Images", 1, 10**12)
ImagesOrNone = whole("ImagesOrNone", 0, 10**12)
Batch = whole("Batch", 1, 10**7)
Classes = whole("Classes", 1, 10**6)
Count = whole("Count", 1, 10**9)
Processes = whole("Processes", 1, 10**5)
Threads = whole("Threads", 1, 4096)
Workers = whole("Workers", 0, 256)
Rows = whole("Rows", 1, 128)
Scale = whole("Scale", 1, 64)
Reduction = whole("Reduction", 2, 64)
Drawn = Batch  # images by seed
Steps = whole("Steps", 2, 4096)  # of a way, its ends included
Searched = Shards = Classes  # steps of a search
Frames = whole("Frames", 1, 10**4)
Neighbors = Chunks = FramesPerSecond = whole("Neighbors", 1, 1000)
Turns = whole("Turns", -1000, 1000)
Shown = Threads  # pictures on a sheet
Quality = whole("Quality", 1, 100)
Port = whole("Port", 1, 65535)
Capability = whole("Capability", 10, 999)  # of a GPU, times ten

LearningRate = real("LearningRate", 0, 1e3, above=True)
Beta = real("Beta", 0, 1, below=True)
Fraction = ClosedUnitInterval
Weight = real("Weight", 0, 1e9)
PositiveWeight = real("PositiveWeight", 0, 1e9, above=True)
Halflife = real("Halflife", 0, 1e15)
PixelValue = real("PixelValue", -1e9, 1e9)  # as an image stores it
Seconds = real("Seconds", 1, 1e7)
Minutes = real("Minutes", 0.01, 1e6)
Truncation = Radius = real("Truncation", -100, 100)
AverageWidth = real("AverageWidth", 0, 1, above=True)
LatentScale = real("LatentScale", 0, 1e6, above=True)
Megabytes = real("Megabytes", 0, 1e7, above=True)

Name = restricted_string_type("Name", r"^(?!\.\.?$)[^\x00-\x1f\x7f/]{1,200}$")
# No list or mapping by mistake; every part of a path is a possible name.
LIMITS["Place"] = "a path: not empty, no list, no name longer than 255 letters"
LIMITS["Name"] = "a name of at most 200 letters"
NO_LIST, NO_MAPPING = r"(?!\s*\[[^\]]*\]\s*$)", r"(?!\s*\{[^}]*:[^}]*\}\s*$)"
PARTS = r"(?=\s*\S)/*([^\x00-\x1f\x7f/]{1,255}(/+|$))*$"
Place = restricted_string_type("Place", f"^{NO_LIST}{NO_MAPPING}{PARTS}")


def plain(value: object) -> object:
    """Numbers and texts of the types above as Python's own, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    for kind in (int, float, str):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    return value


def fits(value: object, annotation: object) -> bool:
    """Whether a plain value, as it comes from a file, is what a declaration asks for."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin in (list, tuple):
        several = isinstance(value, list | tuple)
        return several and all(fits(item, parts[0]) for item in value)
    if annotation in (bool, type(None)):
        return type(value) is annotation
    if isinstance(annotation, type) and issubclass(annotation, int | float | str):
        return _is_of(value, annotation)
    return True  # a kind that no recipe has; its constructor knows


def _is_of(value: object, kind: type) -> bool:
    """A number or text of a type that may have limits."""
    wide = int | float if issubclass(kind, float) else int if issubclass(kind, int) else str
    if isinstance(value, bool) or not isinstance(value, wide):
        return False
    try:
        return bool(kind(value) == value)
    except (ValueError, OverflowError):
        return False
