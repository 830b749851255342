"""The pipeline of dvc.yaml as a flow: one task for each stage.

    python -m flows.pipeline [STAGE ...]

Does what `dvc repro [STAGE ...]` does, with independent stages side by side, a page to watch it on, and another try for
a stage that was killed or asked for one. The graph is read from DVC, and DVC alone decides what has to run.
"""

import base64
import io
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task

from flows.server import temporary_server
from pseudoword.dvc import graph
from pseudoword.dvc.graph import Stage, UnknownTarget
from pseudoword.dvc.process import Outcome, StageFailed, nothing_left_behind, reproduce

SHEET = Path("outputs/evaluation/sheets/chosen.png")
REPORT = Path("outputs/report/index.html")
SHEET_WIDTH = 800  # px of the picture in the artifact; the report has it whole


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
def reproduce_stage(stage: str, root: Path) -> State[object]:
    """A failure is returned, not raised, so that the log holds the stage's own error and not prefect's traceback."""
    started = time.monotonic()
    try:
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
    except UnknownTarget as error:
        return Failed(message=str(error), data=error)
    with nothing_left_behind():
        states = _run(stages, root)
    _show_stages(states)
    if not all(state.is_completed() for state in states.values()):
        failure = PipelineFailed(states)
        return Failed(message=f"failed: {', '.join(failure.failed)}", data=failure)
    _show_metrics(root)
    _show_sheet(root)
    return Completed(message=f"{len(stages)} stages up to date")


def _run(stages: list[Stage], root: Path) -> dict[str, State[object]]:
    runs: dict[str, PrefectFuture[State[object]]] = {}
    for stage in stages:
        needed = [runs[name] for name in stage.needs]
        runs[stage.name] = reproduce_stage.submit(stage.name, root, return_state=False, wait_for=needed)
    for run in runs.values():
        run.wait()
    return {name: run.state for name, run in runs.items()}


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


def _show_sheet(root: Path) -> None:
    """Prefect keeps text, not files: the sheet goes in small, as a data URI."""
    text = f"The whole report: [{REPORT}]({(root / REPORT).as_uri()})"
    if (root / SHEET).exists():
        with Image.open(root / SHEET) as sheet:
            sheet.thumbnail((SHEET_WIDTH, SHEET_WIDTH * 4))
            buffer = io.BytesIO()
            sheet.convert("RGB").save(buffer, "JPEG", quality=85)
        text = f"![the chosen word](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})\n\n{text}"
    create_markdown_artifact(text, key="chosen-sheet", description="Pictures drawn with the chosen word")


def main(targets: Sequence[str]) -> int:
    # Prefect hands SIGTERM on to this handler once the flow has tidied up. By default the process would die there and
    # then, without stopping the temporary server.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(_stopped(number)))
    try:
        with temporary_server():
            state = pipeline(targets, return_state=True)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    if not state.is_completed():
        print(f"\n{state.result(raise_on_failure=False)}", file=sys.stderr)
        return 1
    print(f"The report: {REPORT}" if REPORT.exists() else "Up to date.")
    return 0


def _stopped(number: int) -> int:
    print("\nStopped, and every running stage with it. The same command goes on from here.", file=sys.stderr)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
