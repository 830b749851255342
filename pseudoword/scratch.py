"""The scratch: finished work that a later run can take up again, outside the outputs that DVC deletes before a stage.

It lies in `.scratch` of the project, or where PSEUDOWORD_SCRATCH says: a folder that the workspaces of a machine share.
Files in it are written atomically, and whoever writes more than one file of an entry holds the entry's lock.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pseudoword.locks import file_lock

VARIABLE = "PSEUDOWORD_SCRATCH"
LOCKS = "locks"
KEPT_DAYS = 30  # since an entry was last used


def scratch(stage: str) -> Path:
    """The folder of a stage's entries."""
    return _root() / stage


def _root() -> Path:
    return Path(os.environ.get(VARIABLE) or ".scratch").expanduser()


@contextmanager
def held(entry: Path) -> Iterator[None]:
    """Hold the lock of an entry while the body runs; wait for another process that does."""
    with file_lock(_lock_of(entry), f"another process, which works on {entry}", temporary=True):
        yield


def mark_used(entry: Path) -> None:
    """Keep an entry from being pruned for another KEPT_DAYS."""
    os.utime(entry)


def prune(folder: Path) -> None:
    """Delete the entries of a folder that nobody has used for KEPT_DAYS, but none that is held."""
    for entry in folder.iterdir():
        if _is_unused(entry):
            with file_lock(_lock_of(entry), None, temporary=True) as locked:
                if locked and _is_unused(entry):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def _is_unused(entry: Path) -> bool:
    try:
        newest: float = max(path.stat().st_mtime for path in (entry, *(entry.iterdir() if entry.is_dir() else ())))
    except OSError:  # another process deletes it just now
        return False
    return time.time() - newest > KEPT_DAYS * 24 * 3600


def _lock_of(entry: Path) -> Path:
    return _root() / LOCKS / f"{entry.parent.name}-{entry.name}.lock"
