"""Files that were meant as pictures and that training will not see."""

from PIL import Image

from pseudoword.doctor.case import Case
from pseudoword.doctor.finding import Finding, Shown
from pseudoword.pictures.reading import SAME

TOLD = 3  # files whose reason the message gives
# What cameras and telephones write and Pillow does not know.
UNKNOWN = {".heic", ".heif", ".hif", ".jxl", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}


def skipped_files(case: Case) -> list[Finding]:
    """Files with the extension of a picture that give none; not copies of others, and not what is no picture."""
    used = {picture.source for picture in case.pictures}
    meant = tuple({*Image.registered_extensions(), *UNKNOWN})
    reasons = {
        source: reason
        for source, reason in case.skipped
        if source not in used and source.lower().endswith(meant) and not reason.startswith(SAME)
    }
    if not reasons:
        return []
    told = ", ".join(f"{source} ({reason})" for source, reason in list(reasons.items())[:TOLD])
    more = f" and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
    return [
        Finding(
            check="skipped",
            severity="warning",
            message=f"{len(reasons)} file{'s are' if len(reasons) > 1 else ' is'} skipped beside the {len(used)} that "
            f"are used: {told}{more}.",
            advice="Mend or convert what should be learned, and take the rest out of the folder.",
            pictures=[Shown(id="", source=source) for source in reasons],
            figure={"skipped": len(reasons), "used": len(used)},
        )
    ]
