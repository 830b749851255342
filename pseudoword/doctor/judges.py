"""Whether the judges can be had, which are asked only after training."""

from collections.abc import Callable, Iterator

from pseudoword.doctor.case import Case
from pseudoword.findings import Finding
from pseudoword.judge import ImageJudge, NoJudge, TextJudge, image_judge_name, text_judge_name


def judges(case: Case) -> list[Finding]:
    """Each judge that cannot be loaded. Tried on the CPU; one on the hub is fetched now rather than after training."""
    wanted, model, kind = case.intent.judge, case.intent.model, case.intent.kind
    if wanted is None:
        return []
    tries: list[Callable[[], object]] = [
        lambda: ImageJudge.load(image_judge_name(wanted.images, kind, model), kind, "cpu"),
        lambda: TextJudge.load(text_judge_name(wanted.texts, model), "cpu"),
    ]
    return [finding for load in tries for finding in _refused(load)]


def _refused(load: Callable[[], object]) -> Iterator[Finding]:
    try:
        load()
    except NoJudge as error:
        advice = "Name another, or train unjudged: doctor.ignore: [judges], and `dvc repro evaluate`."
        yield Finding(check="judges", severity="error", message=str(error), advice=advice)
