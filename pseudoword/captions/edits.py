"""captions.yaml, where a person's edits live in git: by picture, each with what it was made for.

dog-1.jpg:
  caption: "in the snow"
  draft: "a dog in the snow"
  who: "Ada"
  when: 2026-11-21
  approved: true
  picture: "1b74ced5fb8f"
  text: "what dog-1.txt says"
"""

from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pseudoword.captions.texts import one_line, read_text
from pseudoword.errors import UserError
from pseudoword.templates import MAX_PROMPT_BYTES

EXAMPLE = 'dog-1.jpg: {caption: "in the snow", draft: "a dog in the snow"}'
# What ruamel.yaml says of a wrong number, date or tag comes in many kinds; all mean that the file is malformed.
NAMES = ("captions.yaml", "captions.yml")
ODD_YAML = (YAMLError, ValueError, TypeError, AttributeError, LookupError, AssertionError, NotImplementedError)


class BadEdits(UserError):
    def __init__(self, path: Path, line: int, found: str) -> None:
        super().__init__(
            f"{path}, line {line}: found {found}. Wanted is one line for each picture by its file name, "
            f"where the draft that the edit answers may be left out:\n  {EXAMPLE}"
        )


class EditsElsewhere(UserError):
    def __init__(self, wanted: Path, found: list[Path]) -> None:
        lines = []
        for path in found:
            place = path.parent.relative_to(wanted.parent).as_posix()
            lines.append(
                f"{path}: was {wanted.name} meant? Rename it."
                if path.parent == wanted.parent
                else f"{path}: move its entries there, with names such as '{place}/dog-1.jpg', and delete it."
            )
        super().__init__("\n  ".join([f"Edits are read from {wanted} alone.", *lines]))


class Edit(NamedTuple):
    """An entry of captions.yaml; `when` is an ISO date.

    It was made for a draft, a picture (its content id) and a person's own text file; None: whichever there is.
    """

    caption: str
    draft: str | None = None
    who: str | None = None
    when: str | None = None
    approved: bool = False
    picture: str | None = None
    text: str | None = None
    line: int = 0


def read_edits(path: Path) -> dict[str, Edit]:
    """The edits of a captions.yaml by picture file name; none when there is no such file. Raises BadEdits, NotUtf8."""
    return parse_edits(read_text(path), path) if path.exists() else {}


def check_places(folder: Path, sources: Iterable[str]) -> None:
    """Raise EditsElsewhere for files beside the sources that are meant to hold edits and are not read."""
    wanted = folder / "captions.yaml"
    places = {folder / parent for source in sources for parent in PurePosixPath(source).parents}
    paths = (path for place in sorted(places) if place.is_dir() for path in sorted(place.iterdir()))
    if found := [path for path in paths if path.name.lower() in NAMES and path != wanted]:
        raise EditsElsewhere(wanted, found)


@lru_cache(maxsize=4)  # a thousand edits take a second, and the review page reads them for every picture
def parse_edits(text: str, path: Path) -> dict[str, Edit]:
    """The edits that the text of a captions.yaml holds; `path` is for the messages. Raises BadEdits."""
    try:
        # Not PyYAML: it takes the last of two edits of one picture in silence, and knows no lines.
        content = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadEdits(path, line, one_line(str(error.problem)).removeprefix("but ").removeprefix("found ")) from None
    except RecursionError:
        raise BadEdits(path, 1, "lists or maps nested without end") from None
    except ODD_YAML as error:
        raise BadEdits(path, 1, one_line(str(error)) or type(error).__name__) from None
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
    fields = {key: _field(path, name, key, text, line) for key, text in value.items()}
    return Edit(**fields, line=line)


def _field(path: Path, name: str, key: Any, value: Any, line: int) -> Any:
    if key == "approved":
        if not isinstance(value, bool):
            raise BadEdits(path, line, f"{_kind(value)} as approved of '{name}', which is true or false")
        return value
    if key == "when":
        return _day(path, name, value, line)
    if key not in ("caption", "draft", "who", "picture", "text"):
        there_are = "caption, draft, who, when, approved, picture and text"
        raise BadEdits(path, line, f"the key '{key}' for '{name}'; there are {there_are}")
    if not isinstance(value, str):
        raise BadEdits(path, line, f"{_kind(value)} as {key} of '{name}'; put it in quotes")
    text = one_line(value)
    if (size := len(text.encode())) > MAX_PROMPT_BYTES:
        raise BadEdits(path, line, f"{size} bytes as {key} of '{name}', where {MAX_PROMPT_BYTES} are the most")
    return text


def _day(path: Path, name: str, value: Any, line: int) -> str:
    try:
        # A date of YAML with a time is a subclass of its date.
        return (value if isinstance(value, date) else date.fromisoformat(value)).isoformat()[:10]
    except (TypeError, ValueError):
        raise BadEdits(path, line, f"{_kind(value)} as when of '{name}', which is a date like 2026-11-21") from None


def _kind(value: Any) -> str:
    names = {dict: "keys and values", list: "a list", str: "a text", bool: "true or false", int: "a number"}
    return next(
        (name for kind, name in names.items() if isinstance(value, kind)), "nothing" if value is None else "a value"
    )
