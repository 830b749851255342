"""The pipeline of dvc.yaml as a flow: one task for each stage.

    python -m flows.pipeline [STAGE ...] [-S train.learn_rate=0.01 ...] [-n NAME] [--force]

Does what `dvc repro [STAGE ...]` does, with independent stages side by side, a page to watch it on, and another try for
a stage that was killed or asked for one. The graph is read from DVC, and DVC alone decides what has to run.

With other settings than those of params.yaml the run becomes a DVC experiment in a workspace of its own, named by what
differs: see `flows.workspace`.
"""

import argparse
import json
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task
from prefect.utilities.urls import url_for

from flows.artifacts import as_link, as_picture, as_text
from flows.command import run_flow, setting
from flows.overrides import Overrides
from flows.progress import shown_progress
from flows.workspace import FOLDER, Experiment, NameTaken, fetched
from pseudoword.dvc import graph
from pseudoword.dvc.graph import Stage
from pseudoword.dvc.process import Outcome, StageFailed, nothing_left_behind, reproduce
from pseudoword.errors import UserError
from pseudoword.locks import file_lock
from pseudoword.results.places import CHOICE, CHOSEN_SHEET, EMBEDDING

MAX_ARTIFACT_BYTES = 2**20
REPORT = Path("outputs/report/index.html")
LOCK = Path(".scratch/locks/flow.lock")
MEASURED = ("chosen", "low", "high", "init")  # what metrics.json holds measures of


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
def reproduce_stage(
    stage: str, root: Path, up_to_date: bool = False, force: bool = False, pull: bool = False
) -> State[object]:
    """A failure is returned, not raised, so that the log holds the stage's own error and not prefect's traceback."""
    if up_to_date:
        return Completed(name="Unchanged", message="0.0")
    started = time.monotonic()
    try:
        with shown_progress(stage, root):
            outcome: Outcome = reproduce(stage, root, get_run_logger().info, force, pull)
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


NOTHING: dict[str, Any] = {}


@flow(name="pipeline", persist_result=False, log_prints=True)
def pipeline(
    targets: Sequence[str] = (),
    name: str = "",
    force: bool = False,
    remote: str = "",
    revision: str = "",
    report: bool = False,
    overrides: Overrides = NOTHING,  # last: on the page nobody would find what comes below its hundred fields
) -> State[object]:
    """Bring the targets and all that they need up to date.

    Args:
        targets: Stages of dvc.yaml; none means every stage.
        name: What to call the experiment. Empty: by what differs, such as lr0.02-seed1.
        force: Run every stage, whether anything has changed or not.
        remote: Git remote, such as origin, that workers without a common disk get commits and experiments from and send
            experiments to, their files through the DVC remote.
        revision: Commit, branch or tag to begin from. Empty: the project as it is, or the remote's default branch.
        report: Hand over the report as well, as an artifact of about 2 MB: for a program that sees no disk of this
            machine.
        overrides: Settings that differ from params.yaml. They, a name, a remote or a revision make the run a DVC
            experiment in a workspace of its own.
    """
    root = Path.cwd()

    def as_experiment() -> State[object]:
        begun = fetched(root, remote, revision) if remote else revision
        experiment = Experiment.planned(root, overrides, name, begun, remote)
        _show_experiment(experiment)
        if remote and not force:
            experiment.exchange(remote)
        if experiment.is_saved(targets) and not force:
            return Completed(name="Unchanged", message=f"the experiment {experiment.name} is there already")
        with experiment.workspace() as folder:
            state = bring_up_to_date(folder, targets, force, bool(remote), report)
            if state.is_completed():
                experiment.save(folder, targets, f"Prefect: {url_for('flow-run', obj_id=runtime.flow_run.id)}")
                state = Completed(message=f"the experiment {experiment.name}: {state.message}")
        if remote and state.is_completed():
            experiment.send(remote)
        return state

    try:
        if not (overrides or name or remote or revision):
            return bring_up_to_date(root, targets, force, report=report)
        try:
            return as_experiment()
        except NameTaken:
            if name:
                raise
            return as_experiment()  # another run took the name meanwhile
    except UserError as error:
        return Failed(message=str(error), data=error)


def bring_up_to_date(
    root: Path, targets: Sequence[str], force: bool = False, pull: bool = False, report: bool = False
) -> State[object]:
    """Run the stages in this folder and show what they did. Raises UserError.

    pull    take from the DVC remote what another machine has made
    report  hand over the report too
    """
    stages = graph.stages_in_order(root, targets)
    # Two runs would fight over the same outputs, and give each other's stages up for lost.
    with file_lock(root / LOCK, f"another run in {root} to end"), nothing_left_behind():
        states = _run(stages, root, force, pull)
    _show_stages(states)
    if not all(state.is_completed() for state in states.values()):
        failure = PipelineFailed(states)
        return Failed(message=f"failed: {', '.join(failure.failed)}", data=failure)
    _show_metrics(root)
    _show_choice(root)
    _hand_over(root, report)
    return Completed(message=f"{len(stages)} stages up to date")


