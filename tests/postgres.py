"""A PostgreSQL for the time of a test, on loopback alone; Prefect's SQLite where the machine has none."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _program(name: str) -> str | None:
    """On the PATH or where Debian puts it, which is not on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


@contextlib.contextmanager
def database() -> Iterator[dict[str, str]]:
    """The environment of a Prefect server that keeps its rows there."""
    initdb, postgres, is_ready = map(_program, ("initdb", "postgres", "pg_isready"))
    if not (initdb and postgres and is_ready):
        yield {}
        return
    user = None
    if os.geteuid() == 0:  # as which it refuses to run
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own are closed to other users
    try:
        if user:
            shutil.chown(folder, user)
        port = free_port()
        init = [initdb, "--pgdata", "data", "--username", "prefect", "--auth", "trust", "--no-sync"]
        subprocess.run(init, cwd=folder, user=user, check=True, capture_output=True)
        options = ["-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
        with subprocess.Popen([postgres, *options], cwd=folder, user=user, stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 60
                ready = [is_ready, "--quiet", "--host", "127.0.0.1", "--port", str(port)]
                while subprocess.run(ready, check=False).returncode:
                    assert time.monotonic() < end and process.poll() is None, "PostgreSQL does not start"
                    time.sleep(0.2)
                url = f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
                yield {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
            finally:
                process.terminate()
                process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
