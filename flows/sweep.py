"""A grid of settings: what can share a UNet batch in one run, the rest as one DVC experiment for each point.

    python -m flows.sweep 'train.seed=[0, 1]' 'base.precision=[fp32, bf16]' [-S train.steps=300 ...]

From the page the points run as many at once as workers take; as a command one after another. A point that fails is
named and stops no other. Started again it does what is missing.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_client, get_run_logger, runtime
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.states import Cancelling, Completed, Failed
from pydantic import WithJsonSchema

from flows.command import run_flow, setting
from flows.compare import comparison
from flows.overrides import Overrides, flat
from flows.pipeline import NOTHING, pipeline
from flows.workspace import Experiment, fetched
from pseudoword.dvc.experiments import figures
from pseudoword.errors import UserError
from pseudoword.fingerprint import fingerprint
from pseudoword.scratch import prune
from pseudoword.settings.messages import shown
from pseudoword.settings.sweep import SWEPT

DEPLOYMENT = "pipeline/pipeline"
MAX_TRIES = 3
COMPARISONS = Path(".scratch/comparison/sweep")
LOOK_S = 2.0  # between two looks at the points that run

Grid = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": True})]


class NoGrid(UserError):
    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"grid: {found}, wanted {wanted}")


class PointsFailed(RuntimeError):
    def __init__(self, failed: dict[str, str], number: int) -> None:
        told = "\n\n".join(f"{name}: {message}" for name, message in failed.items())
        super().__init__(f"{len(failed)} of {number} experiments failed; the same sweep tries them again.\n\n{told}")
        self.headline = f"{len(failed)} of {number} failed: {', '.join(failed)}"


@flow(name="sweep", persist_result=False, log_prints=True)
def sweep(
    grid: Grid = NOTHING, force: bool = False, remote: str = "", revision: str = "", overrides: Overrides = NOTHING
) -> State[object]:
    """Train at every point of a grid.

    Args:
        grid: Lists of values by section.key, such as {"train.learn_rate": [0.005, 0.02], "base.precision": ["fp32",
            "bf16"]}. Axes that can share a UNet batch train together in one run.
        force: Run points too that are there already.
        remote: Git remote, such as origin, that workers without a common disk get commits and experiments from and send
            experiments to, their files through the DVC remote.
        revision: Commit, branch or tag that all points begin from. Empty: the project as it is, or the remote's default
            branch.
        overrides: Settings of all points that differ from params.yaml.
    """
    root = Path.cwd()
    try:
        points = split(grid, flat(overrides))
        if remote:  # one commit for all of them, whatever is sent there meanwhile
            revision = fetched(root, remote, revision)
        experiments = Experiment.all_planned(root, points, revision, remote)
    except UserError as error:
        return Failed(message=str(error), data=error)
    _exchange(experiments, remote)
    missing = {
        experiment.name: point
        for experiment, point in zip(experiments, points, strict=True)
        if force or not experiment.is_saved([])
    }
    options = {"force": force, "remote": remote, "revision": revision}
    ended = (_by_workers if runtime.deployment.id else _here)(missing, options)
    done = [e for e in experiments if e.name not in ended or ended[e.name].is_completed()]
    try:
        if remote:  # they ran elsewhere
            fetched(root, remote, revision)
            _exchange(done, remote)
        _show(experiments, ended)
        if done:
            comparison(root, [experiment.revision for experiment in done], _page(root, experiments))
    except UserError as error:
        get_run_logger().warning(f"no page that compares them: {error}")
    failed = {name: str(state.message or state.name) for name, state in ended.items() if not state.is_completed()}
    if failed:
        failure = PointsFailed(failed, len(experiments))
        return Failed(message=failure.headline, data=failure)
    return Completed(message=f"{len(experiments)} experiments, {len(missing)} of them new")


def _page(root: Path, experiments: list[Experiment]) -> Path:
    """The folder of the page that compares them: another sweep has another."""
    (root / COMPARISONS).mkdir(parents=True, exist_ok=True)
    prune(root / COMPARISONS)
    return COMPARISONS / fingerprint([(experiment.commit, experiment.name) for experiment in experiments], ())


def _exchange(experiments: list[Experiment], remote: str) -> None:
    """One that cannot be had is for its own run to tell of, and no other's fault."""
    for experiment in experiments if remote else ():
        try:
            experiment.exchange(remote)
        except UserError as error:
            get_run_logger().warning(str(error))


