"""One stage as `dvc repro --single-item` in a process group of its own: its lines, how it ended, and how to stop it.

    with nothing_left_behind():
        outcome = reproduce("train", root, print)

A signal to dvc alone would leave the stage's program running: dvc ignores SIGINT while it waits for a stage, and
SIGTERM or SIGKILL make the program an orphan that goes on writing the outputs. So the whole group is signalled.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pseudoword import processes

Outcome = Literal["Ran", "Restored", "Unchanged"]

TRY_AGAIN = 75  # EX_TEMPFAIL: a stage exits with it when the same run may succeed later
TAIL = 20  # lines of a failed stage's output that its error repeats

# A stage that ends while another process holds the repository's lock would go unrecorded without --wait-for-lock.
_REPRODUCE = ["--wait-for-lock", "repro", "--single-item"]

_running: set[subprocess.Popen[str]] = set()
_stopping = threading.Event()


class StageFailed(RuntimeError):
    """Says what the stage itself said last; `headline` is the same in one line."""

    def __init__(self, stage: str, lines: list[str], code: int | None) -> None:
        how = "before it ran" if code is None else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        own = "\n".join(f"  {line}" for line in lines[-TAIL:])
        super().__init__(f"stage {stage} failed ({how}):\n{own}\nTo see it alone: dvc repro --single-item {stage}")
        self.headline = f"stage {stage} failed ({how}): {lines[-1] if lines else 'without a word'}"
        self.may_heal = code in (TRY_AGAIN, -signal.SIGKILL, 128 + signal.SIGKILL)


class StageStopped(RuntimeError):
    def __init__(self, stage: str) -> None:
        super().__init__(f"stage {stage} was stopped because the flow was.")


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Whatever ends the body early (Ctrl-C, SIGTERM, an error) stops every stage that runs and lets none begin."""
    _stopping.clear()
    try:
        yield
    except BaseException:
        _stopping.set()
        processes.stop(*_running)
        raise


def reproduce(
    stage: str, root: Path, on_line: Callable[[str], None], force: bool = False, pull: bool = False
) -> Outcome:
    """Bring one stage up to date, without those that it needs. Each line of its output goes to `on_line` at once.

    force  run it whether anything has changed or not
    pull   ask the DVC remote too whether another machine has made it
    """
    if _stopping.is_set():
        raise StageStopped(stage)
    process = processes.start(
        "from dvc.cli import main; sys.exit(main())",
        [*_REPRODUCE, *(["--force"] if force else []), *(["--pull"] if pull else []), stage],
        folder=root,
        env=_environment(),
        output=subprocess.PIPE,
    )
    _running.add(process)
    if _stopping.is_set():  # since asked above: too late to be among those that were stopped
        processes.stop(process)
    watch = threading.Thread(target=_end_with_dvc, args=[process])
    watch.start()
    lines = list(_passed_on(process, on_line))
    watch.join()
    _running.discard(process)
    if _stopping.is_set():
        raise StageStopped(stage)
    if process.returncode:
        raise StageFailed(stage, _own_lines(lines), _exit_code(lines, process.returncode))
    return _outcome(lines)


def _end_with_dvc(process: subprocess.Popen[str]) -> None:
    """When dvc alone was killed, the stage would live on and hold its output open: nobody would notice the death."""
    process.wait()
    processes.stop(process)


def _passed_on(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> Iterator[str]:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if text := line.rstrip():
                on_line(text)
                yield text


def _environment() -> dict[str, str]:
    """`python` in dvc.yaml is this one. bash replaces itself by the stage, where dash would stay in between and hide
    the death of dvc from it; and a line appears when it is printed, not when the stage ends."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    shell = shutil.which("bash") or os.environ.get("SHELL", "/bin/sh")
    return {**os.environ, "PATH": path, "SHELL": shell, "PYTHONUNBUFFERED": "1"}


def _outcome(lines: list[str]) -> Outcome:
    text = "\n".join(lines)
    if re.search(r"^Running stage '", text, re.MULTILINE):
        return "Ran"
    return "Restored" if "is cached - skipping run" in text else "Unchanged"


def _exit_code(lines: list[str], dvc_code: int) -> int | None:
    """The stage's own exit code: dvc itself ends with 255 for every failure, and names the stage's only in its text.
    Negative for the signal that killed it or dvc; None when dvc refused to run it."""
    if dvc_code < 0:
        return dvc_code
    named = re.search(r"^ERROR: failed to reproduce .* exited with (-?\d+)$", "\n".join(lines), re.MULTILINE)
    return int(named[1]) if named else None


def _own_lines(lines: list[str]) -> list[str]:
    """What the stage said, without dvc's words around it; dvc's own error when the stage never ran."""
    ran = next((number for number, line in enumerate(lines) if line.startswith("> ")), None)
    if ran is None:
        return [line for line in lines if line.startswith("ERROR: ")] or lines
    said = lines[ran + 1 :]
    return [line for line in said if not line.startswith("ERROR: failed to reproduce ")] or lines
