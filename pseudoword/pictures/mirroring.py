"""Mirrored copies of pictures, told by the ends of their ids, and what a text about their source says of them."""

import re
from collections.abc import Iterable

LEFT_TO_RIGHT = ("-h", "-hv")
MIRRORED = (*LEFT_TO_RIGHT, "-v")
OTHER_SIDE = {"left": "right", "right": "left"}
SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand(?:ed)?)?\b)", re.IGNORECASE)


def is_mirrored(name: str) -> bool:
    """Left to right."""
    return name.endswith(LEFT_TO_RIGHT)


def unmirrored(ids: Iterable[str]) -> int:
    """How many pictures there are, without mirrored copies: these show nothing that more vectors would be there for."""
    return sum(not name.endswith(MIRRORED) for name in ids)


def said_of(name: str, text: str) -> str:
    """A text about the source of the picture with the id `name`, as it holds for that picture.

    "Left of a table" -> "Right of a table" of a mirrored one
    """
    return SIDE.sub(lambda found: _cased(OTHER_SIDE[found[0].lower()], found[0]), text) if is_mirrored(name) else text


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
