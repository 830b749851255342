"""File locks between processes. The kernel frees a lock whatever happens to the process that holds it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: there two processes that get into each other's way are the user's to avoid.
    fcntl = None  # type: ignore[assignment]

WAIT_S = 1.0


@contextmanager
def file_lock(path: Path, wait_message: str | None, temporary: bool = False) -> Iterator[bool]:
    """Hold the lock while the body runs; yields whether it is held.

    wait_message  printed once, after "waiting for ", when another process holds the lock. None: yield False then
    temporary     the file is deleted at the end
    """
    if fcntl is None:
        yield True
        return
    lock = _acquire(path, wait_message)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            if temporary:
                path.unlink(missing_ok=True)
            os.close(lock)


def _acquire(path: Path, wait_message: str | None) -> int | None:
    waiting = False
    while True:
        lock = _open(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _has_the_name(lock, path):
                return lock
        except BlockingIOError:
            if wait_message is None:
                os.close(lock)
                return None
            if not waiting:
                print(f"waiting for {wait_message}")
            waiting = True
            time.sleep(WAIT_S)
        os.close(lock)


def _open(path: Path) -> int:
    """To read, which is enough to lock it and possible for another user's; never through a link somebody laid there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW)
        os.fchmod(lock, 0o644)
        return lock


def _has_the_name(lock: int, path: Path) -> bool:
    """The last holder may have deleted the file, so what was locked may be one that nobody else will ever find."""
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
