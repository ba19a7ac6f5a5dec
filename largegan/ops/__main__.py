"""Which implementation largegan.ops uses here, and why.

  python -m largegan.ops doctor              finds, compiles, launches and compares the kernels
  python -m largegan.ops doctor --gpu 80     without a GPU: compiles for compute capability 8.0
  python -m largegan.ops table               all ops, as a table in Markdown

Without a GPU the kernels are compiled and not run. Kernels that were compiled stay in the cache
(LARGEGAN_CACHE, else ~/.cache/largegan), also for other machines that see that folder.
LARGEGAN_OPS chooses: auto (default) takes kernels where they can be had and says once why not;
require makes that an error, and refuses to train on a CPU; eager takes PyTorch's operations. What
else is computed on a CPU takes those under every choice.

Exit codes: 0 the ops work, with kernels or, where there is no NVIDIA GPU, with PyTorch's
operations; 4 there is a GPU and kernels cannot be used or compute something else, a kernel does
not compile, or LARGEGAN_OPS asks for what is not here.
"""

import sys

from largegan.files.words import Number, Parser
from largegan.ops.doctor import report
from largegan.ops.table import markdown


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    parser = Parser(prog="python -m largegan.ops", description=__doc__)
    parser.add_argument("command", choices=["doctor", "table"])
    parser.add_argument(
        "--gpu",
        type=Number("Capability"),
        default=90,
        metavar="NN",
        help="compute capability, times ten",
    )
    arguments = parser.parse_args(argv)
    if arguments.command == "table":
        print(markdown(), end="")
        return 0
    return report(arguments.gpu)


if __name__ == "__main__":
    sys.exit(main())
