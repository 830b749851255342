"""A stage ends within seconds when the dvc that started it has ended, however that was, at whichever moment.

Otherwise it would go on writing outputs beside the stage that the next `dvc repro` starts. A stage that a person runs
by hand is not watched.
"""

import os
import signal
import threading
import time
from pathlib import Path

INTERVAL_S = 0.5
PATIENCE_S = 3.5  # between SIGTERM, at which a stage saves what it needs to go on, and SIGKILL


def end_with_dvc() -> None:
    """Begin to watch. Called before anything heavy is imported; what has ended by then is noticed too."""
    if "DVC_STAGE" not in os.environ or os.name == "nt":
        return
    line = _line_to_dvc()
    # An orphan is given to a process that stands apart: dvc starts its stages in its own session.
    if _session(line[-1]) != os.getsid(0):
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_watch, args=[line], daemon=True).start()


def _line_to_dvc() -> list[int]:
    """The processes from the parent up to dvc: dash stays in between, bash replaces itself by the stage."""
    parent = os.getppid()
    return [parent, _parent_of(parent)] if _is_shell_of_stage(parent) else [parent]


def _watch(line: list[int]) -> None:
    while _line_to_dvc() == line:
        time.sleep(INTERVAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_shell_of_stage(pid: int) -> bool:
    """Whether the process is `sh -c "python -m stages.x"`. Only Linux tells."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return False
    return arguments[-2:-1] == ["-c"] and arguments[-1].startswith("python -m stages.")


def _parent_of(pid: int) -> int:
    """0 of a process that has ended."""
    try:
        # The name of the program, in brackets, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _session(pid: int) -> int:
    """0 of a process that has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
