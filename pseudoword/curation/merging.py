"""The merge: a person's edits and files over the captioner's drafts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.curation.edits import Edit, read_edits
from pseudoword.curation.subject import drop_subject
from pseudoword.curation.texts import find_text, list_texts, one_line, read_text
from pseudoword.errors import UserError
from pseudoword.pictures import read_pictures_table

DRAFTS = Path("outputs/drafts.csv")


class BadDrafts(UserError):
    def __init__(self, found: str) -> None:
        super().__init__(f"{DRAFTS} {found}. Run `dvc repro caption` to make it again.")


class Row(NamedTuple):
    """A picture and its caption. Pictures made of one file (mirrored, tiles) share its `source`."""

    id: str
    source: str
    caption: str
    origin: str  # edit, file, draft, or file and draft
    draft: str


@dataclass(frozen=True)
class Merged:
    """What came of the merge, and what it was made of."""

    rows: list[Row]  # sorted by id
    edits: dict[str, Edit]  # by source, or by a name that has no picture
    edits_file: Path
    spare: list[Path]  # caption files without a picture

    @cached_property
    def first(self) -> dict[str, Row]:
        """By source, its first picture: the one whose draft an edit of the source answers."""
        return {row.source: row for row in reversed(self.rows)}

    def stale(self) -> dict[str, Edit]:
        """The edits that answer another than the present draft, by source."""
        first = self.first
        return {
            name: edit for name, edit in self.edits.items() if name in first and not edit.answers(first[name].draft)
        }

    def approved(self, source: str) -> bool:
        """Whether a person has approved the caption: an approved edit of the present draft, or a text all of theirs."""
        row, edit = self.first[source], self.edits.get(source)
        if edit is None:
            return row.origin == "file"
        return edit.approved and edit.answers(row.draft)

    def unapproved(self) -> list[str]:
        return sorted(source for source in self.first if not self.approved(source))


def read_drafts(ids: list[str]) -> list[str]:
    """The draft of each picture, in the order of `ids`. Raises BadDrafts."""
    try:
        table = pd.read_csv(DRAFTS, dtype=str, keep_default_na=False).set_index("id")["draft"]
        return [str(table[name]) for name in ids]
    except (OSError, ValueError) as error:
        raise BadDrafts(f"cannot be read ({error})") from None
    except KeyError as error:
        raise BadDrafts(f"has no {error.args[0]}") from None


def merge(folder: Path, existing: str, subject: str) -> Merged:
    """Read pictures, drafts, edits and files; `existing` and `subject` as in section curate. Raises UserError."""
    pictures = read_pictures_table()
    ids, sources = list(pictures["id"]), list(pictures["source"])
    edits_file = folder / "captions.yaml"
    edits, texts = read_edits(edits_file), list_texts(folder, sources)
    files = {source: find_text(source, texts) for source in sources}
    own = {source: one_line(read_text(path)) for source, path in files.items() if path and existing != "ignore"}
    rows = []
    for name, source, draft in zip(ids, sources, read_drafts(ids), strict=True):
        rest = drop_subject(draft) if subject == "drop" else draft
        rows.append(Row(name, source, *_choose(edits.get(source), own.get(source), rest, existing), draft))
    return Merged(rows, edits, edits_file, sorted(set(texts.values()) - set(files.values())))


def _choose(edit: Edit | None, own: str | None, draft: str, existing: str) -> tuple[str, str]:
    """The caption of one picture and its origin."""
    if edit is not None:
        return edit.caption, "edit"
    if own is None:
        return draft, "draft"
    if existing == "copy":
        return own, "file"
    parts = (own, draft) if existing == "prepend" else (draft, own)
    return " ".join(part for part in parts if part), "file and draft"


def warnings(merged: Merged) -> Iterator[str]:
    """What a person wrote and what no longer fits: a line for each."""
    drafts, stale = {source: row.draft for source, row in merged.first.items()}, merged.stale()
    for name, edit in merged.edits.items():
        place = f"{merged.edits_file}, line {edit.line}"
        if name not in drafts:
            yield f"{place}: '{name}' is none of the pictures in use; the edit waits for it"
        elif name in stale:
            yield (
                f"{place}: the edit of '{name}' is used, but it answers the draft '{edit.draft}' "
                f"and the draft is now '{drafts[name]}'"
            )
    for path in merged.spare:
        yield f"{path} is the caption of none of the pictures in use"
