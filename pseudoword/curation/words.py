"""The words of a caption that carry meaning, and where its subject ends."""

import re

from pseudoword.curation.subject import INCIDENTAL


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SMALL = _words(
    "a an the this that these those some of in on at by to for from into onto over under near next with without and or "
    "but as than while top front back side left right his her hers its it their theirs he she they him them is are was "
    "be been being there up down out off around between very other another each one two three background backdrop"
)
COLOURS = _words(
    "black white grey gray red green blue yellow orange purple violet pink brown beige golden silver dark light bright"
)
IRREGULAR = {"men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
             "leaves": "leaf", "mice": "mouse", "geese": "goose", "knives": "knife", "shelves": "shelf"}  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
WITH = re.compile(r"\bwith\b", re.IGNORECASE)


def singular(word: str) -> str:
    """'bushes' -> 'bush'. A guess for English that only has to be the same for both forms."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and re.search(r"[^sui]s$", word) else word


def content_words(text: str, colours: bool = True) -> list[str]:
    """The words of a text in their order, lower case and singular, without small words (and colours, if you like)."""
    words = (singular(word.removesuffix("'s")) for word in WORD.findall(text.lower()) if word not in SMALL)
    return [word for word in words if colours or word not in COLOURS]


def start_of(caption: str) -> str:
    """The subject that a caption begins with, lower case; empty when it begins with what is incidental.

    "A woman, with a hat" and "a woman wearing a hat" -> "a woman";  "in the snow" -> ""
    """
    return caption[: _end_of_start(caption)].strip(" ,.").lower()


def without_start(caption: str) -> str:
    return caption[_end_of_start(caption) :].strip(" ,.")


def _end_of_start(caption: str) -> int:
    return min((found.start() for rule in (INCIDENTAL, WITH) if (found := rule.search(caption))), default=len(caption))
