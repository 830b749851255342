"""Files that were meant as pictures and that training will not see."""

from PIL import Image

from pseudoword.doctor.case import Case
from pseudoword.findings import Finding, PictureRef
from pseudoword.pictures.reading import SAME_AS

MAX_REASONS = 3  # files whose reason the message gives
# What cameras and telephones write and Pillow does not know.
UNREADABLE_SUFFIXES = [
    ".heic",
    ".heif",
    ".hif",
    ".jxl",
    ".raw",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".orf",
    ".rw2",
    ".raf",
]


def skipped_files(case: Case) -> list[Finding]:
    """Files with the extension of a picture that give none; not copies of others, and not what is no picture."""
    used = {picture.source for picture in case.pictures}
    meant = tuple({*Image.registered_extensions(), *UNREADABLE_SUFFIXES})
    reasons = {
        source: reason
        for source, reason in case.skipped
        if source not in used and source.lower().endswith(meant) and not reason.startswith(SAME_AS)
    }
    if not reasons:
        return []
    told = ", ".join(f"{source} ({reason})" for source, reason in list(reasons.items())[:MAX_REASONS])
    more = f" and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return [
        Finding(
            check="skipped",
            severity="warning",
            message=f"{len(reasons)} file{'s are' if len(reasons) > 1 else ' is'} skipped beside the {len(used)} that "
            f"are used: {told}{more}.",
            advice="Mend or convert what should be learned, and take the rest out of the folder.",
            pictures=[PictureRef(id="", source=source) for source in reasons],
            figure={"skipped": len(reasons), "used": len(used)},
        )
    ]
