"""preprocess: a person's pictures -> PNGs that the base model can learn from, and a table of them.

reads   data.folder                     every file in it that is no caption; sub-folders with preprocess.recursive
writes  outputs/pictures/<id>.png       RGB; of preprocess.resolution, or what preprocess.shape says
        outputs/pictures/<id>.mask.png  L, the loss weight by place, where the picture has one
        outputs/pictures.csv            one row per picture made and per file skipped, sorted by the file's name
        outputs/preprocess.png          contact sheet: each file with its crop box

A file that cannot be used is skipped and named with its reason; only when none is left does the stage fail.
"""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from pseudoword.base.identity import ModelIdentity
from pseudoword.files import save_with, write_table
from pseudoword.findings import names
from pseudoword.links import leads_out
from pseudoword.pictures.folder import NothingUsable
from pseudoword.pictures.opening import has_frames
from pseudoword.pictures.prepared import mask_name
from pseudoword.pictures.reading import Opened, Outcome, PictureRow, read_folder
from pseudoword.pictures.views import Framing, framing_for
from pseudoword.results.places import PICTURES
from pseudoword.results.places import PICTURES_TABLE as TABLE
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.settings.stage import StageSettings
from stages._runtime import run_stage
from stages.preprocess.sheet import MAX_CELLS, Cell, compose, draw_skipped, draw_source
from stages.preprocess.summary import Written, summary

SHEET = Path("outputs/preprocess.png")


class Settings(StageSettings):
    data: DataSettings
    base: BaseSettings
    preprocess: PreprocessSettings


def main() -> None:
    settings = Settings.read("preprocess")
    folder, wanted, base = settings.data.folder, settings.preprocess, settings.base
    framing = framing_for(wanted, ModelIdentity(base.model, base.revision, base.config))
    # As dvc does before a stage: nothing of an earlier run stays behind, also where this one fails.
    shutil.rmtree(PICTURES, ignore_errors=True)
    for path in (TABLE, SHEET):
        path.unlink(missing_ok=True)

    sources, outcomes = read_folder(folder, framing, partial(_write, framing), "preprocess")
    rows = sorted((row for outcome in outcomes for row in outcome.rows), key=lambda row: row.source)
    skips = [(row.source, row.reason) for row in rows if row.state == "skipped"]
    for source, reason in skips:
        print(f"skipped {source}: {reason}")
    if linked := [source.name for source in sources if source.path.exists() and leads_out(source.path, folder)]:
        print(f"links to files outside {folder} are followed: {names(linked)}")
    used = dict.fromkeys(row.source for row in rows if row.state == "used")
    if frames := [source for source in used if has_frames(folder / source)]:
        print(f"only the first frame or page is used: {names(frames)}")
    if len(skips) == len(rows):
        raise NothingUsable(folder, skips)
    cells = [_cell(outcome) for outcome in outcomes[:MAX_CELLS]]
    sheet = compose(cells, len(outcomes))
    save_with(SHEET, lambda part: sheet.save(part, "PNG"))
    table = pd.DataFrame(rows, columns=list(PictureRow._fields))
    write_table(TABLE, table.astype({"width": "Int64", "height": "Int64"}))
    for line in summary(wanted, sources, rows, [outcome.made for outcome in outcomes if outcome.made]):
        print(line)


def _write(framing: Framing, opened: Opened, i: int) -> Written:
    shapes = []
    for row, _, picture, weight in opened.pictures():
        _save(picture, f"{row.id}.png")
        if weight is not None:
            _save(weight, mask_name(row.id))
        shapes.append(picture.size)
    cell = draw_source(opened, framing.wanted.focal.debug) if i < MAX_CELLS else None
    return Written(opened.source.name, cell, shapes, framing.wanted.mirror != "none" and _shows_face(framing, opened))


def _shows_face(framing: Framing, opened: Opened) -> bool:
    return any(view.focus.faces for view in opened.views) or bool(framing.find_faces(opened.image))


def _save(image: Image.Image, name: str) -> None:
    save_with(PICTURES / name, lambda part: image.save(part, "PNG"))


def _cell(outcome: Outcome[Written]) -> Cell:
    return (outcome.made and outcome.made.cell) or draw_skipped(outcome.rows[0].source, outcome.reason)


if __name__ == "__main__":
    run_stage(main)
