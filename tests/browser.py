"""A real browser for tests of pages; they are skipped where there is none."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect


class Browser:
    """A tab of headless Chromium, by its DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.numbers = socket, itertools.count(1)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv(timeout=30))).get("id") != number:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, address: str, ready: str) -> None:
        """Return once the script `ready` is true of the page."""
        self.call("Page.enable")
        self.call("Page.navigate", url=address)
        self.until(ready)

    def evaluate(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> None:
        end = time.monotonic() + 60  # 2 on an idle machine
        while not self.evaluate(script):
            assert time.monotonic() < end, f"never true: {script}; {self.evaluate('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key: str, modifiers: int = 0) -> None:
        """`modifiers`: 1 Alt, 2 Ctrl."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers)

    def write(self, text: str) -> None:
        """Type over the caption."""
        self.evaluate("document.getElementById('caption').select()")
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running browser's DevTools."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here")
    profile = tmp_path_factory.mktemp("profile")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={profile}",
               "--remote-debugging-port=0", "--window-size=1400,900", "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        active = profile / "DevToolsActivePort"
        end = time.monotonic() + 30
        while not (active.is_file() and len(active.read_text().splitlines()) == 2):
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{active.read_text().splitlines()[0]}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """A new tab."""
    with urllib.request.urlopen(urllib.request.Request(f"{chromium}/json/new", method="PUT")) as answer:
        tab = json.load(answer)
    with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
        yield Browser(socket)
    with urllib.request.urlopen(f"{chromium}/json/close/{tab['id']}"):
        pass
