"""Stages whose dvc is killed at odd moments. dvc is a stand-in that starts them as it does; torch is one that hangs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="dash in between is seen on Linux alone")

# Starts a stage by the shell and tells the process that it became, then waits for it as dvc does.
DVC = """
import json, subprocess, sys
print(subprocess.Popen(json.loads(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""
TORCH = "import pathlib, time; pathlib.Path(__file__).with_name('asked').touch(); time.sleep(90)"
LATE = """
import os, time
while os.getsid(os.getppid()) == os.getsid(0):  # dvc is there
    time.sleep(0.05)
os.execvp('python', ['python', '-m', 'stages.latents'])
"""


def start_dvc(tmp_path: Path, command: list[str]) -> tuple[subprocess.Popen[str], int]:
    (tmp_path / "torch.py").write_text(
        "import pathlib, time; pathlib.Path(__file__).with_name('asked').touch(); time.sleep(90)"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "DVC_STAGE": "latents", "PYTHONPATH": str(tmp_path), "PATH": path}
    dvc = subprocess.Popen(
        [sys.executable, "-c", DVC, json.dumps(command)], cwd=ROOT, env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert dvc.stdout
    return dvc, int(dvc.stdout.readline())


def kill(dvc: subprocess.Popen[str]) -> None:
    dvc.kill()
    dvc.wait()
    for pipe in (dvc.stdin, dvc.stdout):
        assert pipe
        pipe.close()


def left_of(session: int) -> list[str]:
    """The command lines of all that lives in the session."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session and (line := (folder / "cmdline").read_bytes()):
                lines.append(line.decode())
        except OSError:
            continue
    return lines


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(true())


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_stage_whose_dvc_is_killed_while_it_imports_ends(tmp_path: Path, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    dvc, _ = start_dvc(tmp_path, [shell, "-c", "python -m stages.latents"])
    assert wait_until((tmp_path / "asked").exists, 60), "the stage did not come to its imports"
    assert any("stages.latents" in line for line in left_of(dvc.pid))
    kill(dvc)
    assert wait_until(lambda: not left_of(dvc.pid), 20)


def test_a_stage_whose_dvc_was_gone_before_it_began_ends(tmp_path: Path) -> None:
    dvc, _ = start_dvc(tmp_path, [sys.executable, "-c", LATE])
    assert any("execvp" in line for line in left_of(dvc.pid))
    kill(dvc)
    assert wait_until(lambda: not left_of(dvc.pid), 60)
    assert not (tmp_path / "asked").exists()


def test_a_stage_run_by_hand_outlives_who_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc, stage = start_dvc(tmp_path, ["env", "-u", "DVC_STAGE", "python", "-m", "stages.latents"])
    assert wait_until((tmp_path / "asked").exists, 60)
    kill(dvc)
    time.sleep(2)
    os.kill(stage, signal.SIGKILL)  # raises where it has ended
