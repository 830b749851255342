"""What is around a stage: its faults in one message, one process of it in a folder, one on a GPU.

The card is a stand-in: what counts are the processes that wait for each other.
"""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pseudoword.errors import UserError, message_of
from pseudoword.files import write_text
from stages._runtime import Interrupted, alone_on, run_stage
from tests.dvc_project import begin_project

fcntl = pytest.importorskip("fcntl", reason="this system has no file locks")

ROOT = Path(__file__).parents[2]

HOLDER = """
import sys
from types import SimpleNamespace
cuda = SimpleNamespace(get_device_properties=lambda device: SimpleNamespace(uuid="0f-1e"))
sys.modules["torch"] = SimpleNamespace(cuda=cuda)
from stages._runtime import alone_on
with alone_on(sys.argv[1]):
    print("got it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PSEUDOWORD_GPU_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


def hold(device: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, device]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("other", ["cuda:0", "cuda:1"])
def test_a_card_is_waited_for_by_whichever_number_it_is_seen(locks: Path, other: str):
    first = hold("cuda:0")
    assert said(first) == "got it"
    second = hold(other)
    assert said(second) == f"waiting for {other}: another stage is using it"
    first.kill()  # the kernel frees the lock of whoever dies
    assert said(second) == "got it"
    second.communicate("")
    first.communicate()
    assert second.returncode == 0


def test_the_locks_are_for_all_users_of_a_machine(locks: Path):
    old = os.umask(0o077)
    try:
        with alone_on("mps"):
            pass
    finally:
        os.umask(old)
    assert locks.stat().st_mode & 0o7777 == 0o1777
    assert (locks / "mps.lock").stat().st_mode & 0o777 == 0o644
    (locks / "mps.lock").chmod(0o444)
    with alone_on("mps"):
        pass


def test_a_lock_is_not_followed_to_somebody_elses_file(locks: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("kept")
    locks.mkdir()
    (locks / "mps.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"mps\.lock"), alone_on("mps"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_processor_is_shared(locks: Path):
    with alone_on("cpu"), alone_on("cpu"):
        assert not locks.exists()


FAULTS = {
    "full disk": (OSError(errno.ENOSPC, "No space left on device", "outputs/x"), 1, "outputs/x: no room is left"),
    "read-only": (
        OSError(errno.EROFS, "Read-only file system", "outputs"),
        1,
        "outputs: Read-only file system. Change",
    ),
    "no folder": (NotADirectoryError(errno.ENOTDIR, "Not a directory", "outputs"), 1, "outputs: Not a directory."),
    "a copy": (shutil.Error([("a", "outputs/a", "[Errno 28] No space left on device")]), 1, "outputs/a: [Errno 28]"),
    "memory": (MemoryError(), 1, "Memory ran out. Close other programs"),
    "memory of a GPU": (torch.OutOfMemoryError(), 1, "Memory ran out."),
    "memory for a file": (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "Memory ran out."),
    "Ctrl-C": (KeyboardInterrupt(), 130, "stopped by SIGINT"),
    "SIGTERM": (Interrupted(signal.SIGTERM, "all saved"), 143, "stopped by SIGTERM: all saved"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_not_the_programs_is_one_message(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    error, code, message = FAULTS[fault]
    before = signal.getsignal(signal.SIGINT)

    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    try:
        with pytest.raises(SystemExit) as stopped:
            run_stage(main)
    finally:
        signal.signal(signal.SIGINT, before)
    told = capsys.readouterr().err
    assert stopped.value.code == code and told.startswith("error: ") and message in told and told.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process may have more than its limit")
def test_memory_that_runs_out_during_the_imports_is_one_message() -> None:
    limited = 'ulimit -v 400000; exec "$0" -m stages.judge'
    stage = subprocess.run(["bash", "-c", limited, sys.executable], capture_output=True, text=True, check=False)
    assert stage.returncode == 1
    assert stage.stderr.splitlines()[-1].startswith("error: Memory ran out.") and "Traceback" not in stage.stderr


HUGE = 2**46  # bytes, which no machine has


@pytest.mark.parametrize(
    "take", [bytearray, np.empty, torch.empty, lambda size: cv2.copyMakeBorder(np.zeros((1, 1)), 0, 2**30, 0, 2**30, 0)]
)
def test_memory_that_a_library_cannot_have_is_one_message(
    take: Callable[[int], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as stopped:
        run_stage(lambda: take(HUGE) and None)
    told = capsys.readouterr().err
    assert stopped.value.code == 1 and told.startswith("error: Memory ran out. ") and told.count("\n") == 1


FAILING = """
import sys
from pathlib import Path
from pseudoword.errors import UserError
from stages._runtime import run_stage

