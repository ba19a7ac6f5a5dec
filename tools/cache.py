#!/usr/bin/env python
"""The command `largegan cache`, for scripts and launchers: same options, same exit codes."""

from largegan.commands import door

if __name__ == "__main__":
    door("cache")
