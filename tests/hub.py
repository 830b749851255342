"""A stand-in of the Hugging Face hub on this machine: what the hub client asks of it, and the ways it fails.

    with serving() as hub:
        commit = hub.push("someone/model", folder)             # to the branch main
        hub.push("someone/model", folder, "trial")             # to another branch
        hub.push("someone/model", {"a.json": b"{}"}, "v1")     # files by name

`environment` lets a process that is started use it; `hub_client` does so for the libraries in this one.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_the-right-one"
Files = Mapping[str, bytes]


@dataclass
class Hub:
    address: str = ""
    refs: dict[tuple[str, str], str] = field(default_factory=dict)  # (repo, branch or tag): commit
    commits: dict[tuple[str, str], Files] = field(default_factory=dict)  # (repo, commit): content by name
    gated: set[str] = field(default_factory=set)  # repos that want TOKEN
    cut_off: set[str] = field(default_factory=set)  # files that break off half way
    asked: list[str] = field(default_factory=list)  # "METHOD path", in order

    def push(self, repo: str, content: Path | Files, ref: str = "main") -> str:
        """Make a commit of all files of a folder, point `ref` at it, and return its name."""
        if isinstance(content, Path):
            files = [path for path in content.rglob("*") if path.is_file()]
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in sorted(files)}
        told = "".join(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in content.items())
        commit = hashlib.sha1(f"{repo} {told}".encode()).hexdigest()
        self.commits[repo, commit] = content
        self.refs[repo, ref] = commit
        return commit


@contextmanager
def serving(hub: Hub | None = None) -> Iterator[Hub]:
    """Serve on a free port until the block ends; a hub that was served before comes back with what it holds."""
    hub = hub or Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(address: str, home: Path) -> dict[str, str]:
    """Of a process that knows no other hub, and whose cache lies in `home`."""
    others = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    return others | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def hub_client(address: str, home: Path, offline: bool = False, token: str | None = None) -> Iterator[None]:
    """The libraries of this process on that hub: they read its address when they are imported, so it is put in."""
    from huggingface_hub import constants, hf_api

    from pseudoword.base import location

    values = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_XET": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(constants, name, value)
        patch.setattr(hf_api.api, "endpoint", address)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.delenv("HF_TOKEN", raising=False)
        if token:
            patch.setenv("HF_TOKEN", token)
        _forget(location)
        yield
        _forget(location)


def _forget(module: object) -> None:
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        asks_api = parts[:2] == ["api", "models"]
        repo, rest = ("/".join(parts[2:4]), parts[4:]) if asks_api else ("/".join(parts[:2]), parts[2:])
        what, ref, *name = [*rest, "revision", "main"] if len(rest) < 2 else rest
        if not any(known == repo for known, _ in self.served.commits):
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        if repo in self.served.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo", f"Access to model {repo} is restricted. You must be authenticated.")
        commit = ref if (repo, ref) in self.served.commits else self.served.refs.get((repo, ref))
        if commit is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {ref}")
        files = self.served.commits[repo, commit]
        if what == "resolve":
            return self._send_file(files, "/".join(name), commit)
        if what == "tree":
            listing = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return self._send_json(listing)
        siblings = [{"rfilename": name} for name in files]
        self._send_json({"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": [], "gated": False})

    def _send_file(self, files: Files, name: str, commit: str) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        data = files[name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if start else 200, data[start:], headers, cut=name in self.served.cut_off)

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut
