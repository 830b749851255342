"""The picture that the PNG of a word shows: of all that the chosen checkpoint drew, the one most like the pictures."""

from pathlib import Path

import pandas as pd

from pseudoword.formats.picture import open_card
from pseudoword.records import BadRecord, Choice, JudgesRecord
from pseudoword.results.places import MEASURED
from pseudoword.results.scale import on_one_scale
from pseudoword.results.tables import read_measured


def chosen_pictures(choice: Choice, judges: JudgesRecord) -> pd.DataFrame:
    """The rows of the measured table that the chosen checkpoint drew, on the scale that it was chosen by. Raises
    BadRecord where it drew none."""
    drawn = on_one_scale(read_measured(), judges)
    drawn = drawn[(drawn.run == choice.run) & (drawn.step == choice.step) & (drawn.control == "")]
    if drawn.empty:
        raise BadRecord(MEASURED, f"it has no picture of step {choice.step} of run {choice.run}")
    return drawn


def best_picture(choice: Choice, drawn: pd.DataFrame) -> Path:
    """Of equally good ones the first. Raises BadRecord, and BadPicture for a file that is none."""
    drawn = drawn.dropna(subset=["similarity"])
    if drawn.empty:
        raise BadRecord(MEASURED, f"it has no picture of step {choice.step} of run {choice.run}")
    path = Path(drawn.sort_values("similarity", ascending=False, kind="stable").file.iloc[0])
    open_card(path)
    return path
