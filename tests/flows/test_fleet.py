"""Many machines without a common disk: workers in clones of their own, results through a git and a DVC remote."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from tests.flows.experiments import Experimental
from tests.flows.fleet import Fleet, working
from tests.postgres import database, free_port
from tests.test_what_runs_again import QUICK, begin_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

Store = Sequence[Sequence[str]]
# Eight points: two packs of three and two alone.
PACKS = {"train.seed": [0, 1, 2], "train.steps": [22, 26]}  # not train.batch, which changes no result
ALONE = {"train.steps": [24, 28]}
# As the flow does it, on a machine that knows no server.
BY_HAND = """
import json, subprocess, sys
from pathlib import Path
from flows.sweep import split
from flows.workspace import Experiment

for grid in json.loads(sys.argv[1]):
    for point in split(grid, {}):
        experiment = Experiment.planned(Path.cwd(), point)
        with experiment.workspace() as folder:
            subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=folder, check=True)
            experiment.save(folder, [], "by hand")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of whoever talks to it."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "DO_NOT_TRACK": "1",
        **threads,
    }
    with database() as rows:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        with (
            (home / "log").open("w") as log,
            subprocess.Popen(command, env={**os.environ, **env, **rows}, stdout=log, stderr=log) as process,
        ):
            try:
                yield env
            finally:
                process.terminate()
                process.wait(timeout=60)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A DVC remote: a folder, or an S3 that moto plays where it is installed."""
    add = ["add", "--default", "store"]
    if request.param == "folder":
        yield [[*add, str(tmp_path / "store")]]
        return
    pytest.importorskip("dvc_s3")
    pytest.importorskip("moto")
    address = f"http://127.0.0.1:{free_port()}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    command = [sys.executable, "-m", "moto.server", "--port", address.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not made(f"{address}/words"):
                assert process.poll() is None
                time.sleep(0.5)
            yield [[*add, "s3://words/cache"], ["modify", "store", "endpointurl", address]]
        finally:
            process.terminate()


def made(bucket: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(bucket, method="PUT")):
            return True
    except OSError:
        return False


def begun(folder: Path, server: dict[str, str], store: Store) -> Fleet:
    (folder / "seed").mkdir()
    begin_project(folder / "seed", QUICK)
    leave_out_what_follows_training(folder / "seed/dvc.yaml")
    return Fleet(folder, folder / "seed", server, store)


@pytest.fixture(scope="module")
def of_one_machine(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The digests of what one machine makes by hand, by experiment."""
    fleet = begun(tmp_path_factory.mktemp("one"), server, [])
    fleet.python(fleet.machine("alone"), "-c", BY_HAND, json.dumps([PACKS, ALONE]))
    return fleet.experiments("alone")


def prepare(fleet: Fleet, clone: Path) -> None:
    fleet.wait(fleet.answers, "the server answers")
    fleet.python(clone, "-m", "flows.serve", "--prepare")
    fleet.start_worker(clone, "sweeps", limit=10)


@pytest.mark.parametrize(
    ("store", "lost"), [("folder", "machine"), ("folder", "worker"), ("s3", "machine")], indirect=["store"]
)
def test_whatever_is_lost_no_point_is_and_the_bits_are_those_of_one_machine(
    server: dict[str, str], store: Store, lost: str, of_one_machine: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    fleet = begun(tmp_path, server, store)
    one, two = map(fleet.machine, ("one", "two"))
    prepare(fleet, one)
    try:
        for clone in (one, two):
            fleet.start_worker(clone, "runs")
        sweeps = [fleet.create("sweep", grid=grid) for grid in (PACKS, ALONE)]
        fleet.wait(lambda: training(two) or any(fleet.ended(run) for run in sweeps), "the second machine trains")
        (name,) = {folder.relative_to(two / ".scratch/workspaces").parts[0] for folder in training(two)}
        lost_at = time.time()
        if lost == "machine":
            fleet.lose(two)
        else:
            fleet.workers["two-runs"].kill()
        for sweep in sweeps:
            run = fleet.end(sweep)
            assert (run["state"]["type"], run["state"]["message"]) == ("COMPLETED", "2 experiments, 2 of them new")
        assert not [pid for pid, place in working() if place.is_relative_to(two)], "a killed worker's run lives on"
    finally:
        fleet.stop()

    kept = fleet.experiments()
    assert kept == of_one_machine and len(kept) == 4
    crashed, again = fleet.runs(name)
    assert crashed["state"]["type"] == "CRASHED"
    assert ("no sign of life" in crashed["state"]["message"]) == (lost == "machine")
    handed_in = datetime.fromisoformat(again["created"]).timestamp() - lost_at
    print(f"{name} was handed in again {handed_in:.0f} s after its {lost} was lost")
    ended = {name: [run for run in fleet.runs(name) if run["state"]["type"] == "COMPLETED"] for name in kept}
    assert {name: len(runs) for name, runs in ended.items()} == dict.fromkeys(kept, 1)
    assert [fleet.tasks("train", run["id"]) for (run,) in ended.values()] == [["Ran"]] * 4


def leave_out_what_follows_training(graph: Path) -> None:
    """Two thirds of the time, and nothing that a fleet does otherwise."""
    content = yaml.safe_load(graph.read_text())
    stages = content["stages"]
    content["stages"] = {name: stages[name] for name in list(stages)[: list(stages).index("train") + 1]}
    content.pop("plots", None)
    graph.write_text(yaml.safe_dump(content, sort_keys=False))


def training(clone: Path) -> list[Path]:
    """The workspaces in which a word is learned just now."""
    return [
        folder for pid, folder in working() if folder.is_relative_to(clone / ".scratch") and "stages.train" in said(pid)
    ]


def said(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""


def test_two_workers_need_little_more_than_half_the_time_of_one(server: dict[str, str], tmp_path: Path) -> None:
    """With a stage that sleeps in place of a GPU."""
    (tmp_path / "seed").mkdir()
    seed = Experimental.begin(tmp_path / "seed")
    fleet = Fleet(tmp_path, seed.folder, server, [["add", "--default", "store", str(tmp_path / "store")]])
    one, two = map(fleet.machine, ("one", "two"))
    for clone in (one, two):
        (clone / ".scratch").mkdir()
    prepare(fleet, one)
    seconds = []
    try:
        for number, clone in enumerate((one, two), 1):
            fleet.start_worker(clone, "runs")
            grid = {"train.batch": [1, 2, 3, 4]}
            run = fleet.end(fleet.create("sweep", grid=grid, overrides={"train.steps": 60, "train.seed": number}))
            assert run["state"]["message"] == "4 experiments, 4 of them new"
            seconds.append(run["total_run_time"])
    finally:
        fleet.stop()
    print(f"one worker {seconds[0]:.0f} s, two {seconds[1]:.0f} s: {seconds[1] / seconds[0]:.2f}")
    assert seconds[1] <= 0.6 * seconds[0]
