"""A person's own texts beside the pictures: <picture>.txt files and edits in captions.yaml."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pseudoword.errors import UserError

EXAMPLE = 'dog-1.jpg: {caption: "in the snow", draft: "a dog in the snow"}'
KEYS = {"caption", "draft"}


class NotUtf8(UserError):
    def __init__(self, path: Path, byte: int) -> None:
        super().__init__(f"{path} is not UTF-8 text: byte {byte} does not fit. Save it again as UTF-8.")


class BadEdits(UserError):
    def __init__(self, path: Path, line: int, found: str) -> None:
        super().__init__(
            f"{path}, line {line}: found {found}. Wanted is one line for each picture by its file name, "
            f"where the draft that the edit answers may be left out:\n  {EXAMPLE}"
        )


class Edit(NamedTuple):
    """A caption from captions.yaml, the draft that it answers (None: whichever) and its line in the file."""

    caption: str
    draft: str | None
    line: int


def one_line(text: str) -> str:
    """The text without line breaks, control characters, spaces at its ends and what UTF-8 cannot hold."""
    text = text.encode(errors="replace").decode()
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark. Raises NotUtf8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUtf8(path, error.start) from None


def find_text(picture: Path, texts: dict[str, Path]) -> Path | None:
    """`dog.jpg.txt` before `dog.txt` for dog.jpg; `texts` are the files that there are, by name."""
    return texts.get(f"{picture.name}.txt") or texts.get(f"{picture.stem}.txt")


def list_texts(folder: Path) -> dict[str, Path]:
    """All caption files of the folder by name; links that lead out of it are left out, as for pictures."""
    inside = folder.resolve()
    texts = (path for path in folder.iterdir() if path.suffix.lower() == ".txt" and not path.name.startswith("."))
    return {f"{path.stem}.txt": path for path in texts if path.is_file() and path.resolve().is_relative_to(inside)}


def read_edits(path: Path) -> dict[str, Edit]:
    """The edits of a captions.yaml by picture file name; none when there is no such file. Raises BadEdits, NotUtf8."""
    if not path.exists():
        return {}
    try:
        # Not PyYAML: it takes the last of two edits of one picture in silence, and knows no lines.
        content = YAML().load(read_text(path))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadEdits(path, line, one_line(str(error.problem)).removeprefix("but ").removeprefix("found ")) from None
    except (YAMLError, ValueError) as error:
        raise BadEdits(path, 1, one_line(str(error))) from None
    if content is None:
        return {}
    if not isinstance(content, CommentedMap):
        raise BadEdits(path, 1, _kind(content))
    lines = {name: place[0] + 1 for name, place in (content.lc.data or {}).items()}
    return {name: _edit(path, name, value, lines.get(name, 1)) for name, value in content.items()}


def _edit(path: Path, name: Any, value: Any, line: int) -> Edit:
    if not isinstance(name, str):
        raise BadEdits(path, line, f"{name!r} as a file name; put it in quotes")
    if not isinstance(value, dict) or "caption" not in value:
        raise BadEdits(path, line, f"{_kind(value)} for '{name}', without a caption")
    for key, text in value.items():
        if key not in KEYS:
            raise BadEdits(path, line, f"the key '{key}' for '{name}'; there are caption and draft")
        if not isinstance(text, str):
            raise BadEdits(path, line, f"{_kind(text)} as {key} of '{name}'; put it in quotes")
    draft = value.get("draft")
    return Edit(one_line(value["caption"]), None if draft is None else one_line(draft), line)


def _kind(value: Any) -> str:
    names = {dict: "keys and values", list: "a list", str: "a text", bool: "true or false", int: "a number"}
    return next(
        (name for kind, name in names.items() if isinstance(value, kind)), "nothing" if value is None else "a value"
    )
