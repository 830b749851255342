"""A draft from the name of a picture's file: `00012-3-a cat.png` says `a cat`."""

import re
from pathlib import PurePosixPath


def read_name(source: str, strip: str, words: str, join: str) -> str:
    """The name of the file `source` without ending, cut by the regular expression `strip` at its start.

    With `words`, another regular expression, only its matches stay (their group, if it has one), joined by `join`.
    """
    text = PurePosixPath(source).stem
    if strip and (found := re.match(strip, text)):
        text = text[found.end() :]
    if words:
        text = join.join(re.findall(words, text))
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
