"""What is wrong with captions as training will read them, each finding with a suggestion. No model is needed."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.captions.merging import Merged, Row
from pseudoword.captions.prompt_length import PromptLength
from pseudoword.captions.subject import drop_subject
from pseudoword.captions.words import content_words, place_words, start_of, without_start

LINT = Path("outputs/lint.csv")
SEVERITIES = ("error", "warning", "note")  # training stops on an error
FEW = 4  # captions under which nothing is said of the whole set


class Finding(NamedTuple):
    """One thing to look at. `text` is a caption that would mend it, empty where only a person can write one."""

    id: str  # the picture; empty for a finding about the whole set
    source: str
    kind: str
    severity: str  # one of SEVERITIES
    caption: str
    detail: str
    advice: str
    text: str = ""


def lint(merged: Merged, name: str, init_texts: Sequence[str], length: PromptLength | None = None) -> list[Finding]:
    """All findings, by source and picture, those about the whole set first. `length` None: tokens are not counted."""
    # A mirrored copy repeats its picture's caption, and so would each finding.
    rows = list({row.once: row for row in reversed(merged.rows)}.values())[::-1]
    start = common_start([row.caption for row in rows])
    taught = {word for text in init_texts for word in content_words(text)}
    checks: list[Callable[[Row], Iterator[Finding]]] = [
        _empty,
        lambda row: _starts(row, start, rows),
        _repeats,
        lambda row: _names(row, name, taught, start),
        lambda row: _too_long(row, length),
    ]
    found = [finding for row in rows for check in checks for finding in check(row)]
    found += [*_starts_apart(rows, start), *_few_backgrounds(rows), *_stale(merged)]
    return sorted(found, key=lambda finding: (finding.source, finding.id))


def lint_table(found: Sequence[Finding]) -> pd.DataFrame:
    """outputs/lint.csv: id, source, finding, severity, caption, suggestion."""
    rows = [
        (one.id, one.source, f"{one.kind}: {one.detail}", one.severity, one.caption,
         f"{one.advice}: {one.text}" if one.text else one.advice)
        for one in sorted(found, key=lambda finding: (finding.source, finding.id))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["id", "source", "finding", "severity", "caption", "suggestion"])


def common_start(captions: Sequence[str]) -> str | None:
    """The beginning that more than half of the captions share, None without one; empty: they name no subject."""
    starts = Counter(start_of(caption) for caption in captions if caption)
    top, count = min(starts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return top if count > starts.total() / 2 and count > 1 else None


def _finding(row: Row, kind: str, severity: str, detail: str, advice: str, text: str = "") -> Finding:
    return Finding(row.id, row.source, kind, severity, row.caption, detail, advice, text)


def _empty(row: Row) -> Iterator[Finding]:
    if not row.caption:
        yield _finding(
            row, "empty", "note", "nothing is said of the picture, so the word learns all that it shows",
            "write what is incidental: place, pose, light, clothes",
        )  # fmt: skip


def _starts(row: Row, start: str | None, rows: list[Row]) -> Iterator[Finding]:
    own = start_of(row.caption)
    if start is None or not row.caption or own == start:
        return
    rest = without_start(row.caption)
    same = sum(start_of(other.caption) == start for other in rows if other.caption)
    text = f"{start}, {rest}".strip(" ,") if start else rest
    yield _finding(
        row, "starts unlike the others", "warning",
        f"begins {_with(own)}, while {same} of {len(rows)} begin {_with(start)}",
        "begin like the others, so that the word alone makes the difference", text,
    )  # fmt: skip


def _with(start: str) -> str:
    return f"with '{start}'" if start else "with no subject"


def _repeats(row: Row) -> Iterator[Finding]:
    twice = [word for word, count in Counter(content_words(row.caption, colours=False)).items() if count > 1]
    if twice:
        yield _finding(
            row, "repeats itself", "warning", f"says {_listed(twice)} more than once",
            "say each thing once; what is repeated weighs more", _without_repeats(row.caption),
        )  # fmt: skip


def _without_repeats(caption: str) -> str:
    """The caption without each later phrase that says a thing again."""
    phrases = re.split(r"(?i)(?=,|\s(?:with|and|wearing|holding|having)\s)", caption)
    kept, said = phrases[:1], set(content_words(phrases[0], colours=False))
    for phrase in phrases[1:]:
        words = set(content_words(phrase, colours=False))
        if not words & said:
            kept.append(phrase)
        said |= words
    return "".join(kept).rstrip(" ,") if len(kept) < len(phrases) else ""


def _names(row: Row, name: str, taught: set[str], start: str | None) -> Iterator[Finding]:
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", row.caption, re.IGNORECASE):
        yield _finding(
            row, "names what the word learns", "warning", f"holds the word '{name}' itself",
            "leave it out: the template puts the word in its place",
        )  # fmt: skip
    # How all captions begin is a convention ("a woman, ..." throughout) and does no harm.
    shared = bool(start) and start_of(row.caption) == start
    said = content_words(without_start(row.caption) if shared else row.caption)
    if named := [word for word in dict.fromkeys(said) if word in taught]:
        rest = drop_subject(row.caption)
        mends = not set(content_words(rest)) & taught
        yield _finding(
            row, "names what the word learns", "warning",
            f"says {_listed(named)}, which is in word.init_text: what a caption says, the word need not learn",
            "say only what is incidental", rest if mends else "",
        )  # fmt: skip


def _too_long(row: Row, length: PromptLength | None) -> Iterator[Finding]:
    if length and length.limit and (tokens := length.longest(row.caption)[1]) > length.limit:
        words = row.caption.split()
        while words and length.longest(" ".join(words))[1] > length.limit:
            words.pop()
        yield _finding(
            row, "too long", "error",
            f"takes {tokens} tokens in the longest template line with {length.vectors} vectors; "
            f"the model reads {length.limit}",
            "shorten it, or lower word.vectors", " ".join(words).rstrip(" ,"),
        )  # fmt: skip


def _starts_apart(rows: list[Row], start: str | None) -> Iterator[Finding]:
    starts = Counter(start_of(row.caption) for row in rows if row.caption)
    if start is None and starts.total() >= FEW:
        often = [own or "no subject" for own, _ in sorted(starts.items(), key=lambda item: (-item[1], item[0]))[:3]]
        yield Finding(
            "", "", "starts unlike the others", "note", "",
            f"the captions begin in {len(starts)} ways, most often with {_listed(often)}",
            "begin all with the same words, or all without a subject (curate.subject: drop)",
        )  # fmt: skip


def _few_backgrounds(rows: list[Row]) -> Iterator[Finding]:
    """Of what the captions say of their places, a word that most of them say."""
    places = [words for row in rows if (words := place_words(row.caption))]
    often = Counter(word for words in places for word in words)
    most = sorted((word for word, count in often.items() if count > len(places) / 2), key=lambda w: (-often[w], w))
    if len(places) >= FEW and most:
        yield Finding(
            "", "", "few backgrounds", "warning", "",
            f"'{most[0]}' is in {often[most[0]]} of {len(places)} captions that name a place",
            "add pictures of other places, or the word will bring this along",
        )  # fmt: skip


def _stale(merged: Merged) -> Iterator[Finding]:
    first = merged.first
    for source, what in merged.stale.items():
        yield _finding(
            first[source], "stale edit", "warning", f"the edit is used, but {what}", "read it again and approve it"
        )
    for source in sorted(set(merged.edits) - set(first)):
        yield Finding(
            "", source, "no such picture", "warning", merged.edits[source].caption,
            "the edit is of none of the pictures in use",
            f"rename it to '{now}', as its picture is called now" if (now := merged.renamed(source))
            else "rename it, or leave it to wait for its picture",
        )  # fmt: skip


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
