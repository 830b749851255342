"""The objects of DVC's cache that are no longer what their names say.

DVC takes a write-protected object for whole without reading it, checks it out, and writes into dvc.lock what came of
it.
"""

import hashlib
import json
import stat
from pathlib import Path

from pseudoword.files import write_text

OBJECTS = Path(".dvc/cache/files/md5")  # a cache elsewhere may be of other projects too
PROTECTED = 0o444


def remove_damaged(memory: Path) -> list[Path]:
    """Delete the objects whose content is another than their names say; DVC runs or fetches again what it lacks.

    memory   file with size and time of each object that was found whole: only an object with others is read
    """
    known, whole, damaged = _recall(memory), {}, []
    for path in sorted(OBJECTS.glob("??/*")):
        state = path.stat()
        if stat.S_IMODE(state.st_mode) != PROTECTED:  # DVC looks into it itself, or is just writing it
            continue
        digest, mark = path.parent.name + path.name, [state.st_size, state.st_mtime_ns]
        if known.get(digest) == mark or _md5(path) == digest.removesuffix(".dir"):
            whole[digest] = mark
        else:
            path.unlink()
            damaged.append(path)
    if whole != known:
        write_text(memory, json.dumps(whole))
    return damaged


def _recall(memory: Path) -> dict[str, list[int]]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
