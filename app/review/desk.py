"""What the review page shows and what it saves, without the web around it."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from app.review.saving import save_edit
from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.edits import Edit
from pseudoword.captions.lint import LINT, lint
from pseudoword.captions.marks import without_marks
from pseudoword.captions.merging import CaptionRow, Merged, merge
from pseudoword.captions.prompt_length import PromptLength
from pseudoword.captions.sides import text_for
from pseudoword.captions.texts import Text, one_line
from pseudoword.errors import UserError
from pseudoword.findings import SEVERITIES, Finding, PictureRef
from pseudoword.settings.kind import Kind


class NoSuchPicture(UserError):
    def __init__(self, source: str) -> None:
        super().__init__(f"'{source}' is none of the pictures in use any more. Load the page again.")


class Outdated(UserError):
    """Another tab, an editor or a new draft was faster. `card` is what there is now."""

    def __init__(self, source: str, card: "Card") -> None:
        super().__init__(f"'{source}' has changed since this page showed it. Nothing was saved.")
        self.card = card


class Card(NamedTuple):
    """One file of a person's and the pictures made of it."""

    source: str
    pictures: list[dict[str, str]]  # id and draft of each
    draft: str
    suggested: str  # what curate would take from the draft
    cut: list[str]  # what it would cut from it
    caption: str
    origin: str
    state: str  # approved, edited, stale, own (a file of the person's), draft
    who: str
    when: str
    changed: str  # what has changed since a stale edit was made
    findings: list[dict[str, str]]
    prompts: list[tuple[str, int]]
    seen: str  # changes with whatever a save could overwrite


@dataclass
class Desk:
    """The captions of a project under review. The files are read anew each time, so that an editor may be used too."""

    folder: Path
    existing: str
    cutting: Cutting
    name: str
    kind: Kind
    init_texts: Sequence[str]
    length: PromptLength | None  # None: tokens are not counted
    who: str
    unescape: bool = False
    _saving: threading.Lock = field(default_factory=threading.Lock)

    def overview(self) -> dict[str, Any]:
        """All cards by source, and what is said of them together. Raises UserError."""
        merged = self._merge()
        found = self._findings(merged)
        return {
            "folder": str(self.folder),
            "name": self.name,
            "limit": self.length.limit if self.length else None,
            "overall": [_shown(one) for one in found if not one.source],
            "cards": [self._card(merged, found, source)._asdict() for source in sorted(merged.first)],
        }

    def check(self, source: str, caption: str) -> dict[str, Any]:
        """What the findings and prompts would be if the picture had this caption. Raises NoSuchPicture."""
        merged, caption = self._merge(), one_line(caption)
        if self.unescape:
            caption = without_marks(caption)
        _present(merged, source)
        rows = [row._replace(caption=text_for(row.id, caption)) if row.source == source else row for row in merged.rows]
        found = self._findings(replace(merged, rows=rows))
        return {"findings": _of(found, source), "prompts": self._prompts(caption)}

    def save(self, source: str, caption: str, approved: bool, seen: str) -> None:
        """Write the edit; `seen` is that of the card it was made on. Raises Outdated, NoSuchPicture, BadEdits."""
        with self._saving:
            merged = self._merge()
            _present(merged, source)
            card = self._card(merged, self._findings(merged), source)
            if card.seen != seen:
                raise Outdated(source, card)
            row, text = merged.first[source], merged.texts.get(source)
            edit = Edit(
                one_line(caption), card.draft, self.who, date.today().isoformat(), approved,
                row.picture, text.said if text else None,
            )  # fmt: skip
            save_edit(merged.edits_file, source, edit)

    def _merge(self) -> Merged:
        return merge(self.folder, self.existing, self.cutting, self.unescape)

    def _findings(self, merged: Merged) -> list[Finding]:
        found = [*lint(merged, self.name, self.init_texts, self.length, self.kind), *_judged(merged)]
        return sorted(found, key=lambda one: SEVERITIES.index(one.severity))

    def _prompts(self, caption: str) -> list[tuple[str, int]]:
        """The longest first."""
        return sorted(self.length.prompts(caption), key=lambda pair: -pair[1]) if self.length else []

    def _card(self, merged: Merged, found: list[Finding], source: str) -> Card:
        row, edit = merged.first[source], merged.edits.get(source)
        text = merged.texts.get(source)
        return Card(
            source=source,
            pictures=[{"id": one.id, "draft": one.draft} for one in merged.rows if one.source == source],
            draft=row.draft,
            suggested=row.suggested,
            cut=list(row.cut),
            caption=row.caption,
            origin=row.origin,
            state=_state(merged, source),
            who=(edit.who if edit else None) or "",
            when=(edit.when if edit else None) or "",
            changed=merged.stale.get(source, ""),
            findings=_of(found, source),
            prompts=self._prompts(row.caption),
            seen=_digest(row, text, edit),
        )


def _present(merged: Merged, source: str) -> None:
    if source not in merged.first:
        raise NoSuchPicture(source)


def _state(merged: Merged, source: str) -> str:
    edit = merged.edits.get(source)
    if edit is None:
        return "own" if merged.first[source].origin == "file" else "draft"
    if source in merged.stale:
        return "stale"
    return "approved" if edit.approved else "edited"


def _digest(row: CaptionRow, text: Text | None, edit: Edit | None) -> str:
    content = [row.picture, row.draft, row.caption, text and text.said, edit and edit._replace(line=0)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _of(found: list[Finding], source: str) -> list[dict[str, str]]:
    """A picture's findings; that an edit is stale is its state already."""
    return [_shown(one) for one in found if one.source == source and one.check != "stale edit"]


def _shown(finding: Finding) -> dict[str, str]:
    return {key: getattr(finding, key) for key in ("check", "severity", "message", "advice", "suggestion")}


def _judged(merged: Merged) -> list[Finding]:
    """What the judge said in the last run of curate, as far as the caption is still the same."""
    try:
        table = pd.read_csv(LINT, dtype=str, keep_default_na=False)
        said = table[table["finding"].str.startswith("differs from the picture: ")]
    except (OSError, ValueError, KeyError, AttributeError):  # never run, or by another version
        return []
    present = {row.id: row for row in merged.rows}
    found = []
    for one in said.to_dict("records"):
        row, (kind, detail) = present.get(one["id"]), one["finding"].split(": ", 1)
        if row is not None and row.caption == one["caption"]:
            found.append(
                Finding(
                    check=kind,
                    severity=one["severity"],
                    message=detail,
                    advice=one["suggestion"],
                    pictures=[PictureRef(id=row.id, source=row.source)],
                )
            )
    return found
