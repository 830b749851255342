"""The commands on the project in the current folder: check, status, review and doctor."""

from pathlib import Path

from app.review.desk import Desk
from app.review.server import reviewer, serve
from pseudoword.base.identity import ModelIdentity
from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.doctor.report import summary
from pseudoword.errors import UserError
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.pictures.prepared import used_ids
from pseudoword.settings.loading import PARAMS, load_settings
from pseudoword.settings.messages import BadSettings
from pseudoword.settings.sweep import runs
from pseudoword.terminal import print_json, printable
from stages.check.folder import folder_problems
from stages.check.refusals import refusals
from stages.curate.tokens import prompt_length
from stages.doctor.diagnosis import diagnose


class WouldStop(UserError):
    def __init__(self, fail_on: str, number: int) -> None:
        super().__init__(
            f"{number} of these would stop the pipeline, as doctor.fail_on is {fail_on}. Mend them, or name their "
            "checks in doctor.ignore."
        )


def review(host: str, port: int, browser: bool) -> None:
    """Serve the review page until Ctrl-C. Raises UserError."""
    settings = load_settings()
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config)
    length = prompt_length(settings, model, count_unmirrored(used_ids()))
    curate, texts = settings.curate, [run.word.init_text for run in runs(settings).values()]
    cutting = Cutting.of(curate.cut, settings.word.init_text)
    word = settings.word
    desk = Desk(
        settings.data.folder, curate.existing, cutting, word.name, word.kind, texts, length, reviewer(),
        curate.unescape,
    )  # fmt: skip
    serve(desk, host, port, browser)


def doctor(folder: Path | None, as_json: bool) -> None:
    """Print what speaks against the pictures of `folder`, else of data.folder, as they are now. Raises UserError."""
    settings = load_settings()
    if folder is not None:
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"folder": folder})})
    if not as_json:
        print(
            printable(
                f"reads {settings.data.folder}, with pictures and captions as preprocess and curate would make them"
            )
        )
    problems = refusals(settings)  # at which the stage check stops
    if folder_problems(settings.data.folder):
        raise BadSettings(PARAMS, problems)
    report = diagnose(settings, settings.curate)
    fail_on = settings.doctor.fail_on
    bad = report.at_least(fail_on)
    if as_json:
        print_json({**report.model_dump(mode="json"), "refused": problems, "would_stop": len(bad)})
    else:
        for line in summary(report).splitlines():
            print(printable(line))
    if problems:
        raise BadSettings(PARAMS, problems)
    if bad:
        raise WouldStop(fail_on, len(bad))
