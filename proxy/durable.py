"""Files that survive a power cut: what has returned is on the disk, and what has not is what it was."""

import os
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """*path* has this *content* from now on, and nobody else may read it. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes what was created in it, and renames, survive a power cut."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
