"""Opening the review page at a port of this machine."""

import getpass
import socket
import subprocess
import sys
import threading
import webbrowser

import uvicorn

from app.review.desk import Desk
from app.review.web import is_loopback, make_app
from pseudoword.errors import UserError


class CannotListen(UserError):
    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"The page cannot be served at {host}, port {port}: {reason}. Try --port 0 for any free one.")


def serve(desk: Desk, host: str, port: int, browser: bool) -> None:
    """Serve until Ctrl-C; port 0 takes any free one. Raises CannotListen, and what reading the project raises."""
    number = len(desk.overview()["cards"])
    with _listen(host, port) as listener:
        url = f"http://{_shown_host(host)}:{listener.getsockname()[1]}/"
        print(f"{number} pictures to review at {url}   (Ctrl-C ends it; every save is in {desk.folder}/captions.yaml)")
        if not is_loopback(host):
            print("warning: whoever reaches this machine over the network can read and change the captions", flush=True)
        sys.stdout.flush()
        if browser:
            # The listener is open already, so the browser waits for the first answer.
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
        try:
            uvicorn.Server(uvicorn.Config(make_app(desk, host), log_level="warning")).run(sockets=[listener])
        except KeyboardInterrupt:
            print()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise CannotListen(host, port, str(error)) from None


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def reviewer() -> str:
    """Who is at the desk: git's user.name, else the login name."""
    try:
        told = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False
        ).stdout.strip()
        return told or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
