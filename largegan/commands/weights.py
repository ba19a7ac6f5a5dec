"""Weights of feature networks: list what is here, bring what is missing, check what lies there.

  largegan weights list                               names, sizes, and where each was found
  largegan weights fetch inception                    bring one, on a machine with a network
  largegan weights fetch inception --source FILE      from a copy that somebody else brought
  largegan weights verify                             compare every file with its published sha256

Files go to --dir, else to $LARGEGAN_WEIGHTS, else to ~/.cache/largegan/weights. They are looked for
there, then in torch's and Hugging Face's folders, then in installed packages. Nothing else in
largegan opens a connection for weights, so compute nodes without one only need the folder.
Exit codes: 2 arguments, 3 a file is not the published one, 4 it cannot be had.
"""

import argparse

from largegan.cli import exit_code, new_parser
from largegan.files.words import to_name, to_path, to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("weights", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("list", "what there is, and where"),
        ("fetch", "bring one, checked, in one step"),
        ("verify", "check the sha256 of what is here"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("--dir", type=to_path, help="folder of weights")
        if name != "list":
            amount = "+" if name == "fetch" else "*"
            command.add_argument(
                "names", type=to_name, nargs=amount, metavar="NAME", help="see list"
            )
        if name == "fetch":
            command.add_argument("--source", type=to_source, help="address or file to take it from")
    return parser.parse_args(argv)


def list_weights(arguments: argparse.Namespace) -> int:
    from largegan.metrics import weights

    for row in weights.TABLE.values():
        found = weights.places(row, arguments.dir)
        where = str(found[0]) if found else f"missing: {command_for(row)}"
        print(f"{row.name:18s} {row.bytes / 1e6:6.1f} MB  sha256 {row.sha256[:12]}  {row.about}")
        print(f"{'':18s} {where}")
    return 0


def command_for(row) -> str:
    return row.install or f"largegan weights fetch {row.name}"


def fetch(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from largegan.errors import ConfigError
    from largegan.metrics import weights

    rows = [weights.table_row(name) for name in arguments.names]
    if arguments.source and len(rows) > 1:
        raise ConfigError("--source is one file; fetch one name at a time")
    for row in rows:
        with tqdm(total=row.bytes, unit="B", unit_scale=True, desc=row.name, disable=None) as bar:
            path = weights.fetch(
                row.name,
                arguments.dir,
                source=arguments.source,
                progress=lambda done, total, bar=bar: bar.update(done - bar.n),
            )
        print(f"{path}: {row.bytes} bytes, sha256 as published")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    from largegan.errors import DataError
    from largegan.metrics import weights

    bad = found = 0
    rows = [weights.table_row(n) for n in arguments.names] or list(weights.TABLE.values())
    for row in rows:
        for path in weights.places(row, arguments.dir):
            fault = weights.fault_of(row, path)
            found += 1
            bad += fault is not None
            print(f"{path}: {fault or 'genuine'}")
        if arguments.names and not weights.places(row, arguments.dir):
            print(f"{row.name}: not here; {command_for(row)}")
            bad += 1
    print(f"{found} file(s), {bad or 'nothing'} bad")
    return DataError.exit_code if bad else 0


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    commands = {"list": list_weights, "fetch": fetch, "verify": verify}
    return exit_code(lambda: commands[arguments.command](arguments))
