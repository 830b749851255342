"""Cutting from a caption what names the manner of a picture: its medium, its style, its artist. The content stays.

"an oil painting in the style of Monet of a house by the sea, impressionist" -> "a house by the sea"

The words are those of manner.txt and of the init text. `media` are nouns that are a picture of something; `qualities`
are said of pictures; `materials` follow "in", and `surfaces` "on"; `tags` count where they stand alone between commas;
`always` mean the manner wherever they stand, which is what is left for lint to find.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.cuts.wordlist import any_of, read_sections
from pseudoword.captions.subject import DOING, PLACE
from pseudoword.captions.words import WORD, content_words, singular


class Trimmed(NamedTuple):
    """A text and what was cut from it, in the order in which it stood there."""

    text: str
    cut: tuple[str, ...] = ()


LINKS = frozenset("a an the of on in with and style styles by x".split())  # noqa: SIM905
# A word of a name or of a quality: none that begins another phrase.
PLAIN = rf"(?!(?:an?|the|of|and|with|his|her|its|their|that|which|{PLACE}|{DOING})\b)[\w'\u2019.&-]+"
NAME = rf"{PLAIN}(?:\s+{PLAIN}){{0,4}}"
STYLE_WORD = r"(?:styles?|manner|technique|aesthetic)\b"
SHOWING = r"(?:of|showing|depicting|featuring|portraying|that\s+shows|which\s+shows)"
DONE = r"(?:(?:is\s+|was\s+)?(?:done|made|painted|drawn|rendered|illustrated|sketched|executed)\s+)"
DETERMINER = r"(?:an?|the|some|this|one|two|three|several)"


class _Rules(NamedTuple):
    lead: re.Pattern[str]  # "a black and white photo of"
    bare_lead: re.Pattern[str]  # "an abstract painting" before "with", a comma or the end
    style: re.Pattern[str]  # "in the style of Monet", "in gendoid style"
    material: re.Pattern[str]  # "painted in oils", "in black and white"
    artist: re.Pattern[str]  # "art by Monet" at the end of a part
    entry: re.Pattern[str]
    always: re.Pattern[str]


@cache
def _rules() -> _Rules:
    words = read_sections(Path(__file__).with_name("manner.txt"))
    media, qualities = words["media"], words["qualities"]
    medium = rf"{any_of(media)}(?:e?s)?\b"
    colourless = any_of(tuple(q for q in qualities if q in ("black and white", "sepia", "monochrome", "grayscale")))
    material = rf"(?:{any_of(words['materials'])}|{colourless})\b"
    said_of = rf"(?:{DETERMINER}\s+)?(?:{any_of(qualities)}[,\s]+|(?!{DETERMINER}\b){PLAIN}[,\s]+|and\s+){{0,6}}?"
    opening = (
        r"^\s*(?:(?:this|it|here|there)\s+(?:is|are)\s+|(?:the|an?|this)\s+(?:image|picture|photo)\s+(?:shows|is)\s+)?"
        rf"(?:(?:{DETERMINER}\s+)?(?:close[\s-]?up|detail|view|series|set|collection|pair)\s+of\s+)?"
    )
    end = rf"(?=\s*(?:$|[,.;]|\b(?:{PLACE}|with|of|and|that)\b))"
    return _Rules(
        lead=_compiled(rf"{opening}{said_of}{medium}(?:\s+style)?(?:\s+by\s+{NAME}?)??\s+{SHOWING}\s+(?=\w)"),
        bare_lead=_compiled(
            rf"{opening}(?:{DETERMINER}\s+)?(?:(?:{any_of(qualities, media)})[,\s]+|and\s+){{0,6}}{medium}"
            r"(?=\s*(?:$|[,.;]|with\b))"
        ),
        style=_compiled(
            rf"{DONE}?\bin\s+(?:(?:an?|the|his|her|their)\s+)?(?:(?:{PLAIN}\s+){{1,4}}?{STYLE_WORD}|{STYLE_WORD}(?=\s+of\b))"
            rf"(?:\s+of\s+(?:(?:the|an?)\s+)?{NAME}(?:\s+and\s+{NAME})?)?"
        ),
        material=_compiled(
            rf"{DONE}?\b(?:in|using)\s+(?:{any_of(qualities)}\s+)?{material}(?:\s+(?:and|on)\s+{material})*"
            rf"(?:\s+on\s+{any_of(words['surfaces'])}\b)?{end}"
        ),
        artist=_compiled(
            rf"(?:^|(?:\b(?:{medium}|work|painted|drawn|illustrated|photographed|made|created)\s+))"
            rf"by\s+{NAME}(?:\s+and\s+{NAME})?\s*$"
        ),
        entry=_compiled(
            rf"(?<!\w)(?:{any_of(media, qualities, words['tags'])}|{any_of(words['materials'])}\s+on\s+"
            rf"{any_of(words['surfaces'])})(?:e?s)?(?!\w)"
        ),
        always=_compiled(rf"(?<!\w){any_of(words['always'])}(?:e?s)?(?!\w)"),
    )  # fmt: skip


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def cut_manner(text: str, init_text: str = "") -> Trimmed:
    """`text` without what names the manner. Nothing is added, so that what is left stood there in this order."""
    rules, cut = _rules(), []
    left = text
    for rule in (rules.style, rules.material):
        left, found = _without(left, rule)
        cut += found
    led = False
    while match := (rules.lead.search(left) or rules.bare_lead.search(left)):
        cut.append(match[0])
        left, led = left[match.end() :], True
    taught = {*content_words(init_text)}
    parts = []
    for i, part in enumerate(left.split(",")):
        kept, found = _without_artist(part, rules, led, first=i == 0)
        cut += found
        if _is_tag(kept, rules, taught):
            cut.append(kept)
        elif kept.strip(" ."):
            parts.append(kept)
    kept_text = _tidy(",".join(parts))
    shown = tuple(sorted((_tidy(phrase) for phrase in cut if _tidy(phrase)), key=lambda phrase: text.find(phrase)))
    return Trimmed(kept_text, shown) if shown else Trimmed(text)


def manner_words(text: str) -> list[str]:
    """Words in a text that mean the manner wherever they stand."""
    return list(dict.fromkeys(match[0].lower() for match in _rules().always.finditer(text)))


def _without(text: str, rule: re.Pattern[str]) -> tuple[str, list[str]]:
    return rule.sub("", text), [match[0] for match in rule.finditer(text)]


def _without_artist(part: str, rules: _Rules, led: bool, first: bool) -> tuple[str, list[str]]:
    """A part between commas without "art by Monet" at its end; after "a painting of" a bare "by Claude Monet" too."""
    stripped = part.strip()
    match = rules.artist.search(stripped)
    if match and not (first and match.start() == 0):
        return stripped[: match.start()], [match[0]]
    match = re.search(rf"\s(by\s+({NAME}))\s*$", part, re.IGNORECASE) if led else None
    if match and (len(match[2].split()) > 1 or match[2][0].isupper()):
        return part[: match.start()], [match[1]]
    return part, []


def _is_tag(part: str, rules: _Rules, taught: set[str]) -> bool:
    """Whether a part between commas says nothing but manner: "digital art", "(oil on canvas:1.1)", "gendoid style"."""
    plain = re.sub(r"[\\()]|:\s*[\d.]+", " ", part)
    if re.fullmatch(rf"\s*(?:{PLAIN}[\s-]+){{1,3}}styles?\s*\.?", plain, re.IGNORECASE):
        return True
    rest, number = rules.entry.subn(" ", plain)
    words = [singular(word) for word in WORD.findall(rest.lower())]
    return bool(number or set(words) & taught) and all(word in LINKS or word in taught for word in words)


def _tidy(text: str) -> str:
    """Without doubled spaces, and without the commas and words that lead up to what was cut."""
    text = re.sub(r"\s*,(?:\s*,)*", ",", " ".join(text.split())).strip(" ,.;")
    return re.sub(r"(?:\s+(?:and|that is|which is|,))+$", "", text).strip(" ,.;")