def split(grid: dict[str, Any], overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """The overrides of each run: axes that pack as its `sweep`, a run for each combination of the others."""
    if not grid:
        raise NoGrid("found nothing", 'axes such as {"train.seed": [0, 1]}')
    for axis, values in grid.items():
        if not isinstance(values, list) or not values:
            raise NoGrid(f"{axis}: found {shown(values)}", "a list such as [0, 1]")
    packed = {axis: values for axis, values in grid.items() if axis in SWEPT}
    alone = {axis: values for axis, values in grid.items() if axis not in SWEPT}
    together = {"sweep": packed} if packed else {}
    return [
        {**overrides, **together, **dict(zip(alone, values, strict=True))}
        for values in itertools.product(*alone.values())
    ]


def _here(points: dict[str, dict[str, Any]], options: dict[str, Any]) -> dict[str, State[Any]]:
    return {name: pipeline(name=name, overrides=point, return_state=True, **options) for name, point in points.items()}


def _by_workers(points: dict[str, dict[str, Any]], options: dict[str, Any]) -> dict[str, State[Any]]:
    """Hand all of them in at once; workers take one after another. They end with this run, however it ends."""
    running: dict[str, FlowRun] = {}
    ended: dict[str, State[Any]] = {}
    tries: Counter[str] = Counter()

    def hand_in(name: str) -> None:
        parameters = {"name": name, "overrides": points[name], **options}
        started = run_deployment(DEPLOYMENT, parameters=parameters, flow_run_name=name, timeout=0)
        assert isinstance(started, FlowRun)  # no coroutine: there is no event loop here
        running[name] = started
        tries[name] += 1

    with get_client(sync_client=True) as client:
        try:
            for name in points:
                hand_in(name)
            while running:
                time.sleep(LOOK_S)
                for name, run in list(running.items()):
                    state = client.read_flow_run(run.id).state
                    if state is None or not state.is_final():
                        continue
                    del running[name]
                    if state.is_crashed() and tries[name] < MAX_TRIES:  # its worker died, or the whole machine
                        get_run_logger().warning(f"{name} crashed and is handed in again: {state.message}")
                        hand_in(name)
                    else:
                        ended[name] = state
        except BaseException:
            _cancel(client, running)
            raise
    return {name: ended[name] for name in points}


def _cancel(client: SyncPrefectClient, running: dict[str, FlowRun]) -> None:
    for run in running.values():
        client.set_flow_run_state(run.id, Cancelling(message="the sweep was stopped"))


def _show(experiments: list[Experiment], ended: dict[str, State[Any]]) -> None:
    """A row for each experiment: its settings, how it ended, its figures."""
    rows = []
    for experiment in experiments:
        state = ended.get(experiment.name)
        row = {"experiment": experiment.name, "state": state.name if state else "Unchanged"}
        row |= {key: shown(value) for key, value in experiment.overrides.items()}
        if state is None or state.is_completed():
            chosen = figures(experiment.root, experiment.revision).get("chosen")
            row |= {key: str(figure) for key, figure in chosen.items()} if isinstance(chosen, dict) else {}
        rows.append(row)
    create_table_artifact(rows, key="sweep", description="Bring one into the project with `dvc exp apply EXPERIMENT`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        description="Train at every point of a grid: together what shares a UNet batch, the rest as DVC experiments.",
    )
    parser.add_argument("grid", nargs="+", type=setting, metavar="SECTION.KEY=[VALUE, ...]")
    parser.add_argument("-S", "--set", action="append", default=[], type=setting, metavar="SECTION.KEY=VALUE",
                        help="of all points, in place of what params.yaml says")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="run points too that are there already")
    options = parser.parse_args(arguments)
    call: Callable[[], State[Any]] = lambda: sweep(  # noqa: E731
        dict(options.grid), options.force, overrides=dict(options.set), return_state=True
    )
    return run_flow(call, lambda state: f"Done: {state.message}. `dvc exp show` has them all.")


if __name__ == "__main__":
    sys.exit(main())
