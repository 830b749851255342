"""The tables in outputs/, each column as what it is: text stays text, numbers are numbers or NaN."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pseudoword.records import BadRecord
from pseudoword.results.places import DRAWN, SHEETS


def read_table(path: Path, text: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read the named columns of a CSV. Raises BadRecord.

    Everything is text at first: a caption may be 'NA', and an id look like 1e10.
    """
    columns, numeric = [*text, *numbers], list(numbers)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if missing := [column for column in columns if column not in table]:
            raise BadRecord(path, f"it has no column '{missing[0]}'")
        return table[columns].assign(**{column: pd.to_numeric(table[column]) for column in numeric})
    except (OSError, ValueError) as error:
        raise BadRecord(path, str(error)) from None


def read_scores(path: Path) -> pd.DataFrame:
    """One row for each checkpoint, by run and step."""
    numbers = ("step", "loss", "image_similarity", "text_similarity", "score")
    table = read_table(path, text=("run", "veto", "chosen"), numbers=numbers)
    return table.assign(chosen=table.chosen.str.lower() == "true").sort_values(["run", "step"], ignore_index=True)


def read_drawn(word: str, root: Path = Path()) -> pd.DataFrame:
    """One row for each drawn picture, with the word in its prompt and `file` as a path. Raises BadRecord."""
    path, sheets = root / DRAWN, root / SHEETS
    drawn = read_table(path, text=("run", "prompt", "file"), numbers=("step", "seed", "image_similarity"))
    for file in drawn.file:
        if not (sheets / file).resolve().is_relative_to(sheets.resolve()):
            raise BadRecord(path, f"{file!r} is not in {sheets}")
    prompts = drawn.prompt.str.replace("[name]", word, regex=False)
    return drawn.assign(prompt=prompts, file=[sheets / file for file in drawn.file])
