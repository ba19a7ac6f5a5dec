"""Check WebDataset shards: checksums, headers, labels and every image; name all that is bad.

SHARDS is a folder, a .tar, an index.json, a quoted pattern or bundled:NAME. The exit code is 3 if
anything is bad.
"""

import argparse

from largegan.cli import exit_code, new_parser, with_progress
from largegan.files.words import to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("verify", __doc__)
    parser.add_argument(
        "shards", type=to_source, help="folder, .tar, index.json, pattern or bundled:NAME"
    )
    parser.add_argument(
        "--write-index", action="store_true", help="write a new index beside sound shards"
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    from largegan.data.verify import verify, write_index_of
    from largegan.errors import DataError

    report = verify(
        arguments.shards,
        use_index=not arguments.write_index,
        progress=lambda items, total: with_progress(items, total, what="verifying"),
    )
    for fault in report.faults:
        print(f"bad: {fault}")
    for sentence in report.account.sentences():
        print(f"note: {sentence}")
    print_summary(report)
    if arguments.write_index:
        print(f"wrote {write_index_of(report, arguments.shards)}")
    return DataError.exit_code if report.faults else 0


def print_summary(report) -> None:
    info = report.index.info()
    for label, count in enumerate(info.label_counts):
        name = info.class_names[label] if info.class_names else ""
        print(f"class {label:4d}: {count:8d} {100 * count / max(info.count, 1):6.2f} %  {name}")
    print(
        f"{len(report.index.shards)} shard(s), {info.count} images of {info.height}x{info.width}x"
        f"{info.channels}, {info.num_classes or 'no'} classes, "
        f"{'compared with' if report.indexed else 'without'} an index: "
        f"{len(report.faults) or 'nothing'} bad"
    )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
