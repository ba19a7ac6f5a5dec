"""Write the averaged network of a run as a folder that other programs can load.

  largegan export runs/horse2zebra zebra                    all forms, the first direction
  largegan export runs/horse2zebra horse --direction b_to_a
  largegan export runs/faces generator --forms safetensors,pt2

CHECKPOINT is a run directory (its newest complete checkpoint) or one RUN/checkpoints/NNNNNNNNN.
OUT gets config.json, README.md and these forms:
  safetensors  the weights; `largegan.load("OUT")` opens it in Python, and largegan translate
               takes OUT for CHECKPOINT
  pt2          torch.export.load("OUT/model.pt2").module(check_guards=False); it needs no largegan
  onnx         ONNX for onnxruntime and others; needs `pip install 'largegan[export]'`
A translation network takes images [N, C, H, W] in [-1, 1] of any size from 8 pixels on: the padding
is inside the graph. A generator takes latents [N, z_dim], and labels [N] where there are classes;
where w is truncated, ONNX takes `truncation`, too, a number that may be left out.
Every form is compared with the original on three shapes; if one fails, nothing is written.

Exit codes: 2 arguments, or a form that this network cannot have; 3 the checkpoint is damaged; 4 the
machine, its disk or a missing package.
"""

import argparse

from largegan.cli import add_options, exit_code, new_parser, some_of
from largegan.files.words import to_name, to_path

FORMS = ("safetensors", "pt2", "onnx")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("export", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("out", type=to_path, help="new folder")
    add = parser.add_argument
    add("--direction", type=to_name, help="of a translation, such as b_to_a (default: the first)")
    add("--forms", type=some_of(FORMS), default=FORMS, metavar="A,B",
        help="safetensors, pt2, onnx; the first is always there (default: all)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace what an earlier export left in OUT")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.interop.export import claim, export

    out = arguments.out
    claim(arguments.checkpoint, out, overwrite=arguments.overwrite)
    for name, difference in export(
        arguments.checkpoint, out, forms=arguments.forms, direction=arguments.direction
    ).items():
        print(f"{out / name}: {said(difference)}")


def said(difference: float) -> str:
    if difference == 0:
        return "the same numbers as the original on three shapes"
    return f"within {difference:.1g} of the original on three shapes"


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
