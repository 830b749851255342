"""What in data.folder would stop DVC itself: it reads every file there, before any stage could say a word."""

import difflib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_TOLD = 10  # files in one message
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def folder_problems(folder: Path, outputs: Path = Path("outputs")) -> list[str]:
    """One line for each thing that has to change first."""
    if folder.parts[:1] and folder.parts[0].startswith("~"):
        return [f"data.folder: found '{folder}', which DVC takes as it is written; write {folder.expanduser()}"]
    if not folder.is_dir():
        return [f"data.folder: '{folder}' {_why_no_folder(folder)}"]
    here, there = folder.resolve(), outputs.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        return [f"data.folder: '{folder}' holds the pipeline's own outputs; give the pictures a folder of their own"]
    found = [f"data.folder: {_shown(path)} {problem}" for path, problem in _in_the_way(folder)]
    more = [f"data.folder: {len(found) - MAX_TOLD} more of the kind"] if len(found) > MAX_TOLD else []
    return found[:MAX_TOLD] + more


def _why_no_folder(folder: Path) -> str:
    if folder.is_symlink():
        return f"is a link to {folder.readlink()}, which is not there"
    if folder.exists():
        return "is a file; wanted the folder that the pictures lie in"
    parent = next(place for place in (folder.parent, *folder.parent.parents) if place.is_dir())
    beside = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    near = difflib.get_close_matches(folder.name, beside, 1)
    return "is not there" + (f", did you mean '{parent / near[0]}'?" if near else f"; seen from {Path.cwd()}")


def _shown(path: Path) -> str:
    """Bytes that are no UTF-8 as '\\xe9'."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _in_the_way(folder: Path) -> Iterator[tuple[Path, str]]:
    """What is neither a file nor a folder, cannot be read, or has a name that DVC cannot write down. Links are
    followed, as DVC does."""
    waiting: list[tuple[Path, tuple[Path, ...]]] = [(folder, (folder.resolve(),))]
    while waiting:
        place, above = waiting.pop()
        try:
            paths = sorted(place.iterdir())
        except OSError as error:
            yield place, f"cannot be read ({error.strerror}); change its permissions, or take it away"
            continue
        for path in paths:
            if _shown(Path(path.name)) != path.name:
                yield path, "has a name that is not UTF-8, which DVC cannot write down; rename it"
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                yield path, f"is a link to {path.readlink()}, which is not there; mend it, or take it away"
                continue
            except OSError as error:
                yield path, f"cannot be read ({error.strerror}); take it away"
                continue
            if stat.S_ISDIR(mode):
                real = path.resolve()
                if real in above:
                    yield path, f"leads back to {real}, round and round; take it away"
                else:
                    waiting.append((path, (*above, real)))
            elif not stat.S_ISREG(mode):
                kind = KINDS.get(stat.S_IFMT(mode), "no file")
                yield path, f"is {'a link to ' * path.is_symlink()}{kind}, which DVC would wait for; take it away"
            elif not os.access(path, os.R_OK):
                yield path, "may not be read; change its permissions, or take it away"
