"""The person's folder: which of its files are meant to be pictures, and what to say when none is."""

import re
from pathlib import Path

from pseudoword.errors import UserError

SHOWN = 10


class NoFolder(UserError):
    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"data.folder: '{folder}' cannot be read: {reason}. "
            "Set data.folder in params.yaml to the folder that holds your pictures."
        )


class NothingUsable(UserError):
    def __init__(self, folder: Path, skipped: list[tuple[str, str]]) -> None:
        found = "".join(f"\n  {name}: {reason}" for name, reason in skipped[:SHOWN])
        more = f"\n  and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        super().__init__(
            f"data.folder: '{folder}' holds no picture that can be used. Found {len(skipped) or 'no'} files that are "
            f"no captions{':' if skipped else '.'}{found}{more}\n"
            "Put pictures into it (JPEG, PNG, WebP, TIFF, ...; 5 to 20 are plenty), or set data.folder in params.yaml "
            "to the folder that holds them."
        )


def list_files(folder: Path) -> list[Path]:
    """All of the folder but captions and dotfiles, sorted by name, sub-folders included. Raises NoFolder."""
    try:
        return sorted((path for path in folder.iterdir() if _may_be_picture(path.name)), key=lambda path: path.name)
    except OSError as error:
        raise NoFolder(folder, str(error.strerror).lower()) from None


def _may_be_picture(name: str) -> bool:
    return not (name.startswith(".") or name == "captions.yaml" or name.lower().endswith(".txt"))


def shown_name(path: Path) -> str:
    """The file's name as one line of text: control characters and bytes that are not UTF-8 appear as '\\r', '\\xff'."""
    text = path.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found.group())[1:-1], text)
