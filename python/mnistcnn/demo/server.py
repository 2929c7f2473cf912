"""Web server of the demo. It stores nothing and opens no outgoing connections."""

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
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def check_packages() -> None:
    """Raise ImportError with the missing packages. Called before any work."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ImportError(f'the demo requires {", ".join(missing)}; to install: pip install "mnistcnn[demo]"')


def make_app(model: Model, hosts: tuple[str, ...] = _LOCAL_HOSTS) -> Starlette:
    """Create the ASGI application. Requests must have a Host header in ``hosts``; "*" allows any."""
    check_packages()
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
        "classes": model.num_classes,
        "heat": True,  # answers contain a Grad-CAM map
    }

    def page(name: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: FileResponse(PAGE / name, media_type=kind, headers=_HEADERS)

    def error_response(status: int, text: str) -> Response:
        return JSONResponse({"error": text}, status_code=status, headers=_HEADERS)

    async def read(request: Request) -> Response:
        # Pages of other origins cannot send this content type without a CORS preflight, which is never granted.
        if request.headers.get("content-type") != "application/octet-stream":
            return error_response(415, "Content-Type must be application/octet-stream")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > SIDE * SIDE:
                return error_response(413, f"the body must have {SIDE * SIDE} bytes, got more")
        if len(body) != SIDE * SIDE:
            return error_response(400, f"the body must have {SIDE}x{SIDE} = {SIDE * SIDE} bytes, got {len(body)}")
        digit = np.frombuffer(bytes(body), np.uint8).reshape(SIDE, SIDE)
        answer = await run_in_threadpool(reader.read, digit)
        return JSONResponse(asdict(answer), headers=_HEADERS)

    async def describe(_: Request) -> Response:
        return JSONResponse(about, headers=_HEADERS)

    routes = [
        Route("/", page("index.html", "text/html")),
        Route("/page.css", page("page.css", "text/css")),
        *(Route(f"/{name}.js", page(f"{name}.js", "text/javascript")) for name in ("digit", "server", "page")),
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
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    model
        Model with input shape [1, 28, 28].
    host
        Address to listen on. The default is reachable only from this machine; "0.0.0.0" is reachable from the network.
    port
        Port to listen on; 0 selects a free port.
    open_browser
        Whether to open the page in a browser.
    on_start
        Called with the URL of the page when the server starts.

    Raises
    ------
    OSError
        If the server cannot listen on the port.
    """
    app = make_app(model, _LOCAL_HOSTS if host in _LOCAL_HOSTS else ("*",))
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
        raise ValueError(f"port must be between 0 and 65535, got {port}")
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
            f"cannot listen on {host} port {port}: {error.strerror}; choose another port, or 0 for a free port",
        ) from None
    return listening
