"""curate: a person's own text over the captioner's drafts, a merge without any model.

reads   outputs/pictures.csv, outputs/drafts.csv
        data.folder/captions.yaml    edits by picture file name, each with the draft that it answers
        data.folder/<picture>.txt    dog.jpg.txt or dog.txt for dog.jpg
writes  outputs/captions.csv         id, caption, origin (edit, file or draft), draft; sorted by id

An edit wins over a file and a file over the draft. A draft loses its subject where curate.subject says so; a person's
own text is never cut. What a person wrote and what no longer fits is warned of, and never fatal.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.captions import CAPTIONS
from pseudoword.errors import UserError
from pseudoword.files import write_table
from pseudoword.pictures import read_pictures_table
from pseudoword.settings import load_settings
from stages._runtime import run_stage
from stages.curate.subject import drop_subject
from stages.curate.texts import Edit, find_text, list_texts, one_line, read_edits, read_text

DRAFTS = Path("outputs/drafts.csv")


class BadDrafts(UserError):
    def __init__(self, found: str) -> None:
        super().__init__(f"{DRAFTS} {found}. Run `dvc repro caption` to make it again.")


class Row(NamedTuple):
    """One line of outputs/captions.csv."""

    id: str
    caption: str
    origin: str
    draft: str


def read_drafts(ids: list[str]) -> list[str]:
    """The draft of each picture, in the order of `ids`. Raises BadDrafts."""
    try:
        table = pd.read_csv(DRAFTS, dtype=str, keep_default_na=False).set_index("id")["draft"]
        return [str(table[name]) for name in ids]
    except OSError as error:
        raise BadDrafts(f"cannot be read ({error})") from None
    except KeyError as error:
        raise BadDrafts(f"has no {error.args[0]}") from None


def choose(edit: Edit | None, file: Path | None, draft: str, subject: str) -> tuple[str, str]:
    """The caption of one picture and its origin."""
    if edit is not None:
        return edit.caption, "edit"
    if file is not None:
        return one_line(read_text(file)), "file"
    return drop_subject(draft) if subject == "drop" else draft, "draft"


def warn_of_edits(path: Path, edits: dict[str, Edit], drafts: dict[str, str]) -> None:
    """Print each edit that has no picture, or that answers another than the present draft. `drafts` by file name."""
    for name, edit in edits.items():
        if name not in drafts:
            print(f"warning: {path}, line {edit.line}: '{name}' is none of the pictures in use; the edit waits for it")
        elif edit.draft is not None and edit.draft != one_line(drafts[name]):
            print(
                f"warning: {path}, line {edit.line}: the edit of '{name}' is used, but it answers the draft "
                f"'{edit.draft}' and the draft is now '{drafts[name]}'"
            )


def main() -> None:
    settings = load_settings()
    folder, subject = settings.data.folder, settings.curate.subject
    pictures = read_pictures_table()
    drafts = dict(zip(pictures["source"], read_drafts(list(pictures["id"])), strict=True))
    edits, texts = read_edits(folder / "captions.yaml"), list_texts(folder)
    files = {source: find_text(Path(source), texts) for source in drafts}
    warn_of_edits(folder / "captions.yaml", edits, drafts)
    for path in sorted(set(texts.values()) - set(files.values())):
        print(f"warning: {path} is the caption of none of the pictures in use")
    chosen = [choose(edits.get(source), files[source], draft, subject) for source, draft in drafts.items()]
    rows = [Row(name, *made, draft) for name, made, draft in zip(pictures["id"], chosen, drafts.values(), strict=True)]
    write_table(CAPTIONS, pd.DataFrame(rows, columns=list(Row._fields)))
    count = Counter(row.origin for row in rows)
    print(f"{len(rows)} captions: {count['edit']} edited, {count['file']} from files, {count['draft']} drafts")


if __name__ == "__main__":
    run_stage(main)
