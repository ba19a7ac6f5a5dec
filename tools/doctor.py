#!/usr/bin/env python
"""The command `largegan doctor`, for scripts and launchers: same options, same exit codes."""

import sys

try:
    from largegan.commands import door
except ImportError:
    print("FAIL  largegan: not installed in this Python; pip install -e .")
    sys.exit(4)

if __name__ == "__main__":
    door("doctor")
