"""Import another code's checkpoint as a run, without executing anything of it.

  largegan import_checkpoint network-snapshot-025000.pkl runs/ffhq      StyleGAN2, StyleGAN3, R3GAN,
                                                                        Projected GAN (generator)
  largegan import_checkpoint weights/BigGAN_I128 runs/biggan            BigGAN-PyTorch's folder
  largegan import_checkpoint checkpoints/horse2zebra runs/zebra         CycleGAN, pix2pix, CUT
  largegan import_checkpoint checkpoints/maps runs/maps --epoch 200 --resolution 256
  largegan import_checkpoint network-snapshot-025000.pkl --list         what it holds, no more

RUN is an ordinary run directory: sample, fid, translate, export and walk read it,
and training starts from it (--run.init_from RUN), or goes on where the source had its optimizers
(--run.dir RUN --run.resume auto --data.path SHARDS). Pickles are read, never executed: what calls
anything is refused. Exit codes: 2 arguments, 3 the source is damaged, hostile or of another kind,
4 the machine or its disk.
"""

import argparse

from largegan.cli import exit_code, new_parser
from largegan.files.words import Number, to_name, to_path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("import_checkpoint", __doc__)
    parser.add_argument("source", type=to_path, help="a file or folder of another code's")
    parser.add_argument("run", type=to_path, nargs="?", help="the run directory to write")
    add = parser.add_argument
    add("--list", action="store_true", help="say what the source holds, and write nothing")
    add(
        "--epoch",
        type=to_name,
        help="which of a folder's checkpoints: an epoch, or the name of a copy",
    )
    add("--resolution", type=Number("Side"), metavar="PIXELS",
        help="side of the training images, where the source does not say it")  # fmt: skip
    add("--statistics", choices=("running", "own"), default="running",
        help="what batch norm of a translator uses: the running averages of training (default), "
        "or each image's own, as pix2pix's test.py does without --eval")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an earlier import")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError

    if arguments.run is None and not arguments.list:
        raise ConfigError("give RUN, the directory to write, or --list")

    from largegan.files.claims import Outputs
    from largegan.interop.importing import ImportOptions, find, write_run

    options = ImportOptions(arguments.epoch, arguments.resolution, arguments.statistics)
    found = find(arguments.source, options)
    for line in found.described():
        print(line)
    if arguments.list:
        return
    Outputs([arguments.source]).folder(arguments.run, apart=True)
    path, notes = write_run(found, arguments.run, overwrite=arguments.overwrite)
    for note in notes[len(found.notes) :]:
        print(f"  note: {note}")
    print(f"imported as {path}")


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
