"""A flow as a command."""

import os
import signal
from contextlib import nullcontext

import pytest
from prefect.states import Completed

from flows.command import run_flow


def test_sigterm_while_the_server_is_stopped_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("flows.command.prefect_server", nullcontext)
    try:
        assert run_flow(Completed, lambda _: "done") == 0
        os.kill(os.getpid(), signal.SIGTERM)  # as the server is stopped when Python ends; the first one is enough
    finally:
        signal.signal(signal.SIGTERM, before)
