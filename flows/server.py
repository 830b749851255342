"""A Prefect server for the time of this process, reachable from this machine alone.

Prefect starts one by itself too, but in the caller's process group: Ctrl-C then takes the server away before the flow
could say how it ended (142 s of retries and tracebacks were seen), and a killed flow leaves it running.
"""

import atexit
import contextlib
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from pseudoword import processes

PATIENCE = 120  # s until it answers: 10 on an idle machine, far more on a busy one


class ServerNotUp(RuntimeError):
    def __init__(self, log: str) -> None:
        super().__init__(
            f"the temporary Prefect server did not answer within {PATIENCE} s:\n{log[-2000:]}\n"
            "Start one with `prefect server start` and set PREFECT_API_URL, or do without: dvc repro"
        )


@contextlib.contextmanager
def temporary_server() -> Iterator[None]:
    """Flows in the body talk to it. A server that PREFECT_API_URL names is used instead."""
    if PREFECT_API_URL.value():
        yield
        return
    address = f"http://127.0.0.1:{_free_port()}"
    print(f"Starting a temporary Prefect server; watch the flow at {address}", flush=True)
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the server writes to it as long as it lives
    server = processes.start(
        "from prefect.cli import app; app()",
        ["server", "start", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]],
        folder=Path.cwd(),
        env=dict(os.environ),
        output=log,
    )
    # Not at the end of the body: when the process exits, Prefect's threads first hand in the last lines of the log.
    atexit.register(processes.stop, server)
    if not _answers(f"{address}/api/health"):
        log.seek(0)
        raise ServerNotUp(log.read())
    with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(url: str) -> bool:
    # Without a proxy: this machine's own address is not asked for through one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError), opener.open(url, timeout=5):
            return True
        time.sleep(0.2)
    return False
