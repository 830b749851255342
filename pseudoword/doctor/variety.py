"""What too many of the pictures have in common, and what only some have."""

import re
from collections import Counter
from math import atan2, ceil, degrees

import numpy as np

from pseudoword.captions.words import scene_words
from pseudoword.doctor.case import CannotTell, Case, shown, sources
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import Finding, Severity, names

MIN_PICTURES = 3  # pictures: with fewer nothing is over-represented
MIN_OVERLAP = 0.66  # common part of two histograms of colours from which two backgrounds are one
MIN_SHARE_INSIDE = 2 / 3  # of the captions of a background: a word in so many names it
MAX_SHARE_OUTSIDE = 1 / 3  # of the other captions may have that word
MAX_DARK_LIGHT, MIN_PALE_LIGHT = 55, 200  # mean light of 255
MIN_CAST = 0.1  # of a picture as a whole, 0 to 1
MAX_CAST_DEGREES = 30  # within which two casts are one
MAX_GREY_CHROMA = 14  # chroma of a black-and-white picture, with some JPEG noise
# 'black and white' alone may be said of a dog: it has to end what is said, or to be said of a picture.
COLOURLESS_WORDS = re.compile(
    r"\b(?:black[\s-]*(?:and|&|n)[\s-]*white|b\s*[&/]\s*w)\b"
    r"(?=\s*(?:$|[^\w\s]|(?:photo|picture|image|portrait|drawing|sketch|print|film|shot|snapshot|still)))"
    r"|\bmonochrom|\bgr[ae]y[\s-]?scale\b|\bsepia\b|\bcolou?rless\b|\b(?:no|without) colou?rs?\b"
)


def background(case: Case) -> list[Finding]:
    """The largest group of pictures in front of one background, if it is most of them (half of them: info)."""
    pictures = case.distinct
    if len(pictures) < MIN_PICTURES:
        raise CannotTell(f"backgrounds are compared from {MIN_PICTURES} pictures on, and there are {len(pictures)}")
    weighted = sum(picture.weighted for picture in pictures)
    if len(pictures) - weighted < MIN_PICTURES:
        raise CannotTell(f"the background does not count: {weighted} of {len(pictures)} pictures have a loss weight")
    # Greys lie on one line of all colours, so that two grey backgrounds are alike whatever they show.
    coloured = [picture for picture in pictures if picture.chroma >= MAX_GREY_CHROMA and not picture.weighted]
    group = same_background(coloured)
    share, grey = len(group) / len(pictures), sum(picture.chroma < MAX_GREY_CHROMA for picture in pictures)
    if len(group) < MIN_PICTURES or share < min(0.5, case.max_share):
        if grey >= MIN_PICTURES and grey >= 0.5 * len(pictures):
            raise CannotTell(f"it goes by colours, and {grey} of {len(pictures)} pictures have none")
        return []
    named = _distinctive_word(case, group)
    severity: Severity = "warning" if share >= case.max_share and not named else "info"
    told = f"; their captions name it ('{named}'), which helps" if named else ""
    if case.captions is not None and not named:
        told = ", and no word of their captions is theirs alone, so that it could name it"
    return [
        Finding(
            check="background",
            severity=severity,
            message=f"{len(group)} of {len(pictures)} pictures have the same background by its colours{told}: "
            f"{names(sources(group))}. What is behind the subject everywhere becomes part of the word.",
            advice="Add pictures in other places or take some of these out, and name the background in the captions "
            "of those that stay.",
            pictures=shown(group),
            figure={"share": round(share, 2)},
        )
    ]


def same_background(pictures: list[MeasuredPicture]) -> list[MeasuredPicture]:
    """The largest group around one picture whose background all of them share."""
    if not pictures:
        return []
    table = np.stack([picture.background for picture in pictures])
    groups = [np.minimum(table, row).sum(1) >= MIN_OVERLAP for row in table]
    best = max(groups, key=lambda group: int(group.sum()))
    return [picture for picture, member in zip(pictures, best, strict=True) if member]


