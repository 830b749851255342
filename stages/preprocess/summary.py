"""What a person should know after the stage, in a few lines."""

from collections import Counter
from typing import NamedTuple

from pseudoword.pictures.folder import SHOWN, Source
from pseudoword.pictures.reading import Row
from pseudoword.pictures.shapes import Px
from pseudoword.settings.preprocess import Preprocess
from stages.preprocess.sheet import Cell

WRONG = {
    "horizontal": "lettering, and faces and things whose left differs from their right",
    "vertical": "lettering, faces, and everything that has a top",
    "both": "lettering, faces, and everything that has a top or whose left differs from its right",
}


class Written(NamedTuple):
    """What was made of a file."""

    source: str
    cell: Cell | None  # where the sheet has room for it
    shapes: list[Px]  # of its pictures
    face: bool  # seen, and mirrored


def summary(wanted: Preprocess, sources: list[Source], rows: list[Row], written: list[Written]) -> list[str]:
    used = [row for row in rows if row.state == "used"]
    lines = []
    if wanted.mirror != "none":
        lines.append(f"warning: preprocess.mirror is {wanted.mirror}: {WRONG[wanted.mirror]} are learned wrongly")
        if faces := [one.source for one in written if one.face]:
            more = f" and {len(faces) - SHOWN} more" if len(faces) > SHOWN else ""
            lines.append(f"warning: there seem to be faces in {', '.join(faces[:SHOWN])}{more}, which are mirrored now")
    masks = sum(source.mask is not None for source in sources)
    if masks and wanted.masks not in ("files", "auto"):
        lines.append(f"{masks} pictures have a mask file that is not used: preprocess.masks is {wanted.masks}")
    if weighted := sum(row.weighted == "yes" for row in used):
        lines.append(f"{weighted} pictures have a loss weight by place")
    shapes = Counter(px for one in written for px in one.shapes)
    if len(shapes) > 1:
        lines.append("px: " + ", ".join(f"{count} of {w}x{h}" for (w, h), count in sorted(shapes.items())))
    return [*lines, f"{len(used)} pictures used, {len(rows) - len(used)} skipped"]
