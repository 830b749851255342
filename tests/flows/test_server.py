"""The server behind a flow: which one, that its page works, and one message where there is none."""

import base64
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.server import NoServerThere, NotLetIn, ServerNotUp, UnusableScratch, prefect_server
from tests.browser import Browser, browser, chromium
from tests.dvc_project import Project, waiting_stage

__all__ = ["browser", "chromium"]


class Website(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        pass


def refused(address: str) -> str:
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(NoServerThere) as caught, prefect_server():
        raise AssertionError
    message = str(caught.value)
    assert message.startswith(f"PREFECT_API_URL is '{address}', but no Prefect server answers there: ")
    assert "prefect server start" in message and message.endswith("dvc repro") and "\n" not in message
    return message


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "Connection refused" in refused(f"http://127.0.0.1:{free.getsockname()[1]}/api")


def test_an_address_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.server.PATIENCE_OF_NAMED_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = refused(f"http://127.0.0.1:{silent.getsockname()[1]}/api")
    assert re.search("no answer within|timed out", message)


@pytest.mark.parametrize(
    "address", ["nonsense", "localhost:4200", "http://", "http://local host:4200/api", "http://127.0.0.1:port/api"]
)
def test_what_is_no_address_is_named(address: str) -> None:
    assert "no answer within" not in refused(address)


def test_what_is_no_web_server_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=greet, daemon=True).start()
        assert "no answer within" not in refused(f"http://127.0.0.1:{listener.getsockname()[1]}/api")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PREFECT_API_URL", "http://[::1", "an address: Invalid IPv6 URL"),
        ("PREFECT_API_REQUEST_TIMEOUT", "soon", "request_timeout: Input should be a valid number"),
    ],
)
def test_settings_that_prefect_cannot_read_are_one_message(
    project: Project, flow_command: list[str], name: str, value: str, told: str
) -> None:
    done = subprocess.run(flow_command, env={**os.environ, name: value}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: Prefect's settings cannot be read: ")
    assert told in done.stderr and name in done.stderr and done.stderr.count("\n") == 1


def test_another_website_is_no_prefect_server() -> None:
    with HTTPServer(("127.0.0.1", 0), Website) as website:
        threading.Thread(target=website.serve_forever, daemon=True).start()
        assert "something else" in refused(f"http://127.0.0.1:{website.server_port}")
        website.shutdown()


def test_a_scratch_that_cannot_be_used_is_named_before_a_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".scratch").touch()
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(UnusableScratch, match=r"\.scratch has to be a folder.*File exists.*dvc repro"),
        prefect_server(),
    ):
        raise AssertionError


def test_a_server_that_wants_to_know_who_asks_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Website, "do_GET", guarded)
    with HTTPServer(("127.0.0.1", 0), Website) as website:
        threading.Thread(target=website.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{website.server_port}/api"
        for password, told in (None, "is not set"), ("team:wrong", "is not what it wants"):
            settings = temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: password})
            with settings, pytest.raises(NotLetIn, match=f"PREFECT_API_AUTH_STRING {told}"), prefect_server():
                raise AssertionError
        with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: "team:right"}), prefect_server():
            pass
        website.shutdown()


def guarded(request: BaseHTTPRequestHandler) -> None:
    """As Prefect does, of which anyone may ask the health."""
    known = request.headers["Authorization"] == f"Basic {base64.b64encode(b'team:right').decode()}"
    well = known or request.path.endswith("/health")
    request.send_response(200 if well else 401)
    request.end_headers()
    request.wfile.write((b"true" if request.path.endswith("/health") else b'"3.9.1"') if well else b'"Unauthorized"')


def test_a_server_that_dies_is_noticed_at_once_with_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pseudoword import processes

    def start(_: str, *arguments: Any, **options: Any) -> subprocess.Popen[str]:
        return processes_start("print('first'); print('disk on fire'); sys.exit(1)", *arguments, **options)

    processes_start = processes.start
    monkeypatch.setattr(processes, "start", start)
    monkeypatch.chdir(tmp_path)
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(ServerNotUp, match=r"ended while it started\. It said last: disk on fire\n.*dvc repro"),
        prefect_server(),
    ):
        raise AssertionError


@pytest.mark.slow
def test_the_page_works_at_the_printed_address(project: Project, flow_command: list[str], browser: Browser) -> None:
    project.tell(first="wait")
    with subprocess.Popen(flow_command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as command:
        assert command.stdout
        printed = re.search(r"watch the flow at (\S+)", command.stdout.readline())
        assert printed
        waiting_stage(project.folder, patience=250)
        assert asked(f"{printed[1]}/ui-settings")["api_url"] == f"{printed[1]}/api"
        (run,) = asked(f"{printed[1]}/api/flow_runs/filter", {})
        browser.open(f"{printed[1]}/runs/flow-run/{run['id']}", f"document.body.innerText.includes('{run['name']}')")
        browser.until("document.body.innerText.includes('Running')")
        end = time.monotonic() + 60
        while not (shown := asked(f"{printed[1]}/api/artifacts/filter", {})):
            assert time.monotonic() < end, "no progress is shown"
            time.sleep(0.5)
        assert (shown[0]["key"], shown[0]["data"]) == ("progress-first", 75.0)
        command.terminate()
        command.communicate(timeout=60)


def asked(address: str, content: object = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
