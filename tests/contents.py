"""What files hold, in a form that is short to read where two of them are compared."""

import hashlib
from pathlib import Path


def digests(root: Path, *parts: str) -> dict[str, str]:
    """The SHA-256 of every file in folders of `root`, by its path from there; without `parts`, of all files. The digests' beginnings are enough."""
    found = (file for part in parts or ("",) for file in (root / part).rglob("*") if file.is_file())
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in sorted(found)
    }
