"""Ended at random moments by SIGKILL, SIGTERM, Ctrl-C or the page: nothing lives on or is written twice."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.dvc_project import ROOT, alive, begin_project
from tests.e2e.test_pipeline import STAGES
from tests.flows.served import FINAL, Served, parent_of, processes_of, serving, with_deployments
from tests.test_what_runs_again import QUICK
from tests.test_what_runs_again import begin_project as begin_pipeline

KILLS = 30
STEPS, STEP_S = 20, 0.1
GONE_S = 30  # 5 on an idle machine

DVC_YAML = "stages: {count: {cmd: python -m stages.count, outs: [count.txt]}}\n"
# What a real stage has around it, and a journal of who writes when.
STAGE = f"""
import os, time
from pathlib import Path
from stages._runtime import run_stage

def main():
    for step in range({STEPS}):
        with open("journal", "a") as journal:
            print(os.getpid(), step, file=journal)
        time.sleep({STEP_S})
    Path("count.txt").write_text("counted")

run_stage(main)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_project(tmp_path)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "stages/count").mkdir(parents=True)
    for name in ("__init__.py", "_runtime.py", "_parent.py"):
        shutil.copy(ROOT / "stages" / name, tmp_path / "stages")
    (tmp_path / "stages/count/__main__.py").write_text(STAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("victim", ["flow", "dvc", "stage"])
def test_a_kill_leaves_nothing_running_and_the_next_run_goes_on(
    victim: str, folder: Path, flow_command: list[str]
) -> None:
    moments, killed = random.Random(victim), 0
    while killed < KILLS:
        (folder / "count.txt").unlink(missing_ok=True)  # dvc has it in its cache, which is left out
        with subprocess.Popen([*flow_command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as flow:
            pid = found(victim, folder, flow)
            time.sleep(moments.uniform(0, STEPS * STEP_S))
            killed += kill(pid)
            printed, _ = flow.communicate(timeout=300)
        end = time.monotonic() + GONE_S
        while left := processes_in(folder):
            assert time.monotonic() < end, f"still running: {left}\n{printed}"
            time.sleep(0.1)
        if victim != "flow":  # it tries again by itself
            assert (folder / "count.txt").read_text() == "counted", printed
        shutil.rmtree(folder / ".dvc/cache", ignore_errors=True)
    done = subprocess.run(flow_command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "count.txt").read_text() == "counted"
    assert not written_in_turns(folder / "journal")


def found(victim: str, folder: Path, flow: subprocess.Popen[str]) -> int:
    """The process id of the victim, once the stage is being started."""
    mark = "repro" if victim in ("flow", "dvc") else "stages.count"
    end = time.monotonic() + 120
    while not (pids := [pid for pid, command in processes_in(folder).items() if mark in command]):
        assert time.monotonic() < end and flow.poll() is None, f"no {mark} was started"
        time.sleep(0.01)
    return flow.pid if victim == "flow" else pids[0]


def processes_in(folder: Path) -> dict[int, list[str]]:
    """The command of each process that works in the folder, this one left out."""
    running = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_text(errors="replace").split("\0")
                if (entry / "cwd").readlink() == folder and command != [""]:
                    running[int(entry.name)] = command
            except OSError:  # it has ended meanwhile
                continue
    return running


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def written_in_turns(journal: Path) -> bool:
    """Whether a process wrote again after another one had begun."""
    writers = [line.split()[0] for line in journal.read_text().splitlines()]
    begun: list[str] = []
    for pid in writers:
        if not begun or begun[-1] != pid:
            if pid in begun:
                return True
            begun.append(pid)
    return False


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    """A checkout with quick settings, the digests of what it makes, and how many seconds that takes."""
    folder = tmp_path_factory.mktemp("pipeline")
    begin_pipeline(folder, QUICK)
    with_deployments(folder)
    started = time.monotonic()
    running = begin(folder, "dvc")
    printed, _ = running.communicate()
    assert running.returncode == 0, printed
    return folder, made(folder), time.monotonic() - started


class ServedRun:
    """A run of `make serve` in its folder, with what is asked of a process."""

    def __init__(self, served: Served) -> None:
        self.served, self.id, self.pid, self.returncode = served, served.create("pipeline"), None, None

    def poll(self) -> int | None:
        state = self.served.run(self.id)["state"]["type"]
        return None if state not in FINAL else int(state != "COMPLETED")

    def communicate(self) -> tuple[str, None]:
        state = self.served.end(self.id)
        self.returncode = int(state["type"] != "COMPLETED")
        return str(state["message"]), None


Run = subprocess.Popen[str] | ServedRun


def begin(folder: Path, by: str | Served) -> Run:
    """The whole pipeline, by the module `flows.pipeline`, by `dvc` or by `make serve`, with the code in `folder`."""
    if isinstance(by, Served):
        return ServedRun(by)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = ["-m", by, *(["repro"] if by == "dvc" else [])]
    return subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def made(folder: Path) -> dict[str, str]:
    """A digest of each output."""
    paths = sorted(path for path in (folder / "outputs").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def forget(folder: Path) -> None:
    """Take away all that a run could go on from, and leave what a server has there."""
    scratch = folder / ".scratch"
    parts = [path for path in scratch.iterdir() if path.is_dir() and path.name != "locks"] if scratch.exists() else []
    for path in (folder / "outputs", folder / ".dvc/cache", *parts):
        shutil.rmtree(path, ignore_errors=True)


def stages_in(folder: Path) -> dict[int, str]:
    """The stages that run in the folder, by process id."""
    return {
        pid: command[2].removeprefix("stages.")
        for pid, command in processes_in(folder).items()
        if command[1:2] == ["-m"] and command[2].startswith("stages.")
    }


@pytest.fixture
def begun_by(
    victim: str, pipeline: tuple[Path, dict[str, str], float], tmp_path: Path, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str | Served]:  # fmt: skip
    """What has the pipeline when the victim is struck."""
    if victim in ("dvc", "stage"):
        yield "dvc"
    elif victim in ("flow", "SIGTERM", "Ctrl-C"):
        request.getfixturevalue("prefect_server")
        monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
        yield "flows.pipeline"
    else:
        with serving(pipeline[0], tmp_path, workers=2) as served:
            yield served


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("victim", ["dvc", "stage", "flow", "SIGTERM", "Ctrl-C", "worker", "cancel"])
def test_a_pipeline_that_is_ended_again_and_again_ends_with_the_same_bytes(
    victim: str, pipeline: tuple[Path, dict[str, str], float], begun_by: str | Served
) -> None:
    """During or right after stages of which each has its turn. Every other time the next run begins at once, beside
    whatever still lives of the one that was ended."""
    folder, wanted, seconds = pipeline
    moments, longest, hit = random.Random(victim), 0.0, Counter[str]()
    plan = sorted([*STAGES, *moments.choices(STAGES, k=KILLS - len(STAGES))], key=STAGES.index)
    forget(folder)
    running = begin(folder, begun_by)
    while plan:
        time.sleep(0.1)
        if not stages_in(folder) and running.poll() is not None:  # it was faster than the kill
            assert_as_wanted(running, folder, wanted)
            forget(folder)
            running = begin(folder, begun_by)
        if not any(STAGES.index(stage) >= STAGES.index(plan[0]) for stage in stages_in(folder).values()):
            continue
        time.sleep(moments.uniform(0, 1.5 * seconds / len(STAGES)))
        before, stages = processes_with(running, folder), stages_in(folder)
        if (victim == "stage" and not stages) or not strike(victim, min(stages, default=0), running):
            continue
        ended, dead = time.monotonic(), running
        hit.update(stages.values() if stages else ["none"])
        plan.pop(0)
        if victim == "stage":
            dead.communicate(timeout=300)  # dvc ends by itself, as the stage failed
        elif victim in ("dvc", "flow"):
            dead.wait()  # as a shell does: for DVC a process that nobody has waited for still holds its locks
        if len(plan) % 2:
            running = begin(folder, begun_by)
        while left := {pid: command for pid, command in before.items() if pid != dead.pid and alive(pid)}:
            assert time.monotonic() < ended + GONE_S, f"still running: {left}"
            time.sleep(0.1)
        longest = max(longest, time.monotonic() - ended)
        dead.communicate()
        if not len(plan) % 2:
            running = begin(folder, begun_by)
    assert_as_wanted(running, folder, wanted)
    print(f"{KILLS} times {victim} during {dict(hit)}; what it left had ended after {longest:.1f} s at most")


def processes_with(run: Run, folder: Path) -> dict[int, list[str]]:
    """Those that have to end with it, by process id."""
    there = processes_in(folder)
    return there if isinstance(run, subprocess.Popen) else {pid: there.get(pid, []) for pid in processes_of(run.id)}


def strike(victim: str, stage: int, running: Run) -> bool:
    """False where there is nothing left to strike."""
    if isinstance(running, ServedRun):
        if victim == "cancel":
            cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
            answer = running.served.ask(f"/flow_runs/{running.id}/set_state", cancelling)
            return bool(answer["status"] == "ACCEPT")
        flow = min(processes_of(running.id), default=0)
        return bool(flow) and kill(parent_of(flow))
    if victim == "stage":
        return kill(stage)
    if running.poll() is not None:
        return False
    if victim == "Ctrl-C":
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does it
    else:
        running.send_signal(signal.SIGTERM if victim == "SIGTERM" else signal.SIGKILL)
    return True


def assert_as_wanted(running: Run, folder: Path, wanted: dict[str, str]) -> None:
    printed, _ = running.communicate()
    assert running.returncode == 0, printed
    assert made(folder) == wanted
