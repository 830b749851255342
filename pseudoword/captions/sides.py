"""Left and right in what is said of a picture, which change places in a mirrored copy of it."""

import re

from pseudoword.pictures.ids import PictureId

OTHER_SIDE = {"left": "right", "right": "left"}
SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand(?:ed)?)?\b)", re.IGNORECASE)


def text_for(picture_id: str, text: str) -> str:
    """A text about the source of a picture, as it holds for that picture.

    "Left of a table" -> "Right of a table" of one that is mirrored left to right
    """
    if not PictureId.parse(picture_id).left_is_right:
        return text
    return SIDE.sub(lambda found: _cased(OTHER_SIDE[found[0].lower()], found[0]), text)


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
