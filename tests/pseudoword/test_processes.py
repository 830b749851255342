"""Child processes that end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.dvc_project import alive

ROOT = Path(__file__).parents[2]
# As `dvc exp push` runs in a flow: the parent waits for it in `subprocess.run`.
PARENT = """
import subprocess
from pseudoword.processes import ending_with_parent
subprocess.run([*ending_with_parent("import os, time; print(os.getpid(), flush=True); time.sleep(300)")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_what_a_killed_flow_waits_for_ends_with_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)
