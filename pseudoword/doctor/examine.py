"""All checks on one data set, cheapest first, as a report.

report = examine(intent, machine, same_background=0.6, ignore=[])
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pseudoword.captions import CAPTIONS, CaptionsDoNotFit
from pseudoword.doctor.alike import near_duplicates
from pseudoword.doctor.budget import budget, number
from pseudoword.doctor.case import Case
from pseudoword.doctor.finding import SEVERITIES, Finding, Report
from pseudoword.doctor.fit import name, resolution
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.lettering import marks, mirrored
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.model import Model, read_model
from pseudoword.doctor.outlier import outlier
from pseudoword.doctor.pictures import Picture, has_preprocessed, preprocessed, raw
from pseudoword.doctor.quality import bad_crop, blurred, borders, too_small
from pseudoword.doctor.texts import caption_count, common_words
from pseudoword.doctor.variety import background, black_and_white, look

USUAL_SIDE = 512  # px, where neither the settings nor a model that can be read says more


class Check(NamedTuple):
    make: Callable[[Case], list[Finding]]
    captions: bool = False
    model: bool = False


CHECKS = {
    "number": Check(number),
    "captions": Check(caption_count, captions=True),
    "alike": Check(near_duplicates),
    "small": Check(too_small),
    "blurred": Check(blurred),
    "crop": Check(bad_crop),
    "background": Check(background),
    "look": Check(look),
    "words": Check(common_words, captions=True),
    "outlier": Check(outlier),
    "borders": Check(borders),
    "lettering": Check(marks),
    "black-and-white": Check(black_and_white),
    "mirrored": Check(mirrored),
    "resolution": Check(resolution),
    "name": Check(name, model=True),
    "budget": Check(budget, model=True),
}


def examine(
    intent: Intent, machine: Machine, same_background: float, ignore: Collection[str], raw_only: bool = False
) -> Report:
    """Make every check that can be made on what is there; the worst findings come first.

    Before `preprocess` ran, the person's own pictures are looked at; before `curate` ran, captions are left out.
    `raw_only` looks at the person's own in any case.
    """
    model = read_model(intent.model, intent.revision, intent.config)
    pictures, unread = _pictures(intent, model, raw_only)
    case = Case(pictures, _captions() if pictures[0].id else None, intent, model, machine, same_background)
    findings, left_out = [], {}
    for check, (make, captions, needs_model) in CHECKS.items():
        if check in ignore:
            left_out[check] = "doctor.ignore names it"
        elif captions and case.captions is None:
            left_out[check] = "there are no captions yet; `dvc repro doctor` makes them"
        elif needs_model and isinstance(model, str):
            left_out[check] = "the base model cannot be read"
        else:
            findings += make(case)
    if unread:
        left_out["files"] = f"{len(unread)} files do not open as pictures, {unread[0]} first; preprocess says why"
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(pictures=len(pictures), findings=findings, left_out=left_out)


def _pictures(intent: Intent, model: Model | str, raw_only: bool) -> tuple[list[Picture], list[str]]:
    if has_preprocessed() and not raw_only:
        return preprocessed(intent.folder), []
    side = intent.resolution
    if side == "auto":
        side = USUAL_SIDE if isinstance(model, str) else model.resolution
    return raw(intent.folder, int(side))


def _captions(path: Path = CAPTIONS) -> dict[str, str] | None:
    """Captions by picture id; None where there is no table."""
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return dict(zip(table["id"], table["caption"], strict=True))
    except (ValueError, KeyError) as error:
        raise CaptionsDoNotFit(path, [str(error)]) from None
