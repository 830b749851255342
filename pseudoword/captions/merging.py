"""The merge: a person's edits and files over the captioner's drafts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.drafts import Draft, read_drafts
from pseudoword.captions.edits import Edit, check_places, read_edits
from pseudoword.captions.marks import without_marks
from pseudoword.captions.sides import text_for
from pseudoword.captions.texts import Text, check_links, find_text, list_texts, one_line, read_texts
from pseudoword.pictures.ids import PictureId
from pseudoword.pictures.prepared import read_pictures_table


class CaptionRow(NamedTuple):
    """A picture and its caption. Pictures made of one file (mirrored, tiles) share its `source`."""

    id: str
    source: str
    caption: str
    origin: str  # edit, file, draft, or file and draft
    draft: str
    suggested: str = ""  # what is taken from the draft
    cut: tuple[str, ...] = ()  # what the draft loses

    @property
    def picture(self) -> str:
        """The content id of the source."""
        return PictureId.parse(self.id).content

    @property
    def once(self) -> tuple[str, str]:
        """The same for a picture and for a mirrored copy of which the same is said."""
        return self.source, text_for(self.id, self.caption)


@dataclass(frozen=True)
class Merged:
    """What came of the merge, and what it was made of."""

    rows: list[CaptionRow]  # sorted by id
    edits: dict[str, Edit]  # by source, or by a name that has no picture
    edits_file: Path
    spare: list[Path]  # caption files without a picture
    texts: dict[str, Text] = field(default_factory=dict)  # a person's own, by source
    ignored: int = 0  # caption files that are left out, as curate.existing says

    @cached_property
    def first(self) -> dict[str, CaptionRow]:
        """By source, its first picture: the one whose draft an edit of the source answers."""
        return {row.source: row for row in reversed(self.rows)}

    @cached_property
    def stale(self) -> dict[str, str]:
        """By source, what has changed since its edit was made."""
        first = self.first
        changed = {name: self._changed(first[name], edit) for name, edit in self.edits.items() if name in first}
        return {name: what for name, what in changed.items() if what}

    def _changed(self, row: CaptionRow, edit: Edit) -> str:
        what, text = [], self.texts.get(row.source)
        if edit.picture not in (None, row.picture):
            what.append("its picture has changed since")
        if edit.draft not in (None, one_line(row.draft)):
            what.append(f"it answers the draft '{edit.draft}' and the draft is now '{row.draft}'")
        if text and edit.text not in (None, text.said):
            what.append(f"it answers the text '{edit.text}' and {text.path} now says '{text.said}'")
        return ", and ".join(what)

    def approved(self, source: str) -> bool:
        """Whether a person has approved the caption: an approved edit that still fits, or a text all of theirs."""
        edit = self.edits.get(source)
        if edit is None:
            return self.first[source].origin == "file"
        return edit.approved and source not in self.stale

    def renamed(self, name: str) -> str | None:
        """What the picture of an edit without one is called now, if it is known."""
        return self._unedited.get(self.edits[name].picture or "")

    @cached_property
    def _unedited(self) -> dict[str, str]:
        """The source of each picture without an edit."""
        return {row.picture: source for source, row in self.first.items() if source not in self.edits}

    def unapproved(self) -> list[str]:
        return sorted(source for source in self.first if not self.approved(source))


def merge(folder: Path, existing: str, cutting: Cutting, unescape: bool = False) -> Merged:
    """Read pictures, drafts, edits and files; `existing` and `unescape` as in section curate. Raises UserError."""
    pictures = read_pictures_table()
    ids, sources = list(pictures["id"]), list(pictures["source"])
    return merge_pictures(ids, sources, read_drafts(ids), folder, existing, cutting, unescape)


def merge_pictures(
    ids: Sequence[str], sources: Sequence[str], drafts: Sequence[Draft], folder: Path, existing: str, cutting: Cutting,
    unescape: bool,
) -> Merged:  # fmt: skip
    """The same of pictures and drafts that are known already."""
    edits_file = folder / "captions.yaml"
    check_links([edits_file], folder)
    edits, texts = read_edits(edits_file), list_texts(folder, sources)
    check_places(folder, sources)
    files = {source: path for source in sources if (path := find_text(source, texts))}
    written = read_texts(files) if existing != "ignore" else {}
    rows, cutting = [], cutting.among(drafts)
    for name, source, draft in zip(ids, sources, drafts, strict=True):
        edit, text = edits.get(source), written.get(source)
        edited = text_for(name, edit.caption) if edit else None
        own_text = text_for(name, text.said) if text else None
        rest, cut = cutting.draft(draft)
        caption, origin = _choose(edited, own_text, rest, existing)
        if unescape:
            caption, rest = without_marks(caption), without_marks(rest)
        rows.append(CaptionRow(name, source, caption, origin, draft.text, rest, cut))
    return Merged(
        rows,
        edits,
        edits_file,
        sorted(set(texts.values()) - set(files.values())),
        written,
        len(set(files.values())) if existing == "ignore" else 0,
    )


def _choose(edited: str | None, own_text: str | None, draft: str, existing: str) -> tuple[str, str]:
    """The caption of one picture and its origin."""
    if edited is not None:
        return edited, "edit"
    if own_text is None:
        return draft, "draft"
    if existing == "copy":
        return own_text, "file"
    parts = (own_text, draft) if existing == "prepend" else (draft, own_text)
    return " ".join(part for part in parts if part), "file and draft"


def warnings(merged: Merged) -> Iterator[str]:
    """What a person wrote and what no longer fits: a line for each."""
    for name, edit in merged.edits.items():
        place, text = f"{merged.edits_file}, line {edit.line}", merged.texts.get(name)
        if name not in merged.first:
            yield f"{place}: '{name}' is none of the pictures in use; {_way_out(merged, name)}"
        elif name in merged.stale:
            yield f"{place}: the edit of '{name}' is used, but {merged.stale[name]}"
        elif text and edit.text is None and text.said != edit.caption:
            yield f"{place}: the edit of '{name}' is used and {text.path} is not; it says '{text.said}'"
    served: dict[Path, list[str]] = {}
    for source, text in sorted(merged.texts.items()):
        served.setdefault(text.path, []).append(source)
    for path, names in served.items():
        if len(names) > 1:
            yield f"{path} is the caption of {' and '.join(names)}; {names[0]}.txt would be that of {names[0]} alone"
    for path in merged.spare:
        yield f"{path} is the caption of none of the pictures in use"


def _way_out(merged: Merged, name: str) -> str:
    now = merged.renamed(name)
    return f"its picture is now called '{now}', so rename the entry" if now else "the edit waits for it"
