"""The captions that the doctor looks at: what `curate` wrote, or what it would make of the person's folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.drafts import BadDrafts, Draft, read_drafts
from pseudoword.captions.lint import lint
from pseudoword.captions.merging import merge_pictures
from pseudoword.captions.table import CAPTIONS, CaptionsDoNotFit
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import Finding
from pseudoword.settings.curate import CurateSettings


class Captions(NamedTuple):
    """By picture id, None where there are none; where each comes from; and what lint says before `curate` has."""

    texts: dict[str, str] | None
    origins: dict[str, str]
    lint: list[Finding]


def written_captions(path: Path = CAPTIONS) -> Captions:
    if not path.is_file():
        return Captions(None, {}, [])
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        origins = dict(zip(table["id"], table["origin"], strict=True))
        return Captions(dict(zip(table["id"], table["caption"], strict=True)), origins, [])
    except (ValueError, KeyError) as error:
        raise CaptionsDoNotFit(path, [str(error)]) from None


def as_curate_would(pictures: Sequence[MeasuredPicture], intent: Intent, curate: CurateSettings) -> Captions:
    """With the drafts of these pictures where `caption` has written them; else of the person's own texts alone.

    Raises UserError.
    """
    sources = {picture.id: picture.source for picture in sorted(pictures, key=lambda picture: picture.id)}
    try:
        drafts = read_drafts(list(sources))
    except BadDrafts:  # there are none, or they are of other pictures
        drafts = []
    cutting = Cutting.of(curate.cut, intent.init_text)
    merged = merge_pictures(
        list(sources), list(sources.values()), drafts or [Draft("", {})] * len(sources), intent.folder,
        curate.existing, cutting, curate.unescape,
    )  # fmt: skip
    if not drafts:  # an edit is taken to answer the draft that there will be
        edits = merged.edits
        rows = [row._replace(draft=edits[row.source].draft or "") if row.origin == "edit" else row
                for row in merged.rows if row.origin != "draft"]  # fmt: skip
        merged = replace(merged, rows=rows)
    init_texts = [run.word.init_text for run in intent.trained] or [intent.init_text]
    return Captions(
        {row.id: row.caption for row in merged.rows} or None,
        {row.id: row.origin for row in merged.rows},
        lint(merged, intent.name, init_texts, kind=intent.kind),
    )
