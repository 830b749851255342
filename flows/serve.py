"""Prefect's page with forms for every flow, on this machine alone: server, work pool, workers and deployments.

    python -m flows.serve [--port 4200] [--workers N]
    python -m flows.serve --prepare

Ends them all with Ctrl-C. A worker takes one run after another, so there is one for each GPU; one more takes sweeps,
which only wait for their points. The database lies in PREFECT_HOME. With --prepare a server that runs already, for many
machines, gets pool, deployments and what notices dead workers; see docs/scaling.md.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from prefect import get_client
from prefect.automations import Automation
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from flows.server import Process, prefect, prefect_server, start_server
from pseudoword import processes
from pseudoword.errors import UserError, message_of

POOL = "local"
RUNS, SWEEPS = "runs", "sweeps"  # work queues
MANY = 100  # sweeps, which only wait
HEARTBEAT_S, SILENCE_S = 30, 90
LOOK_S = 5.0  # between two looks at the workers
DEAD = "a run that fell silent has crashed"


class PortTaken(UserError):
    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of this machine is taken. If a Prefect server runs there already, stop it; or choose another "
            f"port: python -m flows.serve --port {port + 1}"
        )


class NoServerNamed(UserError):
    def __init__(self) -> None:
        super().__init__(
            "--prepare wants a server of many machines: start it by `prefect server start` and set PREFECT_API_URL to "
            "its address with /api at the end. For this machine alone: python -m flows.serve"
        )


class ChildEnded(UserError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has ended by itself, so all is stopped. `prefect {what}` by hand shows why.")


def serve(port: int, cards: Sequence[str | None]) -> None:
    """Start everything and stay until a signal. Raises UserError.

    cards  CUDA_VISIBLE_DEVICES of each worker; None leaves it as it is
    """
    _check_free(port)
    address = f"http://127.0.0.1:{port}"
    heartbeats = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
    queues = {name: (RUNS, 1, {} if card is None else {"CUDA_VISIBLE_DEVICES": card}) for name, card in named(cards)}
    queues[SWEEPS] = (SWEEPS, MANY, {})
    workers: dict[str, Process] = {}
    print(f"Starting Prefect at {address}", flush=True)
    server = start_server(address, heartbeats)
    try:
        with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
            prepare()
            # A run works in the PWD of its worker, which is the folder of the caller's shell: another after `make -C`.
            env = {"PREFECT_API_URL": f"{address}/api", "PWD": str(Path.cwd()), **heartbeats}
        for name, (queue, limit, card) in queues.items():
            workers[name] = _worker(name, queue, limit, env | card)
        print(f"Open {address}/deployments and choose a flow. Ctrl-C ends it all.", flush=True)
        while server.poll() is None:
            time.sleep(LOOK_S)
            for name, (queue, limit, card) in queues.items():
                if workers[name].poll() is not None:
                    print(f"the worker {name} has ended by itself and is started again", file=sys.stderr, flush=True)
                    workers[name] = _worker(name, queue, limit, env | card)
        raise ChildEnded("server start")
    finally:
        processes.stop(*workers.values())
        processes.stop(server)


def named(cards: Sequence[str | None]) -> list[tuple[str, str | None]]:
    """Each card with the name of its worker."""
    return [(f"worker-{i}" if card is None else f"gpu-{card}", card) for i, card in enumerate(cards)]


def prepare() -> None:
    """Make the work pool, the deployments of prefect.yaml, and the automation that tells of a run whose worker died.

    What is there already stays or is renewed. Raises ChildEnded, after showing what Prefect said.
    """
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    asyncio.run(_notice_the_dead())
    deploying = prefect(
        ["--no-prompt", "deploy", "--all"], {"PREFECT_API_URL": str(PREFECT_API_URL.value())}, subprocess.PIPE
    )
    printed, _ = deploying.communicate()
    if deploying.returncode:
        print(printed, file=sys.stderr)
        raise ChildEnded("deploy --all")


def _prepare_named() -> None:
    if not PREFECT_API_URL.value():
        raise NoServerNamed
    with prefect_server():
        prepare()
    print(f"Ready. On each machine, in the project: prefect worker start --pool {POOL} --work-queue {RUNS} --limit 1")


async def _notice_the_dead() -> None:
    try:
        await Automation.aread(name=DEAD)
    except ValueError:
        await _silent_run_has_crashed().acreate()


def _silent_run_has_crashed() -> Automation:
    # On a server of one's own nobody else notices that a machine is gone: its run would be "Running" for ever.
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")}
    return Automation(
        name=DEAD,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE_S),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, force=False, message=f"no sign of life for {SILENCE_S} s"
            )
        ],
    )


def _worker(name: str, queue: str, limit: int, env: dict[str, str]) -> Process:
    arguments = ["worker", "start", "--pool", POOL, "--work-queue", queue, "--name", name, "--limit", str(limit)]
    return prefect(arguments, env=env)


def visible_cards() -> list[str | None]:
    """CUDA_VISIBLE_DEVICES for each worker: every card that is there or named; one worker without any where none is."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        try:
            listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            listed = ""
        named = ",".join(str(i) for i, line in enumerate(listed.splitlines()) if line.startswith("GPU "))
    cards = [card.strip() for card in named.split(",") if card.strip()]
    return list(cards) or [None]


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise PortTaken(port) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve", description="Prefect's page with a form for every flow, on this machine alone."
    )
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--workers", type=int, help="runs at once; by default one for each GPU, or one")
    parser.add_argument("--prepare", action="store_true", help="the server that PREFECT_API_URL names, and start none")
    options = parser.parse_args(arguments)
    cards = visible_cards() if options.workers is None else [None] * options.workers

    def end(number: int, _: FrameType | None) -> Any:
        for ignored in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_IGN)  # one more would leave something behind
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    try:
        if options.prepare:
            _prepare_named()
        else:
            serve(options.port, cards)
    except (UserError, OSError) as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
