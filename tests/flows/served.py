"""`make serve` in a process of its own, and the runs that it has."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.dvc_project import ROOT, alive
from tests.flows.experiments import Experimental
from tests.postgres import free_port

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE_S = 240


class Served:
    """A project, and Prefect's REST API with nothing but the standard library."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], address: str) -> None:
        self.project, self.process, self.address = Experimental(folder), process, address

    def ask(self, path: str, content: object = None, method: str | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.address}/api{path}", data, {"Content-Type": "application/json"}, method=method
        )
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503:  # SQLite, which has one writer, was busy for too long
                    raise
            time.sleep(1)
        raise AssertionError(f"{path}: 503 again and again")

    def create(self, flow: str, **parameters: object) -> str:
        deployment = self.ask(f"/deployments/name/{flow}/{flow}")
        run = self.ask(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.ask(f"/flow_runs/{run}"))

    def end(self, run: str) -> dict[str, Any]:
        self.wait(lambda: self.run(run)["state"]["type"] in FINAL, "the run ends")
        return dict(self.run(run)["state"])

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        found = self.ask("/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {artifact["key"]: artifact for artifact in found}

    def learning(self, name: str) -> int:
        """The process id of the stage that learns in the experiment's workspace, once it does."""
        path = self.project.folder / ".scratch/workspaces" / name / ".scratch/waiting"
        self.wait(lambda: path.exists() and path.read_text() and alive(int(path.read_text())), f"{name} learns")
        return int(path.read_text())

    def wait(self, ready: Callable[[], object], what: str, patience: float = PATIENCE_S) -> None:
        end = time.monotonic() + patience
        while not ready():
            assert time.monotonic() < end, f"not within {patience:.0f} s: {what}"
            assert self.process.poll() is None
            time.sleep(0.5)


def with_deployments(folder: Path) -> None:
    """What `make serve` reads of a checkout."""
    (folder / "flows").symlink_to(ROOT / "flows")
    shutil.copy(ROOT / "prefect.yaml", folder)


@contextlib.contextmanager
def serving(folder: Path, home: Path, workers: int) -> Iterator[Served]:
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PREFECT_HOME": str(home), "PYTHONPATH": python_path}
    port = free_port()
    command = [sys.executable, "-m", "flows.serve", "--port", str(port), "--workers", str(workers)]
    said = home / "said"
    with said.open("w") as log, subprocess.Popen(command, cwd=folder, env=env, stdout=log, text=True) as process:
        try:
            while "Ctrl-C ends it all" not in said.read_text():
                assert process.poll() is None, said.read_text()
                time.sleep(0.1)
            yield Served(folder, process, f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)
        assert process.returncode == 128 + signal.SIGINT
        assert not flow_processes(folder), "it left something behind"


def flow_processes(folder: Path) -> dict[int, str]:
    """The command of each process that works in the folder or below."""
    running = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").readlink().is_relative_to(folder):
                    running[int(entry.name)] = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
            except OSError:  # it has ended meanwhile
                continue
    return running


def processes_of(run: str) -> list[int]:
    """The processes of this machine that have the flow run."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [int(e.name) for e in entries if f"PREFECT__FLOW_RUN_ID={run}".encode() in content_of(e / "environ")]


def content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
