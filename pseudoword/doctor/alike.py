"""The check of pictures that are one photograph."""

from pseudoword.doctor.case import Case, shown, sources
from pseudoword.doctor.copies import Copies
from pseudoword.findings import Finding, names

MAX_GROUPS = 4  # that the message names; the record holds all of them


def near_duplicates(case: Case) -> list[Finding]:
    """One finding for all groups of pictures that are one photograph, in whatever crop, size or mirroring."""
    groups = case.copies
    if not groups:
        return []
    return [
        Finding(
            check="alike",
            severity="warning",
            message=_message(groups),
            advice="Keep the best of them and take the others out of the folder.",
            pictures=shown(picture for group in groups for picture in group.pictures),
            figure={
                "correlation": round(min(group.correlation for group in groups), 3),
                "groups": [sources(group.pictures) for group in groups],
            },
        )
    ]


def _message(groups: list[Copies]) -> str:
    if len(groups) == 1:
        mirrored = " (mirrored)" if groups[0].mirrored else ""
        return (
            f"{names(sources(groups[0].pictures))} are one photograph{mirrored}: the word learns it harder than the "
            "others, with all that happens to be in it."
        )
    told = "; ".join(names(sources(group.pictures)) + " (mirrored)" * group.mirrored for group in groups[:MAX_GROUPS])
    more = f"; and {len(groups) - MAX_GROUPS} more" if len(groups) > MAX_GROUPS else ""
    return (
        f"{len(groups)} photographs are there more than once ({told}{more}): the word learns them harder than the "
        "others, with all that happens to be in them."
    )
