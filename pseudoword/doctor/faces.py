"""Of a person: whether there is one face in each picture, large enough to learn."""

from pseudoword.doctor.case import Case, percent, shown, sources
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import Finding, Severity, names

MIN_HEIGHT = 0.12  # of the picture's side: at 512 px less than 8 latent px of face, which a VAE smears
MIN_SHARE_OF_LARGEST = 0.3  # of the height of the largest face, from which another counts as a person in the frame


def faces(case: Case) -> list[Finding]:
    """Pictures without a face, with a small one, and with those of several people. Only where the word is a person."""
    if case.intent.kind != "person":
        return []
    pictures = case.distinct
    none = [picture for picture in pictures if not picture.faces]
    small = [picture for picture in pictures if picture.faces and picture.faces[0] < MIN_HEIGHT]
    several = [
        picture
        for picture in pictures
        if len(picture.faces) > 1 and picture.faces[1] >= MIN_SHARE_OF_LARGEST * picture.faces[0]
    ]
    found = []
    if none:
        found.append(_finding(
            none, "warning" if len(none) > len(pictures) / 2 else "info",
            f"No face was found in {names(sources(none))}: the word learns a face from the others alone.",
            "Fine for a few pictures from behind or afar; otherwise use pictures that show the face.",
        ))  # fmt: skip
    if small:
        least = min(picture.faces[0] for picture in small)
        found.append(_finding(
            small, "info",
            f"The face is small in {names(sources(small))}, down to {percent(least)} of the picture's height: too "
            "few px to learn it from.",
            "Crop nearer: mostly close-ups, some from the waist up.",
        ))  # fmt: skip
    if several:
        found.append(_finding(
            several, "warning", f"There are several faces in {names(sources(several))}: the word learns all of them.",
            "Crop the others away, or leave the picture out.",
        ))  # fmt: skip
    return found


def _finding(pictures: list[MeasuredPicture], severity: Severity, message: str, advice: str) -> Finding:
    return Finding(check="faces", severity=severity, message=message, advice=advice, pictures=shown(pictures))
