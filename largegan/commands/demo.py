"""A page to try a model on, served on this machine: seeds, classes, styles; or translation.

  largegan demo runs/faces                     then open the address that it says
  largegan demo models/zebras --port 8080
  largegan demo runs/faces --host 0.0.0.0      everybody who reaches this machine may use it

Only this machine reaches the page unless --host says otherwise; it loads nothing from elsewhere,
nothing is shared or counted. Uploads stay in this machine's folder for temporary files.
Needs `pip install 'largegan[demo]'` (Gradio). Stop it with Ctrl-C.
Exit codes: 2 arguments, 3 the checkpoint is damaged, 4 Gradio is missing or the port is taken.
"""

import argparse
import sys

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import Number, to_name

LOOPBACK = "127.0.0.1"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("demo", __doc__)
    add_options(parser, "checkpoint")
    add = parser.add_argument
    add(
        "--host",
        type=to_name,
        default=LOOPBACK,
        help=f"address to serve on (default: {LOOPBACK}: this machine)",
    )
    add("--port", type=Number("Port"), help="(default: the first free one from 7860 on)")
    add_options(parser, "--device")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.api.load import open_model
    from largegan.api.page import build, serve, wait

    page = build(
        open_model(arguments.checkpoint, device=arguments.device, dtype=None, download=False)
    )
    address = serve(page, host=arguments.host, port=arguments.port)
    print(f"{address} shows {arguments.checkpoint}; Ctrl-C ends it", flush=True)
    if arguments.host != LOOPBACK:
        print("note: whoever reaches this machine may use the page", file=sys.stderr)
    wait(page)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