def _distinctive_word(case: Case, group: list[MeasuredPicture]) -> str | None:
    """A word that most of the group's captions share and few of the others have, so that it may name their background.

    Where the group is all pictures, a word of all captions may as well be the subject's or a style's: then None.
    """
    if len(group) == len(case.distinct):
        return None
    captions = case.captions or {}
    words = {picture.id: scene_words(captions.get(picture.id, ""), case.intent.init_text) for picture in case.distinct}
    inside = {picture.id for picture in group}
    shared = Counter(word for picture_id in inside for word in words[picture_id])
    others = Counter(word for picture_id in words.keys() - inside for word in words[picture_id])
    distinctive = {
        word: number
        for word, number in shared.items()
        if number >= MIN_SHARE_INSIDE * len(inside) and others[word] <= MAX_SHARE_OUTSIDE * (len(words) - len(inside))
    }
    return max(distinctive, key=lambda word: (distinctive[word], -others[word], word), default=None)


def look(case: Case) -> list[Finding]:
    """Most pictures are dark, pale, or of one colour cast: a look that the word will learn, as a style is meant to."""
    pictures = case.distinct
    if case.intent.kind == "style":
        return []
    if len(pictures) <= MIN_PICTURES:  # a look of three may be chance
        raise CannotTell(f"a look shows from {MIN_PICTURES + 1} pictures on, and there are {len(pictures)}")
    looks = {
        "dark": [picture for picture in pictures if picture.light < MAX_DARK_LIGHT],
        "pale": [picture for picture in pictures if picture.light > MIN_PALE_LIGHT],
        "of one colour cast": _one_cast(pictures),
    }
    findings = []
    for kind, found in looks.items():
        if len(found) >= ceil(max(case.max_share, 0.75) * len(pictures)):
            findings.append(
                Finding(
                    check="look",
                    severity="info",
                    message=f"{len(found)} of {len(pictures)} pictures are {kind} ({names(sources(found))}): what the "
                    "word draws will be so unasked.",
                    advice="Add pictures in another light or say it in the captions; or set word.kind: style.",
                    pictures=shown(found),
                    figure={"share": round(len(found) / len(pictures), 2)},
                )
            )
    return findings


def _one_cast(pictures: list[MeasuredPicture]) -> list[MeasuredPicture]:
    """The largest group whose colour as a whole leans the same way, strongly."""
    casts = [picture.cast for picture in pictures]
    strong = [(i, degrees(atan2(*cast))) for i, cast in enumerate(casts) if np.hypot(*cast) > MIN_CAST]
    groups = [
        [i for i, angle in strong if abs((angle - middle + 180) % 360 - 180) <= MAX_CAST_DEGREES]
        for _, middle in strong
    ]
    return [pictures[i] for i in max(groups, key=len, default=[])]


def black_and_white(case: Case) -> list[Finding]:
    """Some pictures without colour among others with it. One or two are fine as long as the captions say so."""
    pictures = case.distinct
    without = [picture for picture in pictures if picture.chroma < MAX_GREY_CHROMA]
    if not without:
        return []
    style = case.intent.kind == "style"
    if len(without) == len(pictures):
        if style:
            return []
        return _colourless(
            without, "info", f"All {len(pictures)} pictures are black-and-white: the word will be so, too.",
            "Add pictures in colour; or set word.kind: style.",
        )  # fmt: skip
    # What a caption says of the manner, a style need not learn, so there the caption cannot mend it.
    captions = {} if style else case.captions or {}
    untold = [picture for picture in without if not COLOURLESS_WORDS.search(captions.get(picture.id, "").lower())]
    if not untold:
        return []
    many = len(without) > max(2, 0.2 * len(pictures))
    return _colourless(
        untold, "warning" if many else "info",
        f"{names(sources(untold))} {'has' if len(untold) == 1 else 'have'} no colour, among {len(pictures)} pictures "
        "most of which have.",
        "Leave it out: a style is what all pictures share."
        if style
        else "Say 'black and white photo' in the caption, or use a picture in colour.",
    )  # fmt: skip


def _colourless(found: list[MeasuredPicture], severity: Severity, message: str, advice: str) -> list[Finding]:
    figure = {"chroma": {picture.source: round(picture.chroma) for picture in found}}
    return [
        Finding(
            check="black-and-white",
            severity=severity,
            message=message,
            advice=advice,
            pictures=shown(found),
            figure=figure,
        )
    ]
