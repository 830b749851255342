"""outputs/captions.csv, as the stages after `curate` read it."""

from pathlib import Path

import pandas as pd

from pseudoword.errors import UserError

CAPTIONS = Path("outputs/captions.csv")


class CaptionsDoNotFit(UserError):
    def __init__(self, path: Path, missing: list[str]) -> None:
        super().__init__(
            f"{path} has no row for {len(missing)} of the pictures, {missing[0]} first. Run `dvc repro curate`."
        )


def read_captions(ids: list[str], path: Path = CAPTIONS) -> list[str]:
    """The caption of each picture, in the order of `ids`; an empty one is legal. Raises CaptionsDoNotFit."""
    # Without keep_default_na a caption such as "none" or "null" would become a missing value.
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("id")["caption"]
    if missing := [name for name in ids if name not in table.index]:
        raise CaptionsDoNotFit(path, missing)
    return [table[name] for name in ids]
