"""Files written whole or not at all: a killed stage leaves nothing that looks finished."""

import glob
import hashlib
import os
import platform
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from psutil import pid_exists

if TYPE_CHECKING:  # whoever has a table has imported it
    import pandas as pd


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is flushed to disk and takes place and rights of `path`.

    What killed writers of the same file left beside it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _left_behind(path):
        left.unlink(missing_ok=True)
    partial = _partial(path, os.getpid())
    try:
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                partial.chmod(stat.S_IMODE(path.stat().st_mode))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a write tells none, and nobody asked for the partial one
            error.filename = str(path)
        raise


def _partial(path: Path, pid: int | str) -> Path:
    # With the machine's name: on a shared disk a process id says nothing of another machine's processes.
    return path.with_name(f".{path.name}.{platform.node()[:32]}.{pid}.partial")


def _left_behind(path: Path) -> Iterator[Path]:
    for partial in path.parent.glob(_partial(Path(glob.escape(str(path))), "*").name):
        pid = partial.suffixes[-2].removeprefix(".")
        if pid.isdecimal() and not pid_exists(int(pid)):
            yield partial


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """A CSV without an index column; floats with the shortest text that reads back to the same number."""
    with atomic(path) as partial:
        table.to_csv(partial, index=False)


def save_with(path: Path, save: Callable[[Path], object]) -> None:
    """Let `save` (Pillow's, safetensors') write to a temporary name that then becomes `path`."""
    with atomic(path) as partial:
        save(partial)