def _run(stages: list[Stage], root: Path, force: bool, pull: bool) -> dict[str, State[object]]:
    runs: dict[str, PrefectFuture[State[object]]] = {}

    def submit(stage: Stage, up_to_date: bool = False) -> None:
        needed = [runs[name] for name in stage.needs]
        # With its name already while it waits.
        run = reproduce_stage.with_options(name=stage.name)
        runs[stage.name] = run.submit(stage.name, root, up_to_date, force, pull, return_state=False, wait_for=needed)

    # What runs each time comes first and alone; then one look tells of all others whether there is anything to do.
    first = [stage for stage in stages if stage.always and not stage.needs]
    for stage in first:
        submit(stage)
    for stage in first:
        runs[stage.name].wait()
    well = all(run.state.is_completed() for run in runs.values())
    up_to_date = _up_to_date(stages, graph.changed_stages(root)) if well and not force else set()
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


def _show_experiment(experiment: Experiment) -> None:
    """Call the run as the experiment, and say how to get hold of that."""
    name = experiment.name
    with get_client(sync_client=True) as client:
        client.update_flow_run(
            UUID(runtime.flow_run.id), name=name, tags={*runtime.flow_run.tags, f"experiment:{name}"}
        )
    settings = "".join(f"\n| {key} | {as_text(value)} |" for key, value in experiment.overrides.items())
    report = experiment.root / FOLDER / name / REPORT
    create_markdown_artifact(
        f"**{name}**\n\n| setting | value |\n|---|---|{settings}\n\n`dvc exp apply {name}` brings it into the project "
        f"and `dvc exp show` sets it beside the others. Its report, once it is there: `{report}`",
        key="experiment",
        description=f"The DVC experiment {name}",
    )


def _show_stages(states: dict[str, State[object]]) -> None:
    rows = []
    for stage, state in states.items():
        seconds = state.message if state.is_completed() else ""
        rows.append({"stage": stage, "state": state.name if state.is_final() else "Not run", "seconds": seconds})
    create_table_artifact(rows, key="stages", description="What this run did")


def _show_metrics(root: Path) -> None:
    """A row for each measured thing, a column for each figure."""
    for path, content in graph.metrics(root).items():
        rows = [
            {"what": name, **{key: f"{value:.3g}" if isinstance(value, float) else value for key, value in row.items()}}
            for name, row in content.items()
            if name in MEASURED
        ]
        if rows:
            create_table_artifact(rows, key="metrics", description=path)


def _show_choice(root: Path) -> None:
    """Which word was chosen and why, its pictures, and where the rest is."""
    try:
        choice = json.loads((root / CHOICE).read_text(encoding="utf-8"))
        chosen = f"**{choice['word']}**: run {choice['run']}, step {choice['step']}"
        head = chosen if choice["better_than_init"] else f"**{choice['word']}**: no word to use"
        reason = "\n\n".join([head, choice["reason"], *choice["notes"], *choice["advice"]])
    except (OSError, ValueError, KeyError):
        reason = ""
    parts = [reason]
    if sheet := as_picture(root / CHOSEN_SHEET, "the chosen word"):
        parts += [
            sheet,
            "Above: the training pictures. In the middle: what the start draws. Below: the chosen word.",
        ]
    # No link: a browser opens no file from a web page.
    parts.append(f"The whole report: `{root / REPORT}`")
    text = "\n\n".join(part for part in parts if part)
    create_markdown_artifact(text, key="chosen-sheet", description="Pictures drawn with the chosen word")


def _hand_over(root: Path, report: bool) -> None:
    """The embedding itself, and the report where it is asked for."""
    for path in sorted((root / EMBEDDING).glob("*.safetensors")):
        if path.stat().st_size <= MAX_ARTIFACT_BYTES:
            create_markdown_artifact(as_link(path), key="embedding", description=path.name)
    if report and (path := root / REPORT).is_file():
        create_markdown_artifact(as_link(path), key="report", description="The report, a page in one file")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow and return its exit status."""
    options = _parser().parse_args(arguments)

    def done(state: State[object]) -> str:
        if options.set or options.name:
            return f"Done: {state.message}"
        return f"The report: {REPORT}" if REPORT.exists() else "Up to date."

    try:
        if options.targets:  # a misspelt one is told before a server starts
            graph.stages_in_order(Path.cwd(), options.targets)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    parameters = {"name": options.name, "force": options.force, "overrides": dict(options.set)}
    return run_flow(lambda: pipeline(options.targets, return_state=True, **parameters), done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.pipeline",
        description="Do what `dvc repro` does, as a Prefect flow: a page to watch it on, independent stages side by "
        "side, another try for a stage that was killed.",
    )
    parser.add_argument(
        "targets", nargs="*", metavar="STAGE", help="bring it up to date with all that it needs; none: every stage"
    )
    parser.add_argument(
        "-S", "--set", action="append", default=[], type=setting, metavar="SECTION.KEY=VALUE",
        help="run with this in place of what params.yaml says, as a DVC experiment in a workspace of its own",
    )  # fmt: skip
    parser.add_argument("-n", "--name", default="", help="of the experiment; by default what differs: lr0.02-seed1")
    parser.add_argument("--force", action="store_true", help="run every stage, changed or not")
    return parser


if __name__ == "__main__":
    sys.exit(main())
