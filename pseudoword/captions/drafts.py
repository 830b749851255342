"""outputs/drafts.csv, as `caption` writes and `curate` reads it.

id, draft, and a column for each of caption.drafters with what it said, in the order in which the draft joins them.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.errors import UserError
from pseudoword.files import write_table

DRAFTS = Path("outputs/drafts.csv")


class BadDrafts(UserError):
    def __init__(self, found: str) -> None:
        super().__init__(f"{DRAFTS} {found}. Run `dvc repro caption` to make it again.")


class Draft(NamedTuple):
    text: str
    said: dict[str, str]  # the same by drafter


def joined(parts: Iterable[str]) -> str:
    """One draft of what several drafters said."""
    return ", ".join(part for part in (part.strip(" ,") for part in parts) if part)


def write_drafts(ids: Sequence[str], said: Mapping[str, Sequence[str]]) -> list[str]:
    """Write and return the drafts; `said` has for each drafter a text for each of `ids`."""
    drafts = [joined(texts[i] for texts in said.values()) for i in range(len(ids))]
    write_table(DRAFTS, pd.DataFrame({"id": ids, "draft": drafts, **said}))
    return drafts


def _said(row: Mapping[Hashable, str]) -> dict[str, str]:
    return {str(who): text for who, text in row.items() if who != "draft"}


def read_drafts(ids: Sequence[str]) -> list[Draft]:
    """The draft of each picture, in the order of `ids`. Raises BadDrafts."""
    try:
        rows = pd.read_csv(DRAFTS, dtype=str, keep_default_na=False).fillna("").set_index("id").to_dict("index")
        drafts = [Draft(rows[name]["draft"], _said(rows[name])) for name in ids]
    except (OSError, ValueError) as error:
        raise BadDrafts(f"cannot be read ({' '.join(str(error).split())})") from None
    except KeyError as error:
        raise BadDrafts(f"has no {error.args[0]}") from None
    if odd := next((draft.text for draft in drafts if draft.text != joined(draft.said.values())), None):
        raise BadDrafts(f"does not say which drafter wrote '{odd}'")
    return drafts
