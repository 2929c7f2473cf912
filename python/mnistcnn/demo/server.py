"""The page's server: three routes, nothing stored, nothing sent anywhere else."""

from __future__ import annotations

import contextlib
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistcnn.data.digitize import SIDE
from mnistcnn.demo.reader import Reader

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from mnistcnn.nn.model import Model

PAGE = Path(__file__).parent / "page"
CANVAS = 280  # the page's drawing has CANVAS x CANVAS grey pixels, one byte each
_HOME = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def need_packages() -> None:
    """Says what to install, before any work."""
    missing = [name for name in ("PIL", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ImportError(f'the demo needs {", ".join(missing)}: pip install "mnistcnn[demo]"')


def make_app(model: Model, hosts: tuple[str, ...] = _HOME) -> Starlette:
    """The page as an ASGI application. ``hosts`` are the names it answers to; "*" is any."""
    need_packages()
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Route

    reader = Reader(model)
    about = {
        "name": model.name,
        "parameters": sum(each.numel() for each in model.parameters()),
        "canvas": CANVAS,
        "size": SIDE,
        "classes": model.num_classes,
    }

    def page(name: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: FileResponse(PAGE / name, media_type=kind, headers=_HEADERS)

    def refusal(status: int, text: str) -> Response:
        return JSONResponse({"error": text}, status_code=status, headers=_HEADERS)

    async def read(request: Request) -> Response:
        # Another site's page can't send this type without asking first, and it is never allowed to.
        if request.headers.get("content-type") != "application/octet-stream":
            return refusal(415, "send the drawing as application/octet-stream")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > CANVAS * CANVAS:
                return refusal(413, f"a drawing has {CANVAS * CANVAS} bytes, this is larger")
        if len(body) != CANVAS * CANVAS:
            return refusal(400, f"a drawing has {CANVAS}x{CANVAS} = {CANVAS * CANVAS} bytes, got {len(body)}")
        drawing = np.frombuffer(bytes(body), np.uint8).reshape(CANVAS, CANVAS)
        answer = await run_in_threadpool(reader.read, drawing)
        return JSONResponse({} if answer is None else asdict(answer), headers=_HEADERS)

    async def describe(_: Request) -> Response:
        return JSONResponse(about, headers=_HEADERS)

    routes = [
        Route("/", page("index.html", "text/html")),
        Route("/page.css", page("page.css", "text/css")),
        Route("/page.js", page("page.js", "text/javascript")),
        Route("/icon.svg", page("icon.svg", "image/svg+xml")),
        Route("/model", describe),
        Route("/read", read, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 8428,
    open_browser: bool = True,
    on_start: Callable[[str], None] = print,
) -> None:
    """Serves the page until Ctrl-C.

    Only this machine can see it, unless ``host`` says otherwise ("0.0.0.0": everybody in the network). Port 0 takes a
    free one. ``on_start`` is told the address.
    """
    app = make_app(model, _HOME if host in _HOME else ("*",))
    import uvicorn

    with contextlib.closing(_listen(host, port)) as listening:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        on_start(address)
        if open_browser:
            webbrowser.open(address)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ValueError(f"port must lie between 0 and 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise OSError(
            error.errno,
            f"can't listen on {host} port {port}: {error.strerror}; choose another port, or 0 for a free one",
        ) from None
    return listening
