"""Files are known by the sha256 of their bytes."""

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hexadecimal, read piece by piece. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
