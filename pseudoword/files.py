"""Files written whole or not at all: a killed stage leaves nothing that looks finished."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever has a table has imported it
    import pandas as pd


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is flushed to disk and takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a write tells none, and nobody asked for the partial one
            error.filename = str(path)
        raise


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
