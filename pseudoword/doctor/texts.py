"""The captions: whether each picture has one, and words that too many of them share."""

import re
from collections import Counter

from pseudoword.doctor.case import Case, percent, shown, sources
from pseudoword.doctor.finding import Finding, names

FEW = 4  # captions: with fewer no word is over-represented
# What begins the part of a caption that is not its subject: 'a woman, with a hat in the snow'.
SUBJECT_ENDS = re.compile(
    r"[,;.]|\b(?:in|on|at|with|by|near|under|over|behind|beside|inside|outside|before|after|during|against|among|"
    r"through|from|of|is|are|was|wearing|sitting|standing|lying|holding|looking)\b"
)
PLAIN = frozenset(
    re.findall(
        r"\w+",
        """
a an the and or of in on at with by near under over behind beside inside outside before after during against
among through from to for into onto is are was were be being has have it its this that these there some one
two three other another very next top front back left right side middle up down close view photo photograph
picture image background foreground wearing sitting standing lying holding looking facing his her their
        """,
    )
)


def content_words(caption: str, init_text: str) -> set[str]:
    """The words of a caption that say what is around the subject; without its subject and the init text's words."""
    text = caption.lower()
    end = SUBJECT_ENDS.search(text)
    words = set(re.findall(r"[^\W\d_]{3,}", text[end.start() :] if end else text))
    return words - PLAIN - set(re.findall(r"\w+", init_text.lower()))


def caption_count(case: Case) -> list[Finding]:
    """Pictures without a row in captions.csv, and rows without a picture."""
    captions = case.captions or {}
    ids = {picture.id for picture in case.pictures}
    missing = [picture for picture in case.pictures if picture.id not in captions]
    extra = sorted(set(captions) - ids)
    if not missing and not extra:
        return []
    told = [f"{names(sources(missing))} without a caption"] if missing else []
    told += [f"{len(extra)} captions without a picture ({names(extra)})"] if extra else []
    return [
        Finding(
            check="captions",
            severity="error" if missing else "warning",
            message=f"outputs/captions.csv does not fit the {len(case.pictures)} pictures: {', and '.join(told)}.",
            advice="Run `dvc repro curate`.",
            pictures=shown(missing),
            figure={"missing": len(missing), "extra": len(extra)},
        )
    ]


def common_words(case: Case) -> list[Finding]:
    """A word of the scene in most captions: what it names is in most pictures, and told apart from nothing."""
    captions = case.captions or {}
    told = [picture for picture in case.own if captions.get(picture.id, "").strip()]
    if len(told) < FEW:
        return []
    words = {picture.id: content_words(captions[picture.id], case.intent.init_text) for picture in told}
    counts = Counter(word for each in words.values() for word in each)
    common = sorted((word for word, number in counts.items() if number >= case.most * len(told)))
    if not common:
        return []
    found = [picture for picture in told if words[picture.id] & set(common)]
    shares = {word: round(counts[word] / len(told), 2) for word in common}
    listed = ", ".join(f"'{word}' in {percent(share)}" for word, share in shares.items())
    return [
        Finding(
            check="words",
            severity="warning",
            message=f"Most captions share a word ({listed}), {names(sources(found))} among them: what is in nearly "
            "every picture becomes part of the word even though it is named.",
            advice="Add pictures without it; if the word is meant to be it, leave it out of the captions.",
            pictures=shown(found),
            figure={"share": shares},
        )
    ]
