"""List what the cache keeps of images that were trained on as they are, or remove some of it.

Features that a killed score has left, for the next one to go on, are listed with them.

  largegan cache                                  size, images, when it was last used, and of what
  largegan cache --clear                          removes what no run has opened for 30 days
  largegan cache --clear --unused-days 0          removes all of it

The cache is $LARGEGAN_CACHE, else ~/.cache/largegan; --dir names another (data.cache_dir). A run
packs what it misses again when it starts; do not remove what a run reads at this moment.
Exit codes: 2 arguments, 4 the disk.
"""

import argparse
from pathlib import Path

from largegan.cli import exit_code, new_parser
from largegan.files.words import Number, to_path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("cache", __doc__)
    parser.add_argument("--dir", type=to_path, metavar="FOLDER", help="the cache (default: above)")
    parser.add_argument("--clear", action="store_true", help="remove what was not used for long")
    parser.add_argument("--unused-days", type=Number("Halflife"), default=30.0, metavar="DAYS",
        help="how long that is (default: 30)")  # fmt: skip
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises EnvironmentFault."""
    from largegan.data.copies import copies_in, remove
    from largegan.data.reading import default_folder

    folder = arguments.dir or default_folder()
    if not arguments.clear:
        tell(folder, copies_in(folder), "kept")
        return
    tell(folder, list(remove(folder, unused_days=arguments.unused_days)), "removed")
    if kept := copies_in(folder):
        print(
            f"{folder}: {len(kept)} copies kept, which were used less than "
            f"{arguments.unused_days:g} days ago; --unused-days 0 removes these too"
        )


def tell(folder: Path, copies: list, what: str) -> None:
    for copy in copies:
        images = "" if copy.images is None else f", {copy.images} images"
        of = f", of {', '.join(copy.sources)}" if copy.sources else ""
        print(f"{copy.path}: {copy.bytes / 1e6:.1f} MB{images}, used {copy.used:.0f} days ago{of}")
    total = sum(copy.bytes for copy in copies) / 1e6
    print(f"{folder}: {len(copies)} copies {what}, {total:.1f} MB")


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
