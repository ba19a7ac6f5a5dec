"""Memory that the C library keeps for the next batch, instead of giving it back and taking it anew.

A feature network on a CPU frees and takes hundreds of megabytes a batch. By default glibc maps
each large block on its own and returns it to the system, which then clears page after page again:
29 % of the processor time of a score (64 images against 64: 29.9 s of it, and 22.0 with this; the
largest resident set grew from 2.2 to 3.1 GB).
"""

import ctypes

# Of glibc's malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """From now on, for this process; whether its C library can (glibc)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no CDLL(None)
        return False
    settings = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 << 20}
    return all([mallopt(name, value) for name, value in settings.items()])
