"""All checks on one data set, cheapest first, as a report.

report = examine(intent, machine, same_background=0.6, ignore=[], curate=settings.curate)
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from pseudoword.doctor.alike import near_duplicates
from pseudoword.doctor.budget import budget, number
from pseudoword.doctor.captions import caption_count, common_words
from pseudoword.doctor.case import CannotTell, Case
from pseudoword.doctor.faces import faces
from pseudoword.doctor.fit import name, resolution
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.judges import judges
from pseudoword.doctor.lettering import marks, mirrored
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.model import Model, read_model
from pseudoword.doctor.outlier import outlier
from pseudoword.doctor.pictures import as_preprocess_would, preprocessed
from pseudoword.doctor.quality import animated, bad_crop, blurred, borders, nearly_black, too_small
from pseudoword.doctor.refusals import refused
from pseudoword.doctor.report import Report
from pseudoword.doctor.skipped import skipped_files
from pseudoword.doctor.texts import as_curate_would, written_captions
from pseudoword.doctor.variety import background, black_and_white, look
from pseudoword.findings import SEVERITIES, Finding
from pseudoword.pictures.faces import FaceFinder
from pseudoword.pictures.shapes import STEP_PX
from pseudoword.pictures.views import Framing, framing_for
from pseudoword.settings.curate import CurateSettings

DEFAULT_PX = 512, 512  # px, where neither the settings nor a model that can be read says more


class Check(NamedTuple):
    make: Callable[[Case], list[Finding]]
    captions: bool = False
    model: bool = False


CHECKS = {
    "skipped": Check(skipped_files),
    "animated": Check(animated),
    "number": Check(number),
    "captions": Check(caption_count, captions=True),
    "alike": Check(near_duplicates),
    "small": Check(too_small),
    "blurred": Check(blurred),
    "dark": Check(nearly_black),
    "crop": Check(bad_crop),
    "background": Check(background),
    "look": Check(look),
    "words": Check(common_words, captions=True),
    "outlier": Check(outlier),
    "borders": Check(borders),
    "lettering": Check(marks),
    "black-and-white": Check(black_and_white),
    "faces": Check(faces),
    "mirrored": Check(mirrored),
    "resolution": Check(resolution),
    "name": Check(name, model=True),
    "refused": Check(refused, model=True),
    "judges": Check(judges, model=True),
    "budget": Check(budget, model=True),
}


def examine(
    intent: Intent, machine: Machine, same_background: float, ignore: Collection[str], curate: CurateSettings | None
) -> Report:
    """Make every check that can be made on what is there; the worst findings come first.

    curate  look at what `preprocess` and `curate` would make by these settings of the person's folder as it is now;
            None: at what they wrote, as the stage does
    """
    model = read_model(intent.model)
    find_faces = FaceFinder(None) if intent.kind == "person" and "faces" not in ignore else None
    pictures, skipped = (
        preprocessed(intent.folder, find_faces)
        if curate is None
        else as_preprocess_would(intent.folder, _framing(intent, model), find_faces)
    )
    captions, origins, lint = written_captions() if curate is None else as_curate_would(pictures, intent, curate)
    case = Case(
        pictures, skipped, captions, intent, model, machine, same_background, origins, ignore, curated=curate is None
    )
    findings, left_out = [], {}
    for check, (make, needs_captions, needs_model) in CHECKS.items():
        if check in ignore:
            left_out[check] = "doctor.ignore names it"
        elif needs_captions and captions is None:
            left_out[check] = "there are no captions of these pictures yet; `dvc repro doctor` makes them"
        elif needs_model and isinstance(model, str):
            left_out[check] = "the base model cannot be read"
        else:
            try:
                findings += make(case)
            except CannotTell as error:
                left_out[check] = str(error)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(pictures=len(pictures), findings=findings, left_out=left_out, lint=lint)


def _framing(intent: Intent, model: Model | str) -> Framing:
    wanted = intent.preprocess
    if not isinstance(model, str):
        return framing_for(wanted, intent.model)
    return Framing(wanted, wanted.px or DEFAULT_PX, STEP_PX, FaceFinder(wanted.focal.face_model))
