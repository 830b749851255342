"""What a person should know after the stage, in a few lines."""

from collections import Counter

from pseudoword.settings.preprocess import Preprocess
from stages.preprocess.converting import Outcome
from stages.preprocess.folder import SHOWN, Listing

WRONG = {
    "horizontal": "lettering, and faces and things whose left differs from their right",
    "vertical": "lettering, faces, and everything that has a top",
    "both": "lettering, faces, and everything that has a top or whose left differs from its right",
}


def summary(wanted: Preprocess, listing: Listing, outcomes: list[Outcome]) -> list[str]:
    rows = [row for outcome in outcomes for row in outcome.rows]
    used = [row for row in rows if row.state == "used"]
    lines = []
    if wanted.mirror != "none":
        lines.append(f"warning: preprocess.mirror is {wanted.mirror}: {WRONG[wanted.mirror]} are learned wrongly")
        if faces := [outcome.rows[0].source for outcome in outcomes if outcome.face]:
            more = f" and {len(faces) - SHOWN} more" if len(faces) > SHOWN else ""
            lines.append(f"warning: there seem to be faces in {', '.join(faces[:SHOWN])}{more}, which are mirrored now")
    masks = sum(source.mask is not None for source in listing.sources)
    if masks and wanted.masks not in ("files", "auto"):
        lines.append(f"{masks} pictures have a mask file that is not used: preprocess.masks is {wanted.masks}")
    if weighted := sum(row.weighted == "yes" for row in used):
        lines.append(f"{weighted} pictures have a loss weight by place")
    shapes = Counter(px for outcome in outcomes for px in outcome.shapes)
    if len(shapes) > 1:
        lines.append("px: " + ", ".join(f"{count} of {w}x{h}" for (w, h), count in sorted(shapes.items())))
    return [*lines, f"{len(used)} pictures used, {len(rows) - len(used)} skipped"]
