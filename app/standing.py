"""The commands check and status: whether the settings can be run, and where the project in this folder stands."""

from collections.abc import Iterator
from pathlib import Path

from pseudoword.dvc.graph import Stage, changed_stages, stages_in_order
from pseudoword.records import Choice, read_record
from pseudoword.results.places import CHOICE
from pseudoword.settings.loading import PARAMS, load_settings
from pseudoword.settings.sweep import runs
from pseudoword.terminal import printable
from stages.check.__main__ import main as check_stage

MAX_STAGES = 6  # that get a line of their own, so that all of it is ten lines
MAX_REASONS = 3  # told of each
REASON = {"changed outs": "{} is gone or changed", "changed deps": "{}"}


def check() -> None:
    """Print that nothing in params.yaml speaks against a run. Raises UserError for what does."""
    check_stage()
    settings = load_settings()
    number = len(runs(settings))
    print(
        printable(
            f"{PARAMS} can be run: '{settings.word.name}' from {settings.data.folder} on {settings.base.model}, "
            f"{number} run{'s' if number > 1 else ''}"
        )
    )


def status() -> None:
    """Print what is up to date, what will run and what the last choice was. Raises UserError."""
    check_stage()  # what stages depend on is as params.yaml and the code are now
    stages = [stage for stage in stages_in_order(Path.cwd()) if not stage.always]
    for line in [*standing(stages, changed_stages(Path.cwd())), *last_choice()]:
        print(printable(line))


def standing(stages: list[Stage], changed: dict[str, list[str]]) -> Iterator[str]:
    """At most nine lines on the stages, given in order.

    changed   reasons of the stages that are not as they were; what depends on such a stage runs too, if that writes
              something else. One that always runs is not among the stages: it is changed, and says nothing by it
    """
    changed = {stage.name: changed[stage.name] for stage in stages if stage.name in changed}
    after: list[str] = []
    for stage in stages:
        if stage.name not in changed and any(needed in changed or needed in after for needed in stage.needs):
            after.append(stage.name)
    running = [stage.name for stage in stages if stage.name in changed]
    if still := [stage.name for stage in stages if stage.name not in {*running, *after}]:
        yield f"up to date  {', '.join(still)}"
    for name in running[:MAX_STAGES]:
        yield f"runs        {name}: {_told(name, changed[name])}"
    if rest := running[MAX_STAGES:]:
        yield f"run too     {', '.join(rest)}"
    if after:
        yield f"may run     {', '.join(after)}: if what they read becomes another"


def last_choice(path: Path = CHOICE) -> Iterator[str]:
    if not path.is_file():
        yield "no choice   nothing was chosen yet"
        return
    choice = read_record(path, Choice)
    if not choice.better_than_init:
        yield f"no choice   '{choice.word}': {' '.join([choice.reason, *choice.advice])}"
        return
    yield f"chosen      '{choice.word}' of {choice.run} after {choice.step} steps: {choice.reason}"


def _told(stage: str, reasons: list[str]) -> str:
    """`changed deps: data/sample` as `data/sample`; the two files that stand for code and settings as these."""
    names = {f"outputs/code/{stage}.txt": "its code", f"outputs/settings/{stage}.json": "its settings"}
    parts = []
    for reason in reasons:
        kind, _, path = reason.partition(": ")
        parts.append(REASON.get(kind, reason).format(names.get(path, path)))
    more = len(parts) - MAX_REASONS
    return ", ".join(parts[:MAX_REASONS]) + (f" and {more} more" if more > 0 else "")
