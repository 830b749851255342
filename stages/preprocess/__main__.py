"""preprocess: a person's pictures -> PNGs that the base model can learn from, and a table of them.

reads   data.folder                     every file in it that is no caption; sub-folders with preprocess.recursive
writes  outputs/pictures/<id>.png       RGB; square of preprocess.resolution, or what preprocess.shape says
        outputs/pictures/<id>.mask.png  L, the loss weight by place, where the picture has one
        outputs/pictures.csv            one row per picture made and per file skipped, sorted by the file's name
        outputs/preprocess.png          contact sheet: each file with its crop box

A file that cannot be used is skipped and named with its reason; only when none is left does the stage fail.
"""

import shutil
import warnings
from pathlib import Path

import pandas as pd

from pseudoword.base.location import native_resolution, side_multiple
from pseudoword.errors import UserError
from pseudoword.files import save_with, write_table
from pseudoword.pictures import PICTURES, TABLE
from pseudoword.settings import Settings, load_settings
from stages._runtime import run_stage
from stages.preprocess.batch import convert_all
from stages.preprocess.converting import Converter, Row
from stages.preprocess.faces import FaceFinder
from stages.preprocess.folder import NothingUsable, list_folder
from stages.preprocess.shapes import STEP
from stages.preprocess.sheet import compose
from stages.preprocess.summary import summary

SHEET = Path("outputs/preprocess.png")


class WrongSteps(UserError):
    def __init__(self, multiple: int) -> None:
        super().__init__(
            f"preprocess.shape: autosize makes sides of multiples of {STEP} px, and the UNet of base.model takes "
            f"multiples of {multiple}. Choose buckets, keep or square in params.yaml."
        )


def converter_of(settings: Settings) -> Converter:
    wanted, base = settings.preprocess, settings.base
    side = wanted.resolution
    if side == "auto":
        side = native_resolution(base.model, base.revision, base.config)
    # A square is taken as it is; only for the other shapes does the stage have to know the model.
    multiple = 1 if wanted.shape == "square" else side_multiple(base.model, base.revision, base.config)
    if wanted.shape == "autosize" and STEP % multiple:
        raise WrongSteps(multiple)
    return Converter(settings.data.folder, wanted, side, multiple, FaceFinder(wanted.focal.face_model))


def main() -> None:
    settings = load_settings()
    convert = converter_of(settings)
    listing = list_folder(settings.data.folder, settings.preprocess.recursive)
    # As dvc does before a stage: no picture of an earlier run stays behind.
    shutil.rmtree(PICTURES, ignore_errors=True)
    # Pillow warns of odd metadata, and of pictures above half the size at which it refuses them: neither matters.
    with warnings.catch_warnings(action="ignore"):
        outcomes = convert_all(listing, convert)
    rows = sorted((row for outcome in outcomes for row in outcome.rows), key=lambda row: row.source)
    skips = [(row.source, row.reason) for row in rows if row.state == "skipped"]
    for source, reason in skips:
        print(f"skipped {source}: {reason}")
    if len(skips) == len(rows):
        raise NothingUsable(settings.data.folder, skips)
    sheet = compose([outcome.cell for outcome in outcomes if outcome.cell], len(outcomes))
    save_with(SHEET, lambda part: sheet.save(part, "PNG"))
    table = pd.DataFrame(rows, columns=list(Row._fields))
    write_table(TABLE, table.astype({"width": "Int64", "height": "Int64"}))
    for line in summary(settings.preprocess, listing, outcomes):
        print(line)


if __name__ == "__main__":
    run_stage(main)
