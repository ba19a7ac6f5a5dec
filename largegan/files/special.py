"""What a path may lead to that is no file and no folder: reading it need not come to an end."""

import errno
import os
import stat

KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def special(path: str | os.PathLike) -> str | None:
    """ "a pipe", "a device", "a socket" or "a link in a circle"; None for anything else."""
    try:
        mode = os.stat(path).st_mode
    except OSError as fault:
        return "a link in a circle" if fault.errno == errno.ELOOP else None
    except ValueError:  # a name that no file has
        return None
    return next((name for is_kind, name in KINDS if is_kind(mode)), None)
