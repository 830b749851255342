"""Prefect's page with forms for every flow, on this machine alone: server, work pool, workers and deployments.

    python -m flows.serve [--port 4200] [--workers N]
    python -m flows.serve --prepare

Ends them all with Ctrl-C. A worker takes one run after another, so there is one for each GPU; one more takes sweeps,
which only wait for their points. The database is the project's own. With --prepare a server that runs already, for many
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
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from prefect import get_client
from prefect.automations import Automation
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import State, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed
from prefect.workers.process import ProcessWorker

from flows.server import Process, prefect, prefect_server, start_server
from pseudoword import processes
from pseudoword.errors import UserError, message_of
from pseudoword.locks import file_lock

POOL = "local"
RUNS, SWEEPS = "runs", "sweeps"  # work queues
MANY = 100  # sweeps, which only wait
SILENCE_S = 90  # of a run that gives a sign of life every 30 s
START_S = 110  # from being taken by a worker to the first sign of life: up to 60 on a machine with thrice its work
STOP_S = 60.0  # for runs to stop by themselves: 5 to 10 on an idle machine
LOCK = Path(".scratch/locks/serve.lock")
LOOK_S = 5.0  # between two looks at the workers


class PortTaken(UserError):
    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of this machine is taken. If a Prefect server runs there already, stop it; or choose another "
            f"port: python -m flows.serve --port {port + 1}"
        )


class ServedAlready(UserError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"another `make serve` runs in {folder}. Use its page, or end it by Ctrl-C.")


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
    # A run works in the PWD of its worker, which is the folder of the caller's shell: another after `make -C`.
    env = {"PREFECT_API_URL": f"{address}/api", "PWD": str(Path.cwd())}
    queues = {name: (RUNS, 1, {} if card is None else {"CUDA_VISIBLE_DEVICES": card}) for name, card in named(cards)}
    queues[SWEEPS] = (SWEEPS, MANY, {})
    workers: dict[str, Process] = {}
    with file_lock(LOCK, None) as alone, temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
        if not alone:
            raise ServedAlready(Path.cwd())
        print(f"Starting Prefect at {address}", flush=True)
        server = start_server(address)
        try:
            prepare()
            _end_runs(Crashed(message="make serve was killed"))
            for name, (queue, limit, card) in queues.items():
                workers[name] = _worker(name, queue, limit, env | card)
            print(f"Open {address}/deployments and choose a flow. Ctrl-C ends it all.", flush=True)
            while server.poll() is None:
                time.sleep(LOOK_S)
                for name, (queue, limit, card) in queues.items():
                    if workers[name].poll() is not None:
                        said = f"the worker {name} has ended by itself and is started again"
                        print(said, file=sys.stderr, flush=True)
                        workers[name] = _worker(name, queue, limit, env | card)
            raise ChildEnded("server start")
        finally:
            if server.poll() is None and workers:
                _stop_runs()
            processes.stop(*workers.values())
            processes.stop(server)


def _stop_runs() -> None:
    """Have the workers stop what they run, while there is a server to say so to, and a sweep take back its points."""
    with contextlib.suppress(httpx.HTTPError, PrefectHTTPStatusError):
        end = time.monotonic() + STOP_S
        while _end_runs(Cancelling(message="make serve was ended")) and time.monotonic() < end:
            time.sleep(0.2)


def _end_runs(state: State[Any]) -> bool:
    """Bring the runs that workers have, and the points that wait for one, into this state; whether there are any."""
    begun = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*begun, StateType.SCHEDULED]))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )
        runs = [run for run in runs if run.state_type in begun or run.parent_task_run_id]
        for run in sorted(runs, key=lambda run: bool(run.parent_task_run_id)):  # a sweep would hand in its points again
            if run.state_type != state.type:
                client.set_flow_run_state(run.id, state)
    return bool(runs)


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
    # On a server of one's own nobody else notices that a worker or its machine is gone: a run that it had would stay
    # "Running" for ever, or "Pending" where its process had not begun yet.
    for automation in (
        _crashed("a run that fell silent has crashed", after="heartbeat", alive="heartbeat", seconds=SILENCE_S),
        _crashed("a run that never began has crashed", after="Pending", alive="Running", seconds=START_S),
    ):
        try:
            await Automation.aread(name=automation.name)
        except ValueError:
            await automation.acreate()


def _crashed(name: str, after: str, alive: str, seconds: int) -> Automation:
    """A run of which so long after the one event neither the other nor its end was heard has crashed."""
    signs = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", alive)
    return Automation(
        name=name,
        trigger=EventTrigger(
            after={f"prefect.flow-run.{after}"},
            expect={f"prefect.flow-run.{sign}" for sign in signs},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, force=False, message=f"no sign of life for {seconds} s"
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


def _number(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 1 to {most}")
        return int(text)

    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve", description="Prefect's page with a form for every flow, on this machine alone."
    )
    parser.add_argument("--port", type=_number(65535), default=4200)
    parser.add_argument("--workers", type=_number(MANY), help="runs at once; by default one for each GPU, or one")
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
