"""The tables in outputs/, each column as what it is: text stays text, numbers are numbers or NaN."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pseudoword.links import leads_out
from pseudoword.records import BadRecord
from pseudoword.results.places import DRAWN, MEASURED, PICTURES_TABLE, SHEETS


def read_table(
    path: Path, text: Iterable[str] = (), numbers: Iterable[str] = (), later: Iterable[str] = ()
) -> pd.DataFrame:
    """Read the named columns of a CSV; those of `later`, which tables of before lack, are empty text then.

    Raises BadRecord.

    Everything is text at first: a caption may be 'NA', and an id look like 1e10.
    """
    columns, numeric = [*text, *later, *numbers], list(numbers)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = table.assign(**{column: "" for column in later if column not in table})
        if missing := [column for column in columns if column not in table]:
            raise BadRecord(path, f"it has no column '{missing[0]}'")
        return table[columns].assign(**{column: pd.to_numeric(table[column]) for column in numeric})
    except (OSError, ValueError) as error:
        raise BadRecord(path, str(error)) from None


MEASURES_VERSION = 2  # of their definitions; figures of different ones cannot be compared
MEASURES = ("similarity", "likeness", "identity", "obedience", "variety", "copying", "overbaked", "broken")


def read_used(root: Path = Path()) -> pd.DataFrame:
    """`id` and `source` of the pictures that were learned from, sorted by id."""
    table = read_table(root / PICTURES_TABLE, text=("id", "source", "state"))
    return table[table.state == "used"].sort_values("id", ignore_index=True)


def count_weighted(root: Path = Path()) -> int:
    """How many pictures have a loss weight by place; none where the table does not say."""
    table = pd.read_csv(root / PICTURES_TABLE, dtype=str, keep_default_na=False)
    return int((table["weighted"] == "yes").sum()) if "weighted" in table else 0


def read_losses(path: Path) -> pd.DataFrame:
    """One row for each checkpoint, by run and step."""
    table = read_table(path, text=("run", "drawn"), numbers=("step", "loss"))
    return table.assign(drawn=_true(table.drawn))


def read_scores(path: Path) -> pd.DataFrame:
    """One row for each checkpoint, by run and step; what is measured is NaN where nothing was drawn."""
    ends = [f"{name}{end}" for name in (*MEASURES, "score") for end in ("", "_low", "_high")]
    marks = ("tied", "chosen", "of_run")
    table = read_table(path, ("run", "veto", "tied", "chosen"), ("step", "loss", *ends), later=("of_run",))
    return table.assign(**{mark: _true(table[mark]) for mark in marks}).sort_values(["run", "step"], ignore_index=True)


def _true(column: "pd.Series[str]") -> "pd.Series[bool]":
    return column.str.lower() == "true"


def read_drawn(root: Path = Path()) -> pd.DataFrame:
    """One row for each drawn picture and run that it belongs to; `file` as a path. Raises BadRecord."""
    path = root / DRAWN
    table = read_table(path, ("run", "control", "prompt", "file"), ("step", "seed"), later=("elsewhere",))
    return _with_paths(table[["run", "step", "control", "elsewhere", "prompt", "seed", "file"]], path, root)


def read_measured(root: Path = Path()) -> pd.DataFrame:
    """Those of the same rows that were drawn at home, on the base model and with nothing beside the word.

    With what was measured, on the scales that the files in stages/judge/measures define.
    """
    table = _measured(root)
    return table[table["elsewhere"] == ""].drop(columns="elsewhere")


def read_elsewhere(root: Path = Path()) -> pd.DataFrame:
    """The rows that were drawn elsewhere, named in the column `elsewhere`."""
    table = _measured(root)
    return table[table["elsewhere"] != ""]


def _measured(root: Path) -> pd.DataFrame:
    path = root / MEASURED
    text, numbers = ("run", "control", "prompt", "file", "nearest"), ("step", "seed", *MEASURES)
    return _with_paths(read_table(path, text=text, numbers=numbers, later=("elsewhere",)), path, root)


def _with_paths(table: pd.DataFrame, path: Path, root: Path) -> pd.DataFrame:
    sheets = root / SHEETS
    for file in table.file:
        if leads_out(sheets / file, sheets):
            raise BadRecord(path, f"{file!r} is not in {sheets}")
    return table.assign(file=[(sheets / file).as_posix() for file in table.file])
