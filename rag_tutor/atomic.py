"""Replaces a file in one step, so that a crash leaves the old one or the new one, and later
removes what it left beside them; knows nothing of what is in it.
"""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX, _SUFFIX = ".rag-tutor-", ".tmp"
# What is younger may belong to a program that is writing it, perhaps on another machine.
_LEFT_OVER_SECONDS = 3600


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary neighbour: write, fsync, rename, fsync.

    Raises OSError; then `path` is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=_SUFFIX)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp lets only the owner read; a note keeps the rights that it had.
        temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_left_overs(folder: Path) -> None:
    """Delete the temporary files, anywhere in a folder, of programs that were killed."""
    for path in folder.rglob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):  # gone meanwhile, or not to be deleted: it does no harm
            if time.time() - path.stat().st_mtime > _LEFT_OVER_SECONDS:
                path.unlink()


def sync_file(path: Path) -> None:
    """Make a file that was written before durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where a folder can be opened: not on Windows."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
