"""What is wrong with captions as training will read them, each finding with a suggestion. No model is needed."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.cuts.manner import manner_words
from pseudoword.captions.cuts.traits import beginning, begins_with_several, trait_words
from pseudoword.captions.marks import marks_in, without_marks
from pseudoword.captions.merging import CaptionRow, Merged
from pseudoword.captions.prompt_length import PromptLength
from pseudoword.captions.words import content_words, start_of, without_start
from pseudoword.findings import Finding, PictureRef, Severity
from pseudoword.settings.kind import BY_KIND, Kind

LINT = Path("outputs/lint.csv")
Check = Literal[
    "starts unlike the others",
    "repeats itself",
    "names what the word learns",
    "holds marks of a prompt",
    "too long",
    "empty",
    "differs from the picture",
    "stale edit",
    "no such picture",
]
MIN_CAPTIONS = 4  # with fewer nothing is said of the whole set
MAX_MARKS = 5  # told of one caption


def lint(
    merged: Merged, name: str, init_texts: Sequence[str], length: PromptLength | None = None, kind: Kind = "thing"
) -> list[Finding]:
    """All findings, by source and picture, those about the whole set first. `length` None: tokens are not counted."""
    # A mirrored copy repeats its picture's caption, and so would each finding.
    rows = list({row.once: row for row in reversed(merged.rows)}.values())[::-1]
    starts = Counter(start_of(row.caption) for row in rows if row.caption)
    start = common_start(starts)
    taught = {word for text in init_texts for word in content_words(text)}
    cutting = Cutting.of(BY_KIND[kind]["curate.cut"], init_texts[0])
    checks: list[Callable[[CaptionRow], Iterator[Finding]]] = [
        _empty,
        _repeats,
        _marked,
        lambda row: _holds(row, name),
        lambda row: _names(row, taught, start, cutting),
        lambda row: _too_long(row, length),
    ]
    match kind:
        case "style":
            checks.append(lambda row: _names_manner(row, cutting))
        case "person":
            checks.append(lambda row: _names_traits(row, cutting))
            checks.append(lambda row: _names_several(row, start))
    if kind != "style":  # whose captions begin with what each picture shows
        checks.append(lambda row: _starts(row, start, starts, len(rows)))
    found = [finding for row in rows for check in checks for finding in check(row)]
    if kind != "style":
        found += _starts_apart(starts, start, cutting)
    found += _stale(merged)
    return sorted(found, key=lambda finding: (finding.source, finding.id))


def lint_table(found: Sequence[Finding], merged: Merged) -> pd.DataFrame:
    """The table LINT: id, source, finding, severity, caption, suggestion."""
    captions = {row.id: row.caption for row in merged.rows}
    waiting = {source: edit.caption for source, edit in merged.edits.items()}  # edits without a picture have no id
    rows = [
        (finding.id, finding.source, f"{finding.check}: {finding.message}", finding.severity,
         captions.get(finding.id, waiting.get(finding.source, "")),
         f"{finding.advice}: {finding.suggestion}" if finding.suggestion else finding.advice)
        for finding in sorted(found, key=lambda finding: (finding.source, finding.id))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["id", "source", "finding", "severity", "caption", "suggestion"])


def common_start(starts: Counter[str]) -> str | None:
    """The beginning that more than half of the captions share, None without one; empty: they name no subject."""
    top, count = min(starts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return top if count > starts.total() / 2 and count > 1 else None


def finding_of(
    row: CaptionRow, check: Check, severity: Severity, message: str, advice: str, suggestion: str = ""
) -> Finding:
    """A finding about the caption of one picture."""
    return Finding(
        check=check,
        severity=severity,
        message=message,
        advice=advice,
        pictures=[PictureRef(id=row.id, source=row.source)],
        suggestion=suggestion,
    )


def _empty(row: CaptionRow) -> Iterator[Finding]:
    if not row.caption:
        yield finding_of(
            row, "empty", "info", "nothing is said of the picture, so the word learns all that it shows",
            "write what is incidental: place, pose, light, clothes",
        )  # fmt: skip


def _starts(row: CaptionRow, start: str | None, starts: Counter[str], rows: int) -> Iterator[Finding]:
    begins = start_of(row.caption)
    if start is None or not row.caption or begins == start:
        return
    rest = without_start(row.caption)
    text = f"{start}, {rest}".strip(" ,") if start else rest
    yield finding_of(
        row, "starts unlike the others", "warning",
        f"begins {_with(begins)}, while {starts[start]} of {rows} begin {_with(start)}",
        "begin like the others, so that the word alone makes the difference", text,
    )  # fmt: skip


def _with(start: str) -> str:
    return f"with '{start}'" if start else "with no subject"


def _repeats(row: CaptionRow) -> Iterator[Finding]:
    twice = [word for word, count in Counter(content_words(row.caption, colours=False)).items() if count > 1]
    if twice:
        yield finding_of(
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


def _marked(row: CaptionRow) -> Iterator[Finding]:
    if marks := marks_in(row.caption):
        more = f" and {len(marks) - MAX_MARKS} more" if len(marks) > MAX_MARKS else ""
        yield finding_of(
            row, "holds marks of a prompt", "warning",
            f"holds {_listed(marks[:MAX_MARKS])}{more}: marks for other tools, which are read as text here",
            "write the words alone; curate.unescape: true does so for all captions", without_marks(row.caption),
        )  # fmt: skip


def _holds(row: CaptionRow, name: str) -> Iterator[Finding]:
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", row.caption, re.IGNORECASE):
        yield finding_of(
            row, "names what the word learns", "warning", f"holds the word '{name}' itself",
            "leave it out: the template puts the word in its place",
        )  # fmt: skip


def _names(row: CaptionRow, taught: set[str], start: str | None, cutting: Cutting) -> Iterator[Finding]:
    # How all captions begin is a convention ("a woman, ..." throughout) and does no harm.
    shared = bool(start) and start_of(row.caption) == start
    said = content_words(without_start(row.caption) if shared else row.caption)
    if named := [word for word in dict.fromkeys(said) if word in taught]:
        rest = cutting.text(row.caption).text
        mends = not set(content_words(rest)) & taught
        yield finding_of(
            row, "names what the word learns", "warning",
            f"says {_listed(named)}, which is in word.init_text: what a caption says, the word need not learn",
            "say only what is incidental", rest if mends else "",
        )  # fmt: skip


def _names_manner(row: CaptionRow, cutting: Cutting) -> Iterator[Finding]:
    rest, cut = cutting.text(row.caption)
    if named := [*cut, *(word for word in manner_words(rest) if word not in cut)]:
        yield finding_of(
            row, "names what the word learns", "warning",
            f"says {_listed(named)}, which names the manner: what a caption says, the word need not learn",
            "say only what the picture shows", rest if cut and not manner_words(rest) else "",
        )  # fmt: skip


def _names_traits(row: CaptionRow, cutting: Cutting) -> Iterator[Finding]:
    if named := trait_words(row.caption):
        yield finding_of(
            row, "names what the word learns", "warning",
            f"says {_listed(named)} of the person: what a caption says, the word need not learn",
            "say what changes from picture to picture: hair, clothes, expression, pose, place",
            cutting.text(row.caption).text,
        )  # fmt: skip


def _names_several(row: CaptionRow, start: str | None) -> Iterator[Finding]:
    if start_of(row.caption) == start and begins_with_several(row.caption):  # else _starts tells it
        yield finding_of(
            row, "starts unlike the others", "warning", "begins with several persons",
            "begin with one person like the others, and crop the picture where another shows as much",
        )  # fmt: skip


def _too_long(row: CaptionRow, length: PromptLength | None) -> Iterator[Finding]:
    if length and length.limit and (tokens := length.longest(row.caption)[1]) > length.limit:
        beside, lower = (f" with {length.vectors} vectors", ", or lower word.vectors") if length.vectors else ("", "")
        words = row.caption.split()[: length.limit]  # a word takes a token at least
        while words and length.longest(" ".join(words))[1] > length.limit:
            words.pop()
        yield finding_of(
            row, "too long", "error",
            f"takes {tokens} tokens in the longest template line{beside}; "
            f"the model reads {length.limit}",
            f"shorten it{lower}", " ".join(words).rstrip(" ,"),
        )  # fmt: skip


def _starts_apart(starts: Counter[str], start: str | None, cutting: Cutting) -> Iterator[Finding]:
    if start is None and starts.total() >= MIN_CAPTIONS:
        often = [
            begins or "no subject" for begins, _ in sorted(starts.items(), key=lambda item: (-item[1], item[0]))[:3]
        ]
        yield Finding(
            check="starts unlike the others",
            severity="info",
            message=f"the captions begin in {len(starts)} ways, most often with {_listed(often)}",
            advice=f"begin all with '{beginning(cutting.init_text)}'"
            if cutting.what == "traits"
            else "begin all with the same words, or all without a subject (curate.cut: subject)",
        )


def _stale(merged: Merged) -> Iterator[Finding]:
    first = merged.first
    for source, what in merged.stale.items():
        yield finding_of(
            first[source], "stale edit", "warning", f"the edit is used, but {what}", "read it again and approve it"
        )
    for source in sorted(set(merged.edits) - set(first)):
        now = merged.renamed(source)
        yield Finding(
            check="no such picture",
            severity="warning",
            message="the edit is of none of the pictures in use",
            advice=f"rename it to '{now}', as its picture is called now"
            if now
            else "rename it, or leave it to wait for its picture",
            pictures=[PictureRef(id="", source=source)],
        )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
