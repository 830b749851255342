"""preprocess: a person's pictures -> square PNGs of one size and a table of them.

reads   data.folder                  every file in it that is no caption; sub-folders are not entered
writes  outputs/pictures/<id>.png    RGB, the side is preprocess.resolution (auto: what the base model was trained on)
        outputs/pictures.csv         id, source, state, reason, width, height; one row per file, sorted by name

A file that cannot be used is skipped and named with its reason; only when none is left does the stage fail.
"""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from pseudoword.base.location import native_resolution
from pseudoword.files import save_with, write_table
from pseudoword.pictures import PICTURES, TABLE
from pseudoword.settings import load_settings
from stages._runtime import run_stage
from stages.preprocess.cropping import centre_square
from stages.preprocess.folder import NothingUsable, list_files, shown_name
from stages.preprocess.opening import NotUsable, open_upright


class Row(NamedTuple):
    """One line of outputs/pictures.csv; width and height are the upright source's in px."""

    id: str
    source: str
    state: str
    reason: str
    width: int | None
    height: int | None


def convert(path: Path, side: int, names: dict[str, str]) -> Row:
    """Write the square picture of one file. `names` holds the file behind each id so far, and gains this one."""
    source = shown_name(path)
    try:
        image = open_upright(path)
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        if name in names:
            raise NotUsable(f"same as {names[name]}")
    except NotUsable as error:
        return Row("", source, "skipped", str(error), None, None)
    names[name] = source
    save_with(PICTURES / f"{name}.png", lambda part: centre_square(image, side).save(part, "PNG"))
    return Row(name, source, "used", "", image.width, image.height)


def main() -> None:
    settings = load_settings()
    side = settings.preprocess.resolution
    if side == "auto":
        side = native_resolution(settings.base.model, settings.base.revision)
    files = list_files(settings.data.folder)
    # As dvc does before a stage: no picture of an earlier run stays behind.
    shutil.rmtree(PICTURES, ignore_errors=True)
    names: dict[str, str] = {}
    rows = [convert(path, side, names) for path in tqdm(files, desc="preprocess", unit="file", mininterval=1)]
    skipped = [(row.source, row.reason) for row in rows if row.state == "skipped"]
    for source, reason in skipped:
        print(f"skipped {source}: {reason}")
    if not names:
        raise NothingUsable(settings.data.folder, skipped)
    table = pd.DataFrame(rows, columns=list(Row._fields))
    write_table(TABLE, table.astype({"width": "Int64", "height": "Int64"}))
    print(f"{len(names)} pictures used, {len(skipped)} skipped")


if __name__ == "__main__":
    run_stage(main)
