"""Cutting from captions of a person what the word is to learn: age, origin, looks; and beginning all of them alike.

"a young asian woman in her twenties with long hair in the snow" -> "a woman, with long hair in the snow"

The words are those of traits.txt.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.cuts.manner import Trimmed
from pseudoword.captions.cuts.wordlist import any_of, read_sections
from pseudoword.captions.words import WORD, end_of_start, singular

NO_PERSON = "person"  # what the init text is taken to name where it names no kind of person
COLOURLESS = re.compile(r"\b(?:black[\s-]+and[\s-]+white|monochrome|gr[ae]yscale|sepia)\b", re.IGNORECASE)
YEARS = r"(?:\d+|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty)[\s-]+years?[\s-]+olds?"
LINKS = frozenset("a an and the very looking".split())  # noqa: SIM905


class _Words(NamedTuple):
    people: frozenset[str]
    trait: re.Pattern[str]
    tag: re.Pattern[str]


@cache
def _words() -> _Words:
    words = read_sections(Path(__file__).with_name("traits.txt"))
    traits = any_of(words["ages"], words["origins"], words["looks"])
    return _Words(
        people=frozenset(words["people"]),
        trait=re.compile(rf"(?<![\w-])(?:{YEARS}|{traits})(?![\w-])", re.IGNORECASE),
        tag=re.compile(rf"(?<![\w-])(?:{any_of(words['tags'])})(?![\w-])", re.IGNORECASE),
    )


def beginning(init_text: str) -> str:
    """How the captions of a person begin: "a woman" for "young woman", "a person" where the text names no person."""
    named = _people(init_text)
    noun = named[-1] if named else NO_PERSON
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def cut_traits(text: str, init_text: str = "") -> Trimmed:
    """`text` with the shared beginning in place of the noun phrase that it begins with, and without tags of traits.

    A text that begins with no person, or with several, keeps its beginning: lint names it.
    """
    end = end_of_start(text)
    start, rest, cut = text[:end].strip(" ,."), text[end:], []
    parts = []
    for part in rest.split(","):
        if is_trait(part):
            cut.append(part.strip())
        else:
            parts.append(part)
    rest = ",".join(parts).strip(" ,.")
    if len(_people(start)) == 1:
        shared = beginning(init_text)
        photo = "black and white photo" if COLOURLESS.search(start) else ""
        if start.lower() != shared:
            cut.insert(0, start)
        start, rest = shared, ", ".join(filter(None, [rest, photo]))
    elif start and is_trait(start):
        cut.insert(0, start)
        start = ""
    return Trimmed(", ".join(filter(None, [start, rest])), tuple(cut)) if cut else Trimmed(text)


def trait_words(text: str) -> list[str]:
    """What a text says of age, origin and looks of the person that it begins with."""
    start = text[: end_of_start(text)]
    return list(dict.fromkeys(match[0].lower() for match in _words().trait.finditer(start))) if _people(start) else []


def is_trait(part: str) -> bool:
    """Whether a part between commas says nothing but traits: "young", "(1girl:0.9)", "pale skinned"."""
    plain = re.sub(r"[\\()]|:\s*[\d.]+", " ", part)
    rest, traits = _words().trait.subn(" ", plain)
    rest, tags = _words().tag.subn(" ", rest)
    return bool(traits or tags) and all(word in LINKS for word in WORD.findall(rest.lower()))


def _people(text: str) -> list[str]:
    """The nouns of persons in a text, those in the plural twice."""
    people: list[str] = []
    for word in (word.removesuffix("'s") for word in WORD.findall(text.lower())):
        if singular(word) in _words().people:
            people += [singular(word)] * (1 if word in _words().people else 2)
    return people
