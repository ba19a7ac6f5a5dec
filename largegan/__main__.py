"""`python -m largegan COMMAND`, and what launchers start: `torchrun -m largegan COMMAND`."""

from largegan.commands import program

if __name__ == "__main__":
    program()
