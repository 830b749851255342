"""The pipeline of dvc.yaml as a flow: one task for each stage.

    python -m flows.pipeline [STAGE ...]

Does what `dvc repro [STAGE ...]` does, with independent stages side by side, a page to watch it on, and another try for
a stage that was killed or asked for one. The graph is read from DVC, and DVC alone decides what has to run.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task

from flows.progress import as_markdown, shown_progress
from flows.server import prefect_server
from pseudoword.dvc import graph
from pseudoword.dvc.graph import Stage
from pseudoword.dvc.process import Outcome, StageFailed, nothing_left_behind, reproduce
from pseudoword.errors import UserError, message_of

SHEET, CHOICE = Path("outputs/evaluation/sheets/chosen.png"), Path("outputs/evaluation/choice.json")
REPORT = Path("outputs/report/index.html")


def _may_heal(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    return isinstance(state.data, StageFailed) and state.data.may_heal


# DVC is the only cache: a result that prefect kept would hide what DVC knows to be out of date.
@task(
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_may_heal,
)
def reproduce_stage(stage: str, root: Path, up_to_date: bool = False) -> State[object]:
    """A failure is returned, not raised, so that the log holds the stage's own error and not prefect's traceback."""
    if up_to_date:
        return Completed(name="Unchanged", message="0.0")
    started = time.monotonic()
    try:
        with shown_progress(stage, root):
            outcome: Outcome = reproduce(stage, root, get_run_logger().info)
    except StageFailed as failure:
        return Failed(message=failure.headline, data=failure)
    return Completed(name=outcome, message=f"{time.monotonic() - started:.1f}")


class PipelineFailed(RuntimeError):
    """The failed stages' own errors, and what could not run for want of them."""

    def __init__(self, states: dict[str, State[object]]) -> None:
        self.failed = [name for name, state in states.items() if state.is_final() and not state.is_completed()]
        not_run = [name for name, state in states.items() if not state.is_final()]
        errors = [str(states[name].result(raise_on_failure=False)) for name in self.failed]
        super().__init__("\n\n".join([*errors, *([f"Not run: {', '.join(not_run)}"] if not_run else [])]))


@flow(name="pipeline", persist_result=False)
def pipeline(targets: Sequence[str] = ()) -> State[object]:
    """Bring the targets and all that they need up to date; no target means every stage."""
    root = Path.cwd()
    try:
        stages = graph.stages_in_order(root, targets)
        with nothing_left_behind():
            states = _run(stages, root)
    except UserError as error:
        return Failed(message=str(error), data=error)
    _show_stages(states)
    if not all(state.is_completed() for state in states.values()):
        failure = PipelineFailed(states)
        return Failed(message=f"failed: {', '.join(failure.failed)}", data=failure)
    _show_metrics(root)
    _show_choice(root)
    return Completed(message=f"{len(stages)} stages up to date")


def _run(stages: list[Stage], root: Path) -> dict[str, State[object]]:
    runs: dict[str, PrefectFuture[State[object]]] = {}

    def submit(stage: Stage, up_to_date: bool = False) -> None:
        needed = [runs[name] for name in stage.needs]
        # With its name already while it waits.
        run = reproduce_stage.with_options(name=stage.name)
        runs[stage.name] = run.submit(stage.name, root, up_to_date, return_state=False, wait_for=needed)

    # What runs each time comes first and alone; then one look tells of all others whether there is anything to do.
    first = [stage for stage in stages if stage.always and not stage.needs]
    for stage in first:
        submit(stage)
    for stage in first:
        runs[stage.name].wait()
    well = all(run.state.is_completed() for run in runs.values())
    up_to_date = _up_to_date(stages, graph.changed_stages(root)) if well else set()
    for stage in stages:
        if stage not in first:
            submit(stage, stage.name in up_to_date)
    for run in runs.values():
        run.wait()
    return {name: runs[name].state for name in (stage.name for stage in stages)}


def _up_to_date(stages: list[Stage], changed: Collection[str]) -> set[str]:
    """The stages that have nothing to do, and nothing that they need either."""
    found: set[str] = set()
    for stage in stages:  # each after all that it needs
        ready = stage.always and not stage.needs
        if ready or (stage.name not in changed and found.issuperset(stage.needs)):
            found.add(stage.name)
    return found


def _show_stages(states: dict[str, State[object]]) -> None:
    rows = []
    for stage, state in states.items():
        seconds = state.message if state.is_completed() else ""
        rows.append({"stage": stage, "state": state.name if state.is_final() else "Not run", "seconds": seconds})
    create_table_artifact(rows, key="stages", description="What this run did")


def _show_metrics(root: Path) -> None:
    """A row for each measured thing (`chosen`, `init`), a column for each figure."""
    for path, content in graph.metrics(root).items():
        rows = [{"": name, **figures} for name, figures in content.items() if isinstance(figures, dict)]
        if rows:
            create_table_artifact(rows, key="metrics", description=path)


def _show_choice(root: Path) -> None:
    """Which word was chosen and why, its pictures, and where the rest is."""
    try:
        choice = json.loads((root / CHOICE).read_text(encoding="utf-8"))
        reason = "\n\n".join([f"**{choice['word']}**: run {choice['run']}, step {choice['step']}", *choice["reason"]])
    except (OSError, ValueError, KeyError):
        reason = ""
    report = f"The whole report: [{REPORT}]({(root / REPORT).as_uri()})"
    text = "\n\n".join(part for part in (reason, as_markdown(root / SHEET, "the chosen word"), report) if part)
    create_markdown_artifact(text, key="chosen-sheet", description="Pictures drawn with the chosen word")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow and return its exit status; whatever goes wrong is one message on stderr."""
    targets = _parser().parse_args(arguments).targets
    # Prefect hands SIGTERM on to this handler once the flow has tidied up. By default the process would die there and
    # then, without stopping the temporary server.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(_stopped(number)))
    try:
        with prefect_server():
            state = pipeline(targets, return_state=True)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except (UserError, OSError, MemoryError) as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 1
    if not state.is_completed():
        print(f"\n{state.result(raise_on_failure=False)}", file=sys.stderr)
        return 1
    print(f"The report: {REPORT}" if REPORT.exists() else "Up to date.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.pipeline",
        description="Do what `dvc repro` does, as a Prefect flow: a page to watch it on, independent stages side by "
        "side, another try for a stage that was killed.",
    )
    parser.add_argument(
        "targets", nargs="*", metavar="STAGE", help="bring it up to date with all that it needs; none: every stage"
    )
    return parser


def _stopped(number: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C would leave the server behind
    print("\nStopped, and every running stage with it. The same command goes on from here.", file=sys.stderr)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
