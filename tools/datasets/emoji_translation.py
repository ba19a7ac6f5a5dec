#!/usr/bin/env python
"""Build emoji-translation sets: unpaired training images, and test images with their true answer.

Two emoji sets draw the same things in two styles. Their common names are dealt to three parts:
train_a holds some in the first style, train_b others in the second, and test_a and test_b the
rest in both, under the same file names. So training is unpaired and scoring is paired. Relatives
(skin tones, man/woman/person) never end up in different parts. With --pairs there is no train_a
and train_b but pairs/a and pairs/b, for methods that need them.

The drawings come from the npm package @iconify/json, which `npm` fetches once (104 MB; it has to
be installed, or give --package), and are rendered by resvg (pip install resvg-py). Licenses and
the list of names are written beside the images.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE, SHA256 = "@iconify/json@2.2.535", "1a545f86fa224d65"
TONE = re.compile(r"-(medium-)?(light|dark|medium)(-skin-tone)?(?=-|$)")
PEOPLE = re.compile(r"\b(man|men|woman|women|person|people)\b-?")
FLAG = re.compile(r"^flag-")
PARTS = {
    # what is written: (part of the names, style)
    "train_a": ("train_a", 0),
    "train_b": ("train_b", 1),
    "test_a": ("test", 0),
    "test_b": ("test", 1),
}
PAIRED_PARTS = {"pairs/a": ("train", 0), "pairs/b": ("train", 1)} | {
    name: part for name, part in PARTS.items() if name.startswith("test")
}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="emoji_translation.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("out", type=Path, help="new folder for the images")
    add("--from", dest="first", default="fluent-emoji-flat", metavar="SET",
        help="domain a (default: fluent-emoji-flat; others: noto, openmoji)")  # fmt: skip
    add("--to", dest="second", default="fluent-emoji", metavar="SET",
        help="domain b (default: fluent-emoji, the 3-D ones; others: twemoji)")  # fmt: skip
    add("--resolution", type=int, default=64, metavar="R", help="pixels a side (default: 64)")
    add("--test", type=int, default=256, metavar="N", help="names kept for testing (default: 256)")
    add("--pairs", action="store_true", help="paired training images instead of two domains")
    add("--skin-tones", action="store_true", help="keep all skin tones (near-duplicates)")
    add("--background", default="#ffffff", help="color behind the drawings (default: #ffffff)")
    add("--package", type=Path, help="the package as a .tgz, instead of fetching it")
    add("--seed", type=int, default=0, help="of the split (default: 0)")
    add("--threads", type=int, default=2, help="drawings rendered at once (default: 2)")
    return parser.parse_args(words)


def fetch_package(folder: Path) -> Path:
    """The package's archive, fetched by npm into `folder`; raises EnvironmentFault."""
    from largegan.errors import EnvironmentFault

    if shutil.which("npm") is None:
        raise EnvironmentFault(
            f"npm is not installed, and {PACKAGE} comes from its registry; install npm, or fetch "
            "the package elsewhere and give it by --package"
        )
    command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    print(f"fetching {PACKAGE} (104 MB)", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(folder.glob("iconify-json-*.tgz"))
    if done.returncode or not archives:
        reason = (done.stderr.strip() or "no archive appeared").splitlines()[-1]
        raise EnvironmentFault(f"npm could not fetch {PACKAGE}: {reason}; try again later")
    digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if not digest.startswith(SHA256):
        raise EnvironmentFault(f"{archives[0].name} is not the {PACKAGE} that is known here")
    return archives[0]


def read_sets(package: Path, names: Iterable[str]) -> list[dict]:
    """Icon sets of the package by name; raises DataError for one that it lacks."""
    from largegan.errors import DataError

    try:
        with tarfile.open(package) as archive:
            sets = []
            for name in names:
                member = archive.extractfile(f"package/json/{name}.json")
                sets.append(json.load(member))
            return sets
    except KeyError as error:
        raise DataError(f"{package} has no icon set {name}; see its collections.json") from error
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{package} cannot be read ({error}); fetch it again") from error


def common_names(sets: list[dict], *, skin_tones: bool) -> list[str]:
    """Names that both sets draw, sorted; without country flags, and mostly without skin tones."""
    names = sorted(set(sets[0]["icons"]) & set(sets[1]["icons"]))
    return [n for n in names if not FLAG.match(n) and (skin_tones or not TONE.search(n))]


def family(name: str) -> str:
    """What relatives have in common: `woman-running-dark` and `man-running` are `running`."""
    return PEOPLE.sub("", TONE.sub("", name)).strip("-") or name


def split(names: list[str], *, test: int, seed: int, paired: bool) -> dict[str, list[str]]:
    """Names of each part; families stay together, so the parts have about the sizes wanted.

    The order is that of a hash, which no version of anything changes.
    """
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(family(name), []).append(name)
    order = sorted(families, key=lambda f: hashlib.sha256(f"{seed}/{f}".encode()).digest())
    parts: dict[str, list[str]] = {"test": []}
    parts |= {"train": []} if paired else {"train_a": [], "train_b": []}
    for group in order:
        short = [p for p in parts if p != "test"]
        part = min(short, key=lambda p: len(parts[p])) if len(parts["test"]) >= test else "test"
        parts[part] += families[group]
    return parts


def drawing(icons: dict, name: str) -> str:
    """One icon of a set as an SVG document, in the middle of a square."""
    icon = icons["icons"][name]
    left, top, width, height = (
        icon.get(key, icons.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    side = max(width, height)
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side} {side}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}">{icon["body"]}</svg>'
    )


