#!/usr/bin/env python
"""The command `largegan import_checkpoint`, for scripts: same options, same exit codes."""

from largegan.commands import door

if __name__ == "__main__":
    door("import_checkpoint")
