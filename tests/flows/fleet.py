"""Machines of a fleet, each a clone on this one: a bare git remote, a DVC remote, workers, and Prefect's REST API."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tests.dvc_project import ROOT

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE_S = 1800
REMOTE = "origin"


class Fleet:
    """The project in `seed`, a git repository, becomes a bare remote of which each machine has a clone.

    store  arguments of `dvc remote` that set up the DVC remote
    """

    def __init__(self, folder: Path, seed: Path, env: dict[str, str], store: Sequence[Sequence[str]]) -> None:
        self.folder, self.env, self.began = folder, env, datetime.now(UTC)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        shutil.copytree(ROOT / "flows", seed / "flows", ignore=shutil.ignore_patterns("__pycache__"))
        deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        for deployment in deployments["deployments"]:
            if deployment["name"] in ("pipeline", "sweep"):
                deployment["parameters"] = {"remote": REMOTE}
        (seed / "prefect.yaml").write_text(yaml.safe_dump(deployments))
        for arguments in store:
            self.dvc(seed, "remote", *arguments)
        git(seed, "add", "--all")
        git(seed, "commit", "--quiet", "--message", "fleet")
        git(folder, "clone", "--quiet", "--bare", str(seed), "bare.git")

    def machine(self, name: str) -> Path:
        clone = self.folder / name
        git(self.folder, "clone", "--quiet", "bare.git", name)
        git(clone, "config", "user.name", "somebody")
        git(clone, "config", "user.email", "somebody@example.org")
        return clone

    def env_in(self, clone: Path) -> dict[str, str]:
        """As a shell there has it, with the clone's own code."""
        return {**os.environ, **self.env, "PWD": str(clone), "PYTHONPATH": f"{clone}:{ROOT}", "PSEUDOWORD_SCRATCH": ""}

    def python(self, clone: Path, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=clone, env=self.env_in(clone), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, clone: Path, *arguments: str) -> str:
        return self.python(clone, "-m", "dvc", *arguments)

    def start_worker(self, clone: Path, queue: str, limit: int = 1) -> None:
        name = f"{clone.name}-{queue}"
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local", "--work-queue", queue,
                   "--limit", str(limit), "--name", name]  # fmt: skip
        with (self.folder / f"{name}.log").open("w") as log:
            self.workers[name] = subprocess.Popen(
                command, cwd=clone, env=self.env_in(clone), stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        self.lose(self.folder)
        for worker in self.workers.values():
            worker.wait()

    def lose(self, folder: Path) -> None:
        """As if the plugs of the machines there were pulled: nothing can say that it ends."""
        victims = [pid for pid, place in working() if place.is_relative_to(folder)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def answers(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except OSError:
            return False

    def ask(self, path: str, content: object = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.env['PREFECT_API_URL']}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def create(self, flow: str, **parameters: object) -> str:
        deployment = self.ask(f"/deployments/name/{flow}/{flow}")
        return str(self.ask(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})["id"])

    def end(self, run: str) -> dict[str, Any]:
        """The flow run, once it has ended."""
        self.wait(lambda: self.ended(run), f"{run} ends")
        return dict(self.ask(f"/flow_runs/{run}"))

    def ended(self, run: str) -> bool:
        return self.ask(f"/flow_runs/{run}")["state"]["type"] in FINAL

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Of the experiment, the oldest first; another fleet on this server may have had one of the same name."""
        since = {"expected_start_time": {"after_": self.began.isoformat()}}
        found = self.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}, **since}})
        return sorted(found, key=lambda run: str(run["created"]))

    def tasks(self, task: str, run: str) -> list[str]:
        """How the stage ended in the flow run."""
        tasks = {"name": {"like_": task}}
        found = self.ask("/task_runs/filter", {"task_runs": tasks, "flow_runs": {"id": {"any_": [run]}}})
        return [str(row["state"]["name"]) for row in found if row["name"] == task and row["state"]]

    def wait(self, ready: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
            time.sleep(0.5)

    def experiments(self, repository: str = "bare.git") -> dict[str, dict[str, str]]:
        """The digest of each output of all stages, as dvc.lock of each experiment has it."""
        names = git(self.folder / repository, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").splitlines()
        return {ref.rpartition("/")[2]: self._outputs(repository, ref) for ref in names}

    def _outputs(self, repository: str, revision: str) -> dict[str, str]:
        locked = yaml.safe_load(git(self.folder / repository, "show", f"{revision}:dvc.lock"))["stages"]
        return {out["path"]: out["md5"] for stage in locked.values() for out in stage.get("outs", [])}


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(
        ["git", *name, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def working() -> list[tuple[int, Path]]:
    """Each process of this machine with the folder that it works in."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                found.append((int(entry.name), (entry / "cwd").readlink()))
            except OSError:  # it has ended meanwhile
                continue
    return found
