"""The tags that a tagger knows, and how the ones it finds in a picture are written."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.tagger_files import CHARACTERS, DEEPDANBOORU, WD14
from pseudoword.errors import UserError

# Danbooru's numbers for its categories; the taggers' makers use 9 for the ratings.
CATEGORIES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta", "9": "rating"}


class BadTags(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path}: {found}. Wanted beside the model is {WD14} with the columns name and category "
            f"({', '.join(f'{number} {name}' for number, name in CATEGORIES.items())}), or {DEEPDANBOORU} with one tag "
            "a line, as they come with the tagger."
        )


class Tag(NamedTuple):
    name: str
    category: str


def read_tags(path: Path) -> list[Tag]:
    """The tags in the order of the tagger's scores. Raises BadTags."""
    tags = _read_wd14(path) if path.name == WD14 else _read_deepdanbooru(path)
    if not tags:
        raise BadTags(path, "holds no tags")
    return tags


def _read_wd14(path: Path) -> list[Tag]:
    try:
        rows = list(csv.DictReader(io.StringIO(_text(path))))
    except csv.Error as error:
        raise BadTags(path, f"is no CSV ({error})") from None
    found = []
    for line, row in enumerate(rows, 2):
        name, number = row.get("name"), row.get("category")
        if name is None or number is None:
            raise BadTags(path, f"line {line} has no {'name' if name is None else 'category'}")
        if number not in CATEGORIES:
            raise BadTags(path, f"line {line} has the category {number!r}")
        found.append(Tag(_one_line(name), CATEGORIES[number]))
    return found


def _read_deepdanbooru(path: Path) -> list[Tag]:
    beside = path.with_name(CHARACTERS)
    characters = {_one_line(line) for line in _text(beside).splitlines()} if beside.is_file() else set()
    found = []
    for name in filter(None, map(_one_line, _text(path).splitlines())):
        category = "rating" if name.startswith("rating:") else "character" if name in characters else "general"
        found.append(Tag(name, category))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadTags(path, f"cannot be read ({error})") from None
    except UnicodeDecodeError as error:
        raise BadTags(path, f"is not UTF-8 text (byte {error.start})") from None


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())


@dataclass(frozen=True)
class Writing:
    """Which tags are written, in which order, and how; the fields are those of caption.tagger."""

    threshold: float = 0.35
    character_threshold: float = 0.85
    skip: Sequence[str] = ("rating",)
    leave_out: Sequence[str] = ()
    sort: str = "score"
    spaces: bool = True
    escape: bool = False
    ranks: bool = False

    def write(self, tags: Sequence[Tag], scores: Sequence[float]) -> str:
        """The tags whose scores (0 to 1) reach the threshold, joined by commas; empty when none does."""
        unwanted = {_same(name) for name in self.leave_out}
        found = [
            (tag.name, score)
            for tag, score in zip(tags, scores, strict=True)
            if tag.category not in self.skip
            and score >= (self.character_threshold if tag.category == "character" else self.threshold)
            and _same(tag.name) not in unwanted
        ]
        found.sort(key=lambda tag: (-tag[1] if self.sort == "score" else 0, tag[0]))
        return ", ".join(self._write_one(*tag) for tag in found)

    def _write_one(self, name: str, score: float) -> str:
        # A name without two letters in a row is a face, such as ^_^ or o_o.
        if self.spaces and re.search(r"[^\W\d_]{2}", name):
            name = name.replace("_", " ")
        if self.escape:
            name = re.sub(r"([\\()])", r"\\\1", name)
        return f"({name}:{score:.3f})" if self.ranks else name


def _same(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
