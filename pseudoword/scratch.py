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

try:
    import fcntl
except ImportError:  # Windows has no flock: there two workspaces that train one word at once are the user's to avoid.
    fcntl = None  # type: ignore[assignment]

VARIABLE = "PSEUDOWORD_SCRATCH"
LOCKS = "locks"
WAIT_S = 1.0
KEPT_DAYS = 30  # since an entry was last used


def scratch(stage: str) -> Path:
    """The folder of a stage's entries."""
    return _root() / stage


def _root() -> Path:
    return Path(os.environ.get(VARIABLE) or ".scratch").expanduser()


@contextmanager
def held(entry: Path) -> Iterator[None]:
    """Hold the lock of an entry while the body runs; wait for another process that does. The kernel frees it whatever
    happens to this one."""
    with _locked(entry, wait=True):
        yield


def mark_used(entry: Path) -> None:
    """Keep an entry from being pruned for another KEPT_DAYS."""
    os.utime(entry)


def prune(folder: Path) -> None:
    """Delete the entries of a folder that nobody has used for KEPT_DAYS, but none that is held."""
    for entry in folder.iterdir():
        if _is_unused(entry):
            with _locked(entry, wait=False) as locked:
                if locked and _is_unused(entry):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def _is_unused(entry: Path) -> bool:
    try:
        newest: float = max(path.stat().st_mtime for path in (entry, *(entry.iterdir() if entry.is_dir() else ())))
    except OSError:  # another process deletes it just now
        return False
    return time.time() - newest > KEPT_DAYS * 24 * 3600


@contextmanager
def _locked(entry: Path, wait: bool) -> Iterator[bool]:
    """Whether the lock of the entry is held in the body; without `wait` another process may have it."""
    if fcntl is None:
        yield True
        return
    path = _root() / LOCKS / f"{entry.parent.name}-{entry.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquire(path, wait, entry)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            os.close(lock)


def _acquire(path: Path, wait: bool, entry: Path) -> int | None:
    told = False
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _has_the_name(lock, path):
                return lock
        except BlockingIOError:
            if not wait:
                os.close(lock)
                return None
            if not told:
                print(f"waiting: another process works on {entry}")
            told = True
            time.sleep(WAIT_S)
        os.close(lock)


def _has_the_name(lock: int, path: Path) -> bool:
    """The last holder deletes the file, so what was locked may be one that nobody else will ever find."""
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
