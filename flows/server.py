"""A Prefect server for the time of this process, reachable from this machine alone; or the one that is named.

Prefect starts one by itself too, but in the caller's process group: Ctrl-C then takes the server away before the flow
could say how it ended (142 s of retries and tracebacks were seen), and a killed flow leaves it running.
"""

import atexit
import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO

from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from pseudoword import processes
from pseudoword.errors import UserError

PATIENCE_S = 300  # until it answers: 10 on an idle machine, 95 on one with five times the work it can do
PATIENCE_OF_NAMED_S = 4.0  # with a server that is said to run already
STILL_WAITING_S = 10  # between two lines that say so
DATABASE = Path(".scratch/prefect.db")

Process = subprocess.Popen[str]
WITHOUT = "Without Prefect: dvc repro"


class NoServerThere(UserError):
    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"PREFECT_API_URL is '{address}', but no Prefect server answers there: {why}. Start one with `prefect "
            "server start` and name its address with /api at the end, or unset PREFECT_API_URL (`prefect config view` "
            f"tells where it is set) and a temporary one is started. {WITHOUT}"
        )


class UnusableScratch(UserError):
    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"{folder.absolute()} has to be a folder that can be written to, for the database of Prefect's server: "
            f"{why}. Mend that. {WITHOUT}"
        )


class NotLetIn(UserError):
    def __init__(self, address: str, code: int) -> None:
        found = "is not what it wants" if PREFECT_API_AUTH_STRING.value() else "is not set"
        super().__init__(
            f"the Prefect server at PREFECT_API_URL, '{address}', does not let us in ({code}): PREFECT_API_AUTH_STRING "
            f"{found}. Set it to the PREFECT_SERVER_API_AUTH_STRING of that server, or unset PREFECT_API_URL and a "
            f"temporary server is started. {WITHOUT}"
        )


class ServerNotUp(UserError):
    def __init__(self, how: str, log: str) -> None:
        said = [line for line in log.splitlines() if line.strip()]
        last = f" It said last: {said[-1].strip()}" if said else ""
        super().__init__(
            f"the temporary Prefect server {how}.{last}\nStart one with `prefect server start` to see why, and set "
            f"PREFECT_API_URL to its address. {WITHOUT}"
        )


@contextlib.contextmanager
def prefect_server() -> Iterator[None]:
    """Flows in the body talk to the server that PREFECT_API_URL names, else to a temporary one. Raises UserError."""
    if named := PREFECT_API_URL.value():
        if why := _silence(named):
            raise NoServerThere(named, why)
        _check_let_in(named)
        yield
        return
    address = f"http://127.0.0.1:{_free_port()}"
    print(f"Starting a temporary Prefect server; watch the flow at {address}", flush=True)
    server = start_server(address)
    # Not at the end of the body: when the process exits, Prefect's threads first hand in the last lines of the log.
    atexit.register(processes.stop, server)
    with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
        yield


def prefect(
    arguments: list[str], env: Mapping[str, str] | None = None, output: int | IO[str] = subprocess.DEVNULL
) -> Process:
    """Prefect's command line as a child that ends with this process; its output goes to nowhere by default."""
    return processes.start(
        "from prefect.cli import app; app()", arguments, Path.cwd(), {**os.environ, **(env or {})}, output
    )


def start_server(address: str) -> Process:
    """A server at `http://127.0.0.1:<port>`, once it answers. Raises ServerNotUp, UnusableScratch.

    It is the project's own: by a common one workers here would take another project's runs.
    """
    _check_scratch(DATABASE.parent)
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the server writes to it as long as it lives
    server = prefect(
        ["server", "start", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]],
        env={
            # Its page asks the port of the settings, whatever port the server was given.
            "PREFECT_SERVER_UI_API_URL": f"{address}/api",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{DATABASE}",
        },
        output=log,
    )
    try:
        _wait_for(server, f"{address}/api", log)
    except BaseException:
        processes.stop(server)
        log.close()
        raise
    return server


def _check_scratch(folder: Path) -> None:
    """Try to write there: permissions alone would not tell of a full disk or a file in its place."""
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        raise UnusableScratch(folder, error.strerror or str(error)) from None


def _check_let_in(api: str) -> None:
    """Whoever asks for its health alone is let in by every server."""
    with get_client(sync_client=True) as client:
        try:
            client.api_version()
        except PrefectHTTPStatusError as error:
            if (code := error.response.status_code) in (401, 403):
                raise NotLetIn(api, code) from None
            raise NoServerThere(api, f"it answers {code}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(server: subprocess.Popen[str], api: str, log: IO[str]) -> None:
    """Return once the server answers. Raises ServerNotUp as soon as it has died, or after PATIENCE_S."""
    started = time.monotonic()
    told = 0
    while _health(api, timeout=5):
        seconds = time.monotonic() - started
        died = server.poll() is not None
        if died or seconds > PATIENCE_S:
            log.seek(0)
            raise ServerNotUp("ended while it started" if died else f"did not answer within {PATIENCE_S} s", log.read())
        if seconds // STILL_WAITING_S > told:
            told = int(seconds // STILL_WAITING_S)
            print(f"waiting for the server, {seconds:.0f} s so far; its first start makes its database", flush=True)
        time.sleep(0.2)


def _silence(api: str) -> str:
    """Why nothing of Prefect's answers at `api`; empty when it does. In a thread: a name can take long to look up."""
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(_health(api, PATIENCE_OF_NAMED_S)), daemon=True)
    asking.start()
    asking.join(PATIENCE_OF_NAMED_S)
    return answers[0] if answers else f"no answer within {PATIENCE_OF_NAMED_S:.0f} s"


def _health(api: str, timeout: float) -> str:
    """What is wrong with the server behind `api`; empty when it is well, or wants to know first who asks."""
    # Without a proxy for this machine's own address.
    own = api.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if own else []))
    try:
        with opener.open(f"{api.rstrip('/')}/health", timeout=timeout) as answer:
            return "" if answer.read(16).strip() == b"true" else "what answers is something else"
    except urllib.error.HTTPError as error:
        return "" if error.code in (401, 403) else f"it answers {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError, HTTPException) as error:  # no address at all, or no web server
        return " ".join(str(error).split())
