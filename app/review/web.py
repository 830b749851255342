"""The review page over HTTP. Whoever can reach it may edit captions, so other web sites must not: see `Guard`."""

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BaseModel, Field

from app.review.desk import Desk, Outdated
from pseudoword.captions.texts import one_line
from pseudoword.errors import UserError
from pseudoword.pictures.prepared import used_ids
from pseudoword.results.places import PICTURES

HERE = Path(__file__).parent
PAGES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
MAX_BYTES = 2**16
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}  # fmt: skip

Next = Callable[[Request], Awaitable[Response]]


def whole(text: str) -> str:
    """Raise ValueError for half a character (a lone surrogate), which JSON can hold and UTF-8 cannot."""
    if text.encode(errors="ignore").decode() != text:
        raise ValueError("holds half a character")
    return text


Line = Annotated[str, AfterValidator(whole)]
Caption = Annotated[Line, Field(max_length=4000)]


class CheckRequest(BaseModel):
    source: Line
    caption: Caption


class Save(CheckRequest):
    approved: bool
    seen: Line


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_app(desk: Desk, host: str = "127.0.0.1") -> FastAPI:
    """The page for one desk; `host` is the address that it is served at."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, following: Next) -> Response:
        refused = _refusal(request, host)
        response = PlainTextResponse(refused[1], refused[0]) if refused else await following(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(UserError)
    @app.exception_handler(OSError)  # no room, no right to write
    async def explain(_: Request, error: Exception) -> Response:
        card = error.card._asdict() if isinstance(error, Outdated) else None
        return JSONResponse({"message": str(error), "card": card}, 409 if card else 400)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> Response:
        # FastAPI's own answer repeats what was sent, which may be half a character that no answer can hold.
        found = (f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return JSONResponse({"message": f"Nothing was saved: {one_line('; '.join(found))}."}, 422)

    @app.get("/")
    @app.get("/page.css")
    @app.get("/page.js")
    def page(request: Request) -> Response:
        name, kind = PAGES[request.url.path]
        return FileResponse(HERE / name, media_type=kind)

    @app.get("/pictures/{name}")
    def picture(name: str) -> Response:
        path = PICTURES / f"{name}.png"
        # An id of the table, never a path.
        if not re.fullmatch(r"[0-9a-z-]+", name) or name not in used_ids() or not path.is_file():
            raise HTTPException(404, "no such picture")
        return FileResponse(path, media_type="image/png")

    @app.get("/api/cards")
    def cards() -> dict[str, Any]:
        return desk.overview()

    @app.post("/api/check")
    def check(body: CheckRequest) -> dict[str, Any]:
        return desk.check(body.source, body.caption)

    @app.post("/api/save")
    def save(body: Save) -> dict[str, Any]:
        desk.save(body.source, body.caption, body.approved, body.seen)
        return desk.overview()

    return app


def _refusal(request: Request, host: str) -> tuple[int, str] | None:
    """Why a request is not answered. A name that some DNS server points here, or a form of another site, is refused."""
    if not _known_host(request.headers.get("host", ""), host):
        return 421, "This page is served under another name.\n"
    if request.method in ("GET", "HEAD"):
        return None
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers['host']}":
        return 403, "Captions are saved from the review page alone.\n"
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return 403, "Captions are saved from the review page alone.\n"
    # Forms of other sites cannot send JSON without asking first, and are not answered.
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return 415, "Send JSON.\n"
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_BYTES:
        return 413, f"Send at most {MAX_BYTES} bytes.\n"
    return None


def _known_host(header: str, host: str) -> bool:
    """Whether a Host header names this machine: an address cannot be pointed here by anybody, a name can."""
    name = re.sub(r":\d*$", "", header).lower().strip("[]").removesuffix(".")
    if is_loopback(name):
        return True
    if is_loopback(host):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in (host.lower(), socket.gethostname().lower())
    return True
