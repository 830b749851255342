"""The picture that the PNG of a word shows: of all that the chosen checkpoint drew, the one most like the pictures."""

from pathlib import Path

from pseudoword.formats.picture import open_card
from pseudoword.records import BadRecord, Choice
from pseudoword.results.places import DRAWN
from pseudoword.results.tables import read_drawn


def best_picture(choice: Choice) -> Path:
    """Of equally good ones the first. Raises BadRecord, and BadPicture for a file that is none."""
    drawn = read_drawn(choice.word)
    drawn = drawn[(drawn.run == choice.run) & (drawn.step == choice.step)].dropna(subset=["image_similarity"])
    if drawn.empty:
        raise BadRecord(DRAWN, f"it has no picture of step {choice.step} of run {choice.run}")
    path = Path(drawn.sort_values("image_similarity", ascending=False, kind="stable").file.iloc[0])
    open_card(path)
    return path
