"""Cutting from a caption what names the manner of a picture: its medium, its style, its artist. The content stays.

"an oil painting in the style of Monet of a house by the sea, impressionist" -> "a house by the sea"

The words are those of manner.txt and of the init text. `media` are nouns that are a picture of something; `qualities`
are said of pictures; `materials` follow "in", and `surfaces` "on"; `substances` are materials that other things are in;
`no artists` follow "by"; `tags` count where they stand alone between commas; `always` mean the manner wherever they
stand, which is what is left for lint to find.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.cuts.wordlist import any_of, read_sections
from pseudoword.captions.subject import DOING, NO_DOING, PLACE
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
DONE = (
    r"(?:(?:is\s+|was\s+)?(?:done|made|painted|drawn|rendered|illustrated|sketched|executed|photographed|captured|shot|"
    r"depicted|shown)\s+)"
)
STRIKING = "stunning|striking|amazing|charming|interesting|breathtaking|fascinating|captivating|haunting|moving"
DETERMINER = r"(?:an?|the|some|this|one|two|three|several)"


class _Rules(NamedTuple):
    lead: re.Pattern[str]  # "a black and white photo of"
    bare_lead: re.Pattern[str]  # "an abstract painting" before "with", a comma or the end
    style: re.Pattern[str]  # "in the style of Monet", "in gendoid style"
    material: re.Pattern[str]  # "painted in oils", "in black and white"
    substance: re.Pattern[str]  # "oil", where it need not be the manner
    medium: re.Pattern[str]
    artist: re.Pattern[str]  # "art by Monet" as a part, "painted by Monet" at the end of one
    no_artist: re.Pattern[str]  # "moonlight", "Lake"
    entry: re.Pattern[str]
    always: re.Pattern[str]


@cache
def _rules() -> _Rules:
    words = read_sections(Path(__file__).with_name("manner.txt"))
    media, qualities = words["media"], words["qualities"]
    medium = rf"{any_of(media)}(?:e?s)?\b"
    colourless = any_of(tuple(q for q in qualities if q in ("black and white", "sepia", "monochrome", "grayscale")))
    material = rf"(?:{any_of(words['materials'])}|{colourless})\b"
    # What somebody does with pictures: "a woman taking pictures of", "a girl draws pictures of".
    verb = (
        rf"(?:(?:painting|drawing)s?|(?!(?:{STRIKING}|{NO_DOING})\b)\w+ing|took|drew|made|"
        r"(?:draw|take|make|paint|hold)s)\b"
    )
    word = rf"(?!{DETERMINER}\b|{verb}){PLAIN}"
    said_of = rf"(?:{DETERMINER}\s+)?(?:{any_of(qualities)}[,\s]+|{word}[,\s]+|and\s+){{0,6}}?"
    opening = (
        r"^\s*(?:(?:this|it|here|there)\s+(?:is|are)\s+|(?:the|an?|this)\s+(?:image|picture|photo)\s+(?:shows|is)\s+)?"
        rf"(?:(?:{DETERMINER}\s+)?(?:close[\s-]?up|detail|view|series|set|collection|pair)\s+of\s+)?"
    )
    end = rf"(?=\s*(?:$|[,.;]|\b(?:{PLACE}|with|of|and|that)\b))"
    # Else it is said of a thing: "in vintage style clothing".
    end_of_style = (
        rf"(?=\s*(?:$|[^\w\s]|(?:{PLACE}|{DOING}|with|without|of|and|or|but|that|which|is|as|from|for|to)\b))"
    )
    return _Rules(
        lead=_compiled(rf"{opening}{said_of}{medium}(?:\s+style)?(?:\s+by\s+{NAME}?)??\s+{SHOWING}\s+(?=\w)"),
        bare_lead=_compiled(
            rf"{opening}(?:{DETERMINER}\s+)?(?:(?:{any_of(qualities, media)})[,\s]+|and\s+){{0,6}}{medium}"
            r"(?=\s*(?:$|[,.;]|with\b))"
        ),
        style=_compiled(
            rf"{DONE}?\bin\s+(?:(?:an?|the|his|her|their)\s+)?(?:(?:{PLAIN}\s+){{1,4}}?{STYLE_WORD}{end_of_style}|{STYLE_WORD}(?=\s+of\b))"
            rf"(?:\s+of\s+(?:(?:the|an?)\s+)?{NAME}(?:\s+and\s+{NAME})?)?"
        ),
        material=_compiled(
            rf"(?P<done>{DONE})?\b(?:in|using)\s+(?:{any_of(qualities)}\s+)?(?P<material>{material})(?:\s+(?:and|on)\s+{material})*"
            rf"(?:\s+on\s+{any_of(words['surfaces'])}\b)?{end}"
        ),
        substance=_compiled(any_of(words["substances"])),
        medium=_compiled(rf"\b{medium}"),
        artist=_compiled(
            rf"(?:^(?:{said_of}(?:{medium}|work)\s+)?|\b(?:painted|drawn|illustrated|photographed|made|created)\s+)"
            rf"by\s+(?P<name>{NAME}(?:\s+and\s+{NAME})?)\s*$"
        ),
        no_artist=_compiled(rf"\b{any_of(words['no artists'])}\b"),
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
    left, found = _without(left, rules.style.finditer(left))
    cut += found
    left, found = _without(left, (match for match in rules.material.finditer(left) if _made_in(match, rules)))
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
        if _is_tag(kept, rules, taught, first=i == 0):
            cut.append(kept)
        elif kept.strip(" ."):
            parts.append(kept)
    kept_text = _tidy(",".join(parts))
    shown = tuple(sorted((_tidy(phrase) for phrase in cut if _tidy(phrase)), key=lambda phrase: text.find(phrase)))
    return Trimmed(kept_text, shown) if shown else Trimmed(text)


def manner_words(text: str) -> list[str]:
    """Words in a text that mean the manner wherever they stand."""
    return list(dict.fromkeys(match[0].lower() for match in _rules().always.finditer(text)))


def _without(text: str, matches: Iterable[re.Match[str]]) -> tuple[str, list[str]]:
    found = list(matches)
    for match in reversed(found):
        text = text[: match.start()] + text[match.end() :]
    return text, [match[0] for match in found]


def _made_in(match: re.Match[str], rules: _Rules) -> bool:
    """Whether "in oil" tells how a picture was made: not of a fish that is cooked in it."""
    if match["done"]:
        return True
    before = match.string[: match.start()]
    if re.search(r"\b(?:\w+(?:ed|ing)|written)\s+$", before):
        return False
    return not rules.substance.fullmatch(match["material"]) or bool(rules.medium.search(before))


def _is_artist(name: str, rules: _Rules) -> bool:
    """Whether what follows "by" is a name: "Monet", "claude monet"; not "moonlight", "Lake Como", "trees"."""
    return not rules.no_artist.search(name) and (name[0].isupper() or len(name.split()) > 1)


def _without_artist(part: str, rules: _Rules, led: bool, first: bool) -> tuple[str, list[str]]:
    """A part between commas without "art by Monet"; after "a painting of" without a bare "by Claude Monet" too."""
    stripped = part.strip()
    match = rules.artist.search(stripped)
    if match and not (first and match.start() == 0) and _is_artist(match["name"], rules):
        return stripped[: match.start()], [match[0]]
    match = re.search(rf"\s(by\s+({NAME}))\s*$", part, re.IGNORECASE) if led else None
    if match and _is_artist(match[2], rules):
        return part[: match.start()], [match[1]]
    return part, []


def _is_tag(part: str, rules: _Rules, taught: set[str], first: bool) -> bool:
    """Whether a part between commas says nothing but manner: "digital art", "(oil on canvas:1.1)", "gendoid style"."""
    if not first and re.match(rf"\s*(?:(?:and|or)\s+)?{DETERMINER}\b", part, re.IGNORECASE):
        return False  # a thing among others: "a chair, a painting, and a lamp"
    plain = re.sub(r"[\\()]|:\s*[\d.]+", " ", part)
    if re.fullmatch(rf"\s*(?:{PLAIN}[\s-]+){{1,3}}styles?\s*\.?", plain, re.IGNORECASE):
        return True
    if re.search(r"\w\s*\\?\(medium\\?\)", part, re.IGNORECASE):  # Danbooru's "nib pen (medium)"
        return True
    rest, number = rules.entry.subn(" ", plain)
    words = [singular(word) for word in WORD.findall(rest.lower())]
    return bool(number or set(words) & taught) and all(word in LINKS or word in taught for word in words)


def _tidy(text: str) -> str:
    """Without doubled spaces, and without the commas and words that lead up to what was cut."""
    text = re.sub(r"\s*,(?:\s*,)*", ",", " ".join(text.split())).strip(" ,.;")
    return re.sub(r"(?:\s+(?:and|that is|which is|,))+$", "", text).strip(" ,.;")
