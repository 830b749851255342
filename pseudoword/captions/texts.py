"""A person's own <picture>.txt beside the pictures, and how any text of theirs becomes one clean line."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pseudoword.errors import UserError
from pseudoword.links import leads_out
from pseudoword.pictures.folder import TEXT_SUFFIXES
from pseudoword.templates import MAX_PROMPT_BYTES


class LinkedText(UserError):
    def __init__(self, paths: list[Path]) -> None:
        found = "\n".join(f"{path} is a link to {path.resolve()}" for path in paths)
        super().__init__(
            f"{found}\nA caption is read from the folder of the pictures alone, as a link could lead to any text of "
            "this machine. Copy the file there in place of the link."
        )


class NotUtf8(UserError):
    def __init__(self, first: dict[Path, int]) -> None:
        """`first` are the places of the first bytes that do not fit, by file."""
        found = "\n".join(
            f"{path} is not UTF-8 text: byte {byte} does not fit." for path, byte in sorted(first.items())
        )
        super().__init__(f"{found} Save it again as UTF-8." if len(first) == 1 else f"{found}\nSave them as UTF-8.")
        self.first = first


class TooLong(UserError):
    def __init__(self, places: dict[str, int]) -> None:
        """`places` have the bytes that each holds."""
        found = "\n".join(f"{place} holds {size} bytes." for place, size in sorted(places.items()))
        super().__init__(
            f"{found}\nA caption holds {MAX_PROMPT_BYTES} at most, which is far more than a model reads at once. "
            "Shorten it, or give the file another ending if it is none."
        )


class Text(NamedTuple):
    """A person's own text file beside a picture, and what it says as one line."""

    path: Path
    said: str


def one_line(text: str) -> str:
    """The text without line breaks, control characters, spaces at its ends and what UTF-8 cannot hold."""
    text = text.encode(errors="replace").decode()
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark. Raises NotUtf8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUtf8({path: error.start}) from None


def read_texts(files: dict[str, Path]) -> dict[str, Text]:
    """What each of the files says. Raises TooLong and NotUtf8, of all that are."""
    sizes = {str(path): path.stat().st_size for path in files.values()}
    if long := {path: size for path, size in sizes.items() if size > MAX_PROMPT_BYTES}:
        raise TooLong(long)
    texts: dict[str, Text] = {}
    odd: dict[Path, int] = {}
    for source, path in files.items():
        try:
            texts[source] = Text(path, one_line(read_text(path)))
        except NotUtf8 as error:
            odd |= error.first
    if odd:
        raise NotUtf8(odd)
    return texts


def find_text(source: str, texts: dict[str, Path]) -> Path | None:
    """`dog.jpg.txt` before `dog.txt` for dog.jpg, and those before `.caption`; `texts` are the files, by name."""
    stem = PurePosixPath(source).with_suffix("")
    names = [f"{name}{suffix}" for suffix in TEXT_SUFFIXES for name in (source, stem)]
    return next((texts[name] for name in names if name in texts), None)


def list_texts(folder: Path, sources: Iterable[str]) -> dict[str, Path]:
    """The caption files beside the sources, by name below `folder`. Raises LinkedText for links that lead out of it."""
    places = {folder, *(folder / PurePosixPath(source).parent for source in sources)}
    paths = (path for place in sorted(places) if place.is_dir() for path in place.iterdir())
    texts = [path for path in paths if path.suffix.lower() in TEXT_SUFFIXES and not path.name.startswith(".")]
    check_links(texts, folder)
    return {
        path.relative_to(folder).with_suffix(path.suffix.lower()).as_posix(): path for path in texts if path.is_file()
    }


def check_links(texts: Iterable[Path], folder: Path) -> None:
    """Raise LinkedText for those that lie neither in the folder nor in DVC's cache."""
    if linked := [path for path in sorted(texts) if leads_out(path, folder)]:
        raise LinkedText(linked)
