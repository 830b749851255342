"""The person's folder: which of its files are meant to be pictures, which are masks, what to say when none is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pseudoword.errors import UserError
from pseudoword.files import sha256_of

MAX_NAMES = 10
TEXT_SUFFIXES = (".txt", ".caption")  # of captions; the first wins, kohya's tools write the second
MASK_SUFFIX = ".mask.png"
NEARLY_MASK = re.compile(r"(.+?)[-._ ]+mask", re.IGNORECASE)  # of a name without its ending
MAX_FILE_BYTES = 2 * 2**30  # bytes; more than the largest picture that is opened takes without any compression


class NoFolder(UserError):
    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"data.folder: '{folder}' cannot be read: {reason}. "
            "Set data.folder in params.yaml to the folder that holds your pictures."
        )


class NothingUsable(UserError):
    def __init__(self, folder: Path, skipped: list[tuple[str, str]]) -> None:
        found = "".join(f"\n  {name}: {reason}" for name, reason in skipped[:MAX_NAMES])
        more = f"\n  and {len(skipped) - MAX_NAMES} more" if len(skipped) > MAX_NAMES else ""
        super().__init__(
            f"data.folder: '{folder}' holds no picture that can be used. Found {len(skipped) or 'no'} files that are "
            f"no captions{':' if skipped else '.'}{found}{more}\n"
            "Put pictures into it (JPEG, PNG, WebP, TIFF, ...; 5 to 20 are plenty), or set data.folder in params.yaml "
            "to the folder that holds them."
        )


class NotUsable(Exception):
    """Why a file is skipped, in a few words."""


class SourceFile(NamedTuple):
    """A file that may be a picture; `name` is its path below the folder as one line of text."""

    path: Path
    name: str
    mask: Path | None


class Listing(NamedTuple):
    sources: list[SourceFile]
    orphans: list[SourceFile]  # masks of no picture


def list_folder(folder: Path, recursive: bool) -> Listing:
    """All of the folder but captions and dotfiles, sorted by name. Raises NoFolder.

    A sub-folder that is not entered is listed itself, so that it is told of.
    """
    try:
        paths = sorted(_walk(folder, recursive), key=lambda path: path.relative_to(folder).as_posix())
    except OSError as error:
        raise NoFolder(folder, str(error.strerror).lower()) from None
    masks = {path for path in paths if path.name.lower().endswith(MASK_SUFFIX)}
    pictures = [path for path in paths if path not in masks]
    found = {path: next((name for name in _mask_names(path) if name in masks), None) for path in pictures}
    # Cameras and programs write endings as they like; a mask whose name fits one picture exactly is of that one.
    left = {_folded(mask): mask for mask in masks - set(found.values())}
    for path in pictures:
        found[path] = found[path] or next(filter(None, (left.get(_folded(name)) for name in _mask_names(path))), None)
    sources = [SourceFile(path, shown_name(path, folder), mask) for path, mask in found.items()]
    alone = sorted(masks - set(found.values()), key=paths.index)
    return Listing(sources, [SourceFile(path, shown_name(path, folder), None) for path in alone])


def meant_as_masks(sources: list[SourceFile]) -> dict[str, str]:
    """By name, files that are taken for pictures and called as if they were a mask of one beside them, such as
    `dog.mask.jpg` or `dog-mask.png`; and how a mask of it has to be called."""
    beside = {_folded(path.with_suffix("")) for path, _, _ in sources} | {_folded(path) for path, _, _ in sources}
    found = {}
    for path, name, _ in sources:
        near = NEARLY_MASK.fullmatch(path.stem)
        if near and _folded(path.with_name(near[1])) in beside:
            found[name] = f"{near[1]}{MASK_SUFFIX}"
    return found


def _folded(path: Path) -> tuple[Path, str]:
    return path.parent, path.name.casefold()


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if _is_no_picture(path.name):
            continue
        if not (recursive and path.is_dir() and not path.is_symlink()):
            yield path
            continue
        try:
            yield from list(_walk(path, recursive))
        except OSError:
            yield path


def _is_no_picture(name: str) -> bool:
    name = name.lower()
    # `curate` says which captions.yaml it does not read.
    return name.startswith(".") or name in ("captions.yaml", "captions.yml") or name.endswith(TEXT_SUFFIXES)


def _mask_names(path: Path) -> tuple[Path, Path]:
    """The exact one first: of dog.jpg and dog.png, dog.png.mask.png belongs to one of them."""
    return path.with_name(path.name + MASK_SUFFIX), path.with_name(path.stem + MASK_SUFFIX)


def shown_name(path: Path, folder: Path) -> str:
    """The path below the folder in one line: control characters and bytes that are no UTF-8 are '\\r', '\\xff'."""
    text = path.relative_to(folder).as_posix()
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found.group())[1:-1], text)


def check_file(path: Path, folder: Path, recursive: bool) -> None:
    """Raise NotUsable for what no decoder should be given."""
    # A table could not give such a name back.
    if shown_name(path, folder) != path.relative_to(folder).as_posix():
        raise NotUsable("its name is not plain text; rename it")
    if not path.exists():
        raise NotUsable("a link to nothing")
    if path.is_dir():
        raise NotUsable(
            "a link to a folder, or a folder that cannot be read"
            if recursive
            else "a folder; only the files of data.folder itself are read unless preprocess.recursive is true"
        )
    # A pipe would wait for a writer for ever.
    if not path.is_file():
        raise NotUsable("not a regular file")
    if path.stat().st_size == 0:
        raise NotUsable("empty file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise NotUsable(f"a file of more than {MAX_FILE_BYTES // 2**30} GiB")


def content_id(path: Path) -> str:
    """12 hexadecimal digits of the SHA-256 of its bytes. Raises NotUsable."""
    try:
        return sha256_of(path)[:12]
    except OSError as error:
        raise NotUsable(f"cannot be read: {str(error.strerror).lower()}") from None
