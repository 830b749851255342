"""The picture that the PNG of a word shows: of all that the chosen checkpoint drew, the one most like the pictures."""

from pathlib import Path

import pandas as pd

from pseudoword.errors import UserError
from pseudoword.formats.picture import open_card
from pseudoword.records import Choice

SHEETS = Path("outputs/evaluation/sheets")


class BadSheets(UserError):
    def __init__(self, problem: str) -> None:
        super().__init__(f"{SHEETS / 'pictures.csv'}: {problem}. Run `dvc repro evaluate`.")


def best_picture(choice: Choice) -> Path:
    """Of equally good ones the first. Raises BadSheets, and BadPicture for a file that is none."""
    try:
        table = pd.read_csv(SHEETS / "pictures.csv", dtype={"run": str, "file": str}, keep_default_na=False)
        own = table[(table["run"] == choice.run) & (table["step"] == choice.step)]
        own = own.assign(image_similarity=pd.to_numeric(own["image_similarity"])).dropna(subset=["image_similarity"])
        best = own.sort_values("image_similarity", ascending=False, kind="stable")["file"]
    except KeyError as error:
        raise BadSheets(f"has no column {error}") from None
    except (OSError, ValueError) as error:
        raise BadSheets(f"cannot be read ({error})") from None
    if best.empty:
        raise BadSheets(f"has no picture of step {choice.step} of run {choice.run}")
    path = SHEETS / str(best.iloc[0])
    if not path.resolve().is_relative_to(SHEETS.resolve()):
        raise BadSheets(f"{path} is not in {SHEETS}")
    open_card(path)
    return path
