"""Child processes of a flow: each in a process group of its own, gone when the flow is gone.

A group of its own, since Ctrl-C goes to the whole group of a terminal's command, and it is the flow that decides in
which order things end.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

# The kernel tells the child when its parent died, however that was; nothing else survives a SIGKILL of the flow. It is
# asked for in the child's own interpreter, as code between fork and exec is unsafe beside threads. 1: PR_SET_PDEATHSIG.
# And a flow started in the background of a script hands on an ignored SIGINT, with which dvc could not be stopped.
_PREAMBLE = f"""
import ctypes, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, {signal.SIGTERM:d})
"""
# What a group gets and how many seconds it has to end. dvc and a stage tidy up on SIGINT.
SIGNALS = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def ending_with_parent(code: str) -> list[str]:
    """The command that runs Python code and gets SIGTERM when this process dies; arguments may follow."""
    return [sys.executable, "-c", _PREAMBLE + code]


def start(
    code: str, arguments: list[str], folder: Path, env: dict[str, str], output: int | IO[str]
) -> subprocess.Popen[str]:
    """Run Python code, which sees the arguments in `sys.argv[1:]`; stdout and stderr both go to `output`."""
    return subprocess.Popen(
        [*ending_with_parent(code), *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def end_with_parent() -> None:
    """Have this process end by SIGTERM when the one that started it has ended, however that was. Linux alone can."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != parent:  # it ended meanwhile
            signal.raise_signal(signal.SIGTERM)


def stop(*children: subprocess.Popen[str]) -> None:
    """End what is left of their groups, grandchildren included. One more Ctrl-C meanwhile kills them at once."""
    try:
        for number, patience in SIGNALS:
            alive = [child for child in children if _signal(child, number)]
            deadline = time.monotonic() + patience
            while any(_signal(child, 0) for child in alive) and time.monotonic() < deadline:
                time.sleep(0.05)
    except KeyboardInterrupt:
        for child in children:
            _signal(child, signal.SIGKILL)
        raise


def _signal(child: subprocess.Popen[str], number: int) -> bool:
    """Signal the child's group; False when nothing of it is alive. Signal 0 only asks."""
    child.poll()  # reaps it; until then it would count as alive
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True
