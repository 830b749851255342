"""The captions: whether each picture has one, and words that too many of them share."""

from collections import Counter

from pseudoword.captions.table import CAPTIONS
from pseudoword.captions.words import scene_words
from pseudoword.doctor.case import CannotTell, Case, percent, shown, sources
from pseudoword.findings import Finding, names

MIN_CAPTIONS = 4  # with fewer no word is over-represented


def caption_count(case: Case) -> list[Finding]:
    """Pictures without a row in captions.csv, and rows without a picture."""
    captions = case.captions or {}
    ids = {picture.id for picture in case.pictures}
    missing = [picture for picture in case.pictures if picture.id not in captions]
    extra = sorted(set(captions) - ids)
    if not missing and not extra:
        return []
    if not case.curated:
        raise CannotTell(
            f"{len(missing)} pictures have no text of yours and no draft yet; `dvc repro curate` drafts it"
        )
    told = [f"{names(sources(missing))} without a caption"] if missing else []
    told += [f"{len(extra)} captions without a picture ({names(extra)})"] if extra else []
    return [
        Finding(
            check="captions",
            severity="error" if missing else "warning",
            message=f"{CAPTIONS} does not fit the {len(case.pictures)} pictures: {', and '.join(told)}.",
            advice="Run `dvc repro curate`.",
            pictures=shown(missing),
            figure={"missing": len(missing), "extra": len(extra)},
        )
    ]


def common_words(case: Case) -> list[Finding]:
    """A word of the scene in most captions: what it names is in most pictures, and told apart from nothing."""
    captions = case.captions or {}
    told = [picture for picture in case.distinct if captions.get(picture.id, "").strip()]
    if len(told) < MIN_CAPTIONS:
        raise CannotTell(f"it compares {MIN_CAPTIONS} captions or more, and there are {len(told)}")
    words = {picture.id: scene_words(captions[picture.id], case.intent.init_text) for picture in told}
    counts = Counter(word for each in words.values() for word in each)
    common = sorted((word for word, number in counts.items() if number >= case.max_share * len(told)))
    if not common:
        return []
    found = [picture for picture in told if words[picture.id] & set(common)]
    shares = {word: round(counts[word] / len(told), 2) for word in common}
    listed = ", ".join(f"'{word}' in {percent(share)}" for word, share in shares.items())
    # A captioner that knows no such pictures says the same of all of them, whatever they show.
    guessed = sum(case.origins.get(picture.id) == "draft" for picture in found) > len(found) / 2
    unread = " Most of these captions are drafts as the captioner left them: look whether the pictures show it."
    return [
        Finding(
            check="words",
            severity="info" if guessed else "warning",
            message=f"Most captions share a word ({listed}), {names(sources(found))} among them: what is in nearly "
            f"every picture becomes part of the word even though it is named.{unread if guessed else ''}",
            advice="Add pictures without it; if the word is meant to be it, leave it out of the captions.",
            pictures=shown(found),
            figure={"share": shares},
        )
    ]