def main():
    text = Path("told").read_text()
    if text == "crash":
        raise ZeroDivisionError
    Path("counted/b").mkdir(parents=True)
    Path("counted/a.txt").write_text(text)
    if text == "fail halfway":
        raise UserError("it was told to")

run_stage(main)
"""


@pytest.mark.parametrize("fault", ["crash", "fail halfway"])
def test_a_stage_that_fails_says_how_its_earlier_outputs_come_back(tmp_path: Path, fault: str):
    begin_project(tmp_path)
    (tmp_path / "dvc.yaml").write_text(
        "stages: {count: {cmd: python -m stages.count, deps: [told], outs: [counted]}}\n"
    )
    (tmp_path / "stages/count").mkdir(parents=True)
    for name in ("__init__.py", "_runtime.py", "_parent.py"):
        shutil.copy(ROOT / "stages" / name, tmp_path / "stages")
    (tmp_path / "stages/count/__main__.py").write_text(FAILING)

    def dvc(*arguments: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    (tmp_path / "told").write_text(fault)
    assert "dvc checkout" not in dvc("repro")  # there is nothing yet
    (tmp_path / "told").write_text("something")
    dvc("repro")
    (tmp_path / "told").write_text(fault)
    printed = dvc("repro")
    force = ["--force"] if (tmp_path / "counted/a.txt").exists() else []
    command = ["checkout", *force, "count"]
    assert bool(force) == (fault == "fail halfway")
    assert f"note: `dvc {' '.join(command)}` brings back what this stage made when it last ended well." in printed
    dvc(*command)
    assert (tmp_path / "counted/a.txt").read_text() == "something", printed


def test_marks_in_names_do_not_reach_the_terminal_raw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)

    def main() -> None:
        print("skipped", "\u202egnp.\x1b[2J.png", "\nbär 猫")
        raise UserError("one\ntwo\u2066")

    with pytest.raises(SystemExit):
        run_stage(main)
    stream.flush()
    assert buffer.getvalue().decode() == "skipped \\u202egnp.\\x1b[2J.png \nbär 猫\n"
    assert capsys.readouterr().err == "error: one\ntwo\\u2066\n"


def test_a_write_that_fails_is_told_by_the_name_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "loss.csv").write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as raised:
        write_text(tmp_path / "loss.csv", "after")
    assert message_of(raised.value).startswith(f"{tmp_path / 'loss.csv'}: no room is left on the disk.")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_stage_waits_for_an_earlier_one_of_the_same_folder(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    (tmp_path / ".scratch/locks").mkdir(parents=True)
    earlier = os.open(tmp_path / ".scratch/locks/check.lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(earlier, fcntl.LOCK_EX)
    command = [sys.executable, "-m", "stages.check"]
    later = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert said(later) == "waiting for another check to end: it still writes in this folder"
    os.close(earlier)
    _, told = later.communicate(timeout=60)
    assert later.returncode == 1 and told.startswith("error: ") and "params.yaml" in told


def test_a_stage_that_is_given_arguments_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.curate", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and not any(tmp_path.iterdir())
    assert done.stderr == "error: a stage takes no arguments, and was given --help. `dvc repro curate` runs it.\n"
