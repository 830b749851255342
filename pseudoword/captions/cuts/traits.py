"""Cutting from captions of a person what the word is to learn: age, origin, looks; and beginning all of them alike.

"a young asian woman in her twenties with long hair in the snow" -> "a woman, with long hair in the snow"
"a smiling old woman" -> "a woman, smiling"

The words are those of traits.txt, and manner.txt says what is a picture of somebody.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.cuts.colourless import COLOURLESS, colourless_photo
from pseudoword.captions.cuts.manner import Trimmed
from pseudoword.captions.cuts.wordlist import any_of, read_sections
from pseudoword.captions.subject import DETERMINER, INCIDENTAL, PLACE
from pseudoword.captions.words import WORD, end_of_start, singular

NO_PERSON = "person"  # what the init text is taken to name where it names no kind of person
YEARS = r"(?:\d+|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty)[\s-]+years?[\s-]+olds?"
LINKS = frozenset("a an and the very looking".split())  # noqa: SIM905
# Not within a noun phrase, but right after it.
STOP = rf"(?:{DETERMINER}|{PLACE}|of|for|to|from|with|without|as|like|and|or|is|are|was|has|that|which|who)\b"
HOLDING = r"(?:holding|carrying|hugging|kissing|riding|watching|feeding|licking)\b"
WORD_OF = rf"(?!{STOP}|{HOLDING})[\w-]+"


class _Words(NamedTuple):
    people: frozenset[str]
    trait: re.Pattern[str]
    tag: re.Pattern[str]
    subject: re.Pattern[str]  # "a photo of a smiling woman"
    company: re.Pattern[str]  # "and her child", right after it


@cache
def _words() -> _Words:
    words = read_sections(Path(__file__).with_name("traits.txt"))
    media = read_sections(Path(__file__).with_name("manner.txt"))["media"]
    traits = rf"(?:{YEARS}|{any_of(words['ages'], words['origins'], words['looks'], words['made up'])})(?![\w-])"
    person = rf"\b1?{any_of(words['people'])}\b"
    ending = r"\w+(?:ing|ed|y|ful|less|ous)"
    view_of = (
        rf"(?:(?:{DETERMINER})\s+)?(?:\w+ing\s+)?(?:(?:{COLOURLESS.pattern}|(?!\w+ing\b|{person}){WORD_OF}),?\s+){{0,5}}?"
        rf"{any_of(media, words['views'])}(?:e?s)?\s+of\s+"
    )
    # A model train is no model, and a woman's hat no woman.
    follows = rf"(?=\s*(?:[.,;:]|$)|\s+(?:\w+ly\s+)?(?:{STOP}|alone\b|(?x:{INCIDENTAL.pattern})))"
    return _Words(
        people=frozenset(words["people"]),
        trait=_compiled(rf"(?:\bvery\s+)?(?<![\w-]){traits}(?:\s+looking\b)?"),
        tag=_compiled(rf"(?<![\w-])(?:{any_of(words['tags'])})(?![\w-])"),
        subject=_compiled(
            r"\s*(?:(?:there|this|here|it)\s+(?:is|are)\s+|the\s+(?:image|picture|photo)\s+shows\s+)?"
            rf"(?:{view_of}){{0,3}}"
            rf"(?:(?:{DETERMINER})\s+(?P<described>(?:(?:{traits}|{ending})\s+and\s+|{WORD_OF},?\s+){{0,8}}?)"
            rf"|(?P<bare>(?:{WORD_OF}\s+){{0,4}}?)){person}(?:\s+{person})*"
            rf"(?:\s+in\s+(?:his|her|their)\s+(?:(?:early|mid|late)[\s-]+)?(?:{traits}|\d0'?s\b))?{follows}"
            r"(?:\s+(?:(?:that|which|who)\s+)?(?:is|are|was)\b)?"
        ),
        company=_compiled(
            rf"\s*(?:(?:,\s*(?:and\s+)?|and\s+|&\s+)(?:{DETERMINER})\s+|(?:and|&)\s+)(?:{WORD_OF}\s+){{0,4}}?"
            rf"(?:{any_of(words['people'], words['others'])}s?|\w*men|children)\b(?![-'\u2019])"
        ),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def beginning(init_text: str) -> str:
    """How the captions of a person begin: "a woman" for "young woman", "a person" where the text names no person."""
    named = _people(init_text)
    noun = named[-1] if named else NO_PERSON
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def cut_traits(text: str, init_text: str = "") -> Trimmed:
    """`text` with the shared beginning in place of the person that it begins with, and without tags of traits.

    What else is said of the person follows. A text that begins with no person, or with several, keeps its beginning:
    lint names it.
    """
    subject = None if begins_with_several(text) else _words().subject.match(text)
    end = subject.end() if subject else end_of_start(text)
    start, cut, parts = text[:end].strip(" ,."), list[str](), list[str]()
    for part in text[end:].split(","):
        if is_trait(part):
            cut.append(part.strip())
        else:
            parts.append(part)
    rest = ",".join(parts).strip(" ,.")
    if subject:
        shared = beginning(init_text)
        if start.lower() != shared:
            cut.insert(0, start)
            rest = ", ".join(filter(None, [_without_traits(_said_of(subject)), rest, colourless_photo(start)]))
        start = shared
    elif start and is_trait(start):
        cut.insert(0, start)
        start = ""
    return Trimmed(", ".join(filter(None, [start, rest])), tuple(cut)) if cut else Trimmed(text)


def trait_words(text: str) -> list[str]:
    """What a text says of age, origin and looks of the person that it begins with."""
    subject = _words().subject.match(text)
    found = _words().trait.finditer(_said_of(subject)) if subject else ()
    return list(dict.fromkeys(match[0].lower() for match in found))


def begins_with_several(text: str) -> bool:
    """Whether a text begins with a person and names another at once: "a man and a woman in a kitchen"."""
    subject = _words().subject.match(text)
    return bool(subject and _words().company.match(text, subject.end()))


def is_trait(part: str) -> bool:
    """Whether a part between commas says nothing but traits: "young", "(1girl:0.9)", "pale skinned"."""
    plain = re.sub(r"[\\()]|:\s*[\d.]+", " ", part)
    rest, traits = _words().trait.subn(" ", plain)
    rest, tags = _words().tag.subn(" ", rest)
    said = bool(traits or tags) and all(word in LINKS for word in WORD.findall(rest.lower()))
    return said and not COLOURLESS.search(part)  # of clothes, or of the photo


def _said_of(subject: re.Match[str]) -> str:
    return subject["described"] or subject["bare"] or ""


def _without_traits(described: str) -> str:
    """What stood before the noun, without traits and the commas and words that led up to them."""
    left = re.sub(r"\s*,(?:\s*,)*\s*", ", ", " ".join(_words().trait.sub(" ", described).split()))
    return re.sub(r"^(?:(?:and\b|,)\s*)+|(?:(?:\s+and\b|,)\s*)+$|^and$", "", left).strip()


def _people(text: str) -> list[str]:
    """The nouns of persons in a text, those in the plural twice."""
    people: list[str] = []
    for word in (word.removesuffix("'s") for word in WORD.findall(text.lower())):
        if singular(word) in _words().people:
            people += [singular(word)] * (1 if word in _words().people else 2)
    return people
