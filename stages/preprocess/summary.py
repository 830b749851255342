"""What a person should know after the stage, in a few lines."""

from collections import Counter
from typing import NamedTuple

from pseudoword.findings import names
from pseudoword.pictures.folder import MAX_NAMES, SourceFile, meant_as_masks
from pseudoword.pictures.reading import PictureRow
from pseudoword.pictures.shapes import Px
from pseudoword.settings.preprocess import PreprocessSettings
from stages.preprocess.sheet import Cell

MIRRORED_WRONGLY = {
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


def summary(
    wanted: PreprocessSettings, sources: list[SourceFile], rows: list[PictureRow], written: list[Written]
) -> list[str]:
    used = [row for row in rows if row.state == "used"]
    lines = []
    if wanted.mirror != "none":
        lines.append(
            f"warning: preprocess.mirror is {wanted.mirror}: {MIRRORED_WRONGLY[wanted.mirror]} are learned wrongly"
        )
        if faces := [picture.source for picture in written if picture.face]:
            more = f" and {len(faces) - MAX_NAMES} more" if len(faces) > MAX_NAMES else ""
            lines.append(
                f"warning: there seem to be faces in {', '.join(faces[:MAX_NAMES])}{more}, which are mirrored now"
            )
    masks = sum(source.mask is not None for source in sources)
    if masks and wanted.masks not in ("files", "auto"):
        lines.append(f"{masks} pictures have a mask file that is not used: preprocess.masks is {wanted.masks}")
    near = meant_as_masks(sources)
    if taken := [row.source for row in used if row.source in near and not row.mirrored]:
        lines.append(
            f"warning: used as pictures, but they seem to be masks: {names(list(dict.fromkeys(taken)))}. A mask is a "
            f"PNG called as its picture, such as {near[taken[0]]}, white where it counts"
        )
    if weighted := sum(row.weighted == "yes" for row in used):
        lines.append(f"{weighted} pictures have a loss weight by place")
    shapes = Counter(px for picture in written for px in picture.shapes)
    if len(shapes) > 1:
        lines.append("px: " + ", ".join(f"{count} of {w}x{h}" for (w, h), count in sorted(shapes.items())))
    return [*lines, f"{len(used)} pictures used, {len(rows) - len(used)} skipped"]