def render(job: tuple[str, str, int, str]) -> str | None:
    """Draws (svg, file, pixels, background); returns what went wrong, if anything."""
    import resvg_py

    svg, file, pixels, background = job
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg,
            width=pixels,
            height=pixels,
            background=background,
            skip_system_fonts=True,
        )
    except ValueError as error:
        return f"{file}: {error}"
    Path(file).write_bytes(bytes(png))
    return None


def write_licenses(folder: Path, sets: list[dict], parts: dict[str, list[str]]) -> None:
    """LICENSES.txt says whose drawings these are, names.json which went where."""
    lines = [f"The images were rendered from the npm package {PACKAGE}, unchanged drawings of:"]
    for icons in sets:
        info, license = icons["info"], icons["info"]["license"]
        lines += [
            "",
            f"{info['name']} by {info['author']['name']}, {info['author'].get('url', '')}",
            f"  license: {license['title']} ({license.get('spdx', '')}), {license.get('url', '')}",
        ]
    (folder / "LICENSES.txt").write_text("\n".join(lines) + "\n")
    (folder / "names.json").write_text(json.dumps(parts, indent=1) + "\n")


def build(arguments: argparse.Namespace, package: Path, folder: Path) -> dict[str, list[str]]:
    """Writes everything into `folder`; returns the names of each part."""
    from tqdm import tqdm

    from largegan.errors import ConfigError, DataError

    sets = read_sets(package, (arguments.first, arguments.second))
    names = common_names(sets, skin_tones=arguments.skin_tones)
    if not 0 < arguments.test < len(names) - 2:
        raise ConfigError(
            f"--test {arguments.test} leaves nothing to train on: {arguments.first} and "
            f"{arguments.second} have {len(names)} names in common"
        )
    parts = split(names, test=arguments.test, seed=arguments.seed, paired=arguments.pairs)
    jobs = []
    for name, (part, style) in (PAIRED_PARTS if arguments.pairs else PARTS).items():
        (folder / name).mkdir(parents=True)
        for icon in parts[part]:
            svg, file = drawing(sets[style], icon), str(folder / name / f"{icon}.png")
            jobs.append((svg, file, arguments.resolution, arguments.background))
    with ThreadPoolExecutor(max(1, arguments.threads)) as pool:
        results = pool.map(render, jobs)
        shown = tqdm(results, total=len(jobs), unit="img", desc="rendering", disable=None)
        faults = [fault for fault in shown if fault]
    if faults:
        raise DataError(f"{len(faults)} drawings could not be rendered, the first: {faults[0]}")
    write_licenses(folder, sets, parts)
    return parts


def run(arguments: argparse.Namespace) -> None:
    import importlib.util

    from largegan.errors import ConfigError, EnvironmentFault

    out = arguments.out
    if importlib.util.find_spec("resvg_py") is None:
        raise EnvironmentFault("the renderer is not installed; pip install resvg-py")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise ConfigError(f"{out} exists already; remove it or choose another output folder")
    folder = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        package = arguments.package or fetch_package(folder)
        parts = build(arguments, package, folder)
        for archive in folder.glob("*.tgz"):
            archive.unlink()
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{out}: " + ", ".join(f"{len(names)} names in {part}" for part, names in parts.items()))
    print("next:")
    if arguments.pairs:
        print(f"  python tools/pack.py {out}/pairs DATA --paired --format png")
    else:
        for domain in "ab":
            words = f"{out}/train_{domain} DATA --domain {domain} --format png"
            print(f"  python tools/pack.py {words}")


def main() -> int:
    arguments = parse_arguments()
    from largegan.errors import UserError

    try:
        run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
