"""Cutting the subject from a caption: what a caption names, the word need not learn."""

import re

PLACE = (
    "in|inside|into|within|on|onto|upon|atop|at|by|under|underneath|beneath|below|near|beside|besides|behind|between|"
    "among|amongst|amid|against|over|above|across|along|around|outside|through|towards?|during|while|"
    r"next\sto|close\sto"
)
DOING = (
    "sitting|seated|standing|lying|laying|resting|sleeping|leaning|hanging|perched|floating|flying|swimming|walking|"
    "running|jumping|climbing|playing|posing|looking|facing|eating|drinking|holding|carrying|wearing|riding|driving|"
    "travelling|traveling|placed|parked|mounted|displayed|seen|shown|surrounded|covered|wrapped|filled|decorated|"
    "smiling|laughing|reading|talking|dancing|kneeling|crouching"
)
ITSELF = r"it|its|them|their|him|his|her|the\s(?:front|back|side|top)(?!\sof)"
PART = r"its?\b|their\b|[^,]*?\bon\s+(?:it|them|the\s(?:front|back|side|top)(?!\sof))\b"
# What is on the thing itself ("with patches on it", "with its lights on") is a part of it, and so is an adjective ("a
# standing lamp").
INCIDENTAL = re.compile(
    rf"""
      ,
    | \b(?:{PLACE})\s+(?!(?:{ITSELF})\b)(?=\w)
    | (?<!\ba\s)(?<!\ban\s)(?<!\bthe\s)\b(?:{DOING})\b
    | \bwith\s+(?!{PART})(?=\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)


# What a caption says right after its subject, and may be on the thing itself: "with two eyes" in "... in the snow".
WITH_PART = re.compile(r"\s*with\s+\S", re.IGNORECASE)


def leading_part(rest: str) -> str:
    """The "with ..." that a caption without its subject begins with; empty where it begins otherwise."""
    if not (match := WITH_PART.match(rest)):
        return ""
    end = INCIDENTAL.search(rest, match.end())
    return rest[: end.start() if end else len(rest)].strip(" ,.")


def drop_subject(draft: str) -> str:
    """What follows the leading noun phrase, empty when nothing does.

    "a woman with long hair in the snow, smiling" -> "with long hair in the snow, smiling"
    """
    found = INCIDENTAL.search(draft)
    return draft[found.start() :].strip(" ,.") if found else ""
