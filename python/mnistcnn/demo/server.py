"""Web server of the demo. It stores nothing and opens no outgoing connections."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import warnings
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.packages import missing_package
from mnistcnn.data.digitize import SIDE
from mnistcnn.demo.background_log import BackgroundLog
from mnistcnn.demo.classifier import DigitClassifier
from mnistcnn.nn.class_names import class_names

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mnistcnn.nn.model import Model

PAGE = Path(__file__).parent / "page"
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_LOGGERS = ("uvicorn", "asyncio", "py.warnings")
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"background": {"()": BackgroundLog}},
    "loggers": {name: {"handlers": ["background"], "level": "WARNING", "propagate": False} for name in _LOGGERS},
}


def check_packages() -> None:
    """Raise ImportError with the missing packages. Called before any work."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise missing_package("the demo", *missing)


def make_app(model: Model, hosts: tuple[str, ...] = _LOCAL_HOSTS) -> Starlette:
    """Create the ASGI application.

    Requests must have a Host header in ``hosts``; "*" allows any. Their Origin header, if there is one, must be that of
    the page.
    """
    check_packages()
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    classifier = DigitClassifier(model)
    about = {
        "name": model.name,
        "parameters": sum(each.numel() for each in model.parameters()),
        "names": class_names(model),
        "heat": True,  # answers contain a Grad-CAM map
    }

    def page(name: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: FileResponse(PAGE / name, media_type=kind, headers=_HEADERS)

    async def classify(request: Request) -> Response:
        # Pages of other origins cannot send this content type without a CORS preflight, which is never granted.
        if request.headers.get("content-type") != "application/octet-stream":
            return _error(415, "Content-Type must be application/octet-stream")
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > SIDE * SIDE:
                    return _error(413, f"the body must have {SIDE * SIDE} bytes, got more")
        except ClientDisconnect:
            return Response(status_code=400)  # is not sent
        if len(body) != SIDE * SIDE:
            return _error(400, f"the body must have {SIDE}x{SIDE} = {SIDE * SIDE} bytes, got {len(body)}")
        digit = np.frombuffer(bytes(body), np.uint8).reshape(SIDE, SIDE)
        answer = await run_in_threadpool(classifier.classify, digit)
        return _json(asdict(answer))

    async def describe(_: Request) -> Response:
        return _json(about)

    routes = [
        Route("/", page("index.html", "text/html")),
        Route("/page.css", page("page.css", "text/css")),
        *(Route(f"/{name}.js", page(f"{name}.js", "text/javascript")) for name in ("digit", "server", "page")),
        Route("/icon.svg", page("icon.svg", "image/svg+xml")),
        Route("/model", describe),
        Route("/classify", classify, methods=["POST"]),
    ]
    checks = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_SameOrigin)]
    return Starlette(routes=routes, middleware=checks)


class _SameOrigin:
    """ASGI middleware that rejects requests of pages of other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", "").lower(), headers.get("origin")
            if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
                await _error(403, f"the Origin header must be http://{host}, got {origin}")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _json(values: object, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(values, status_code=status, headers=_HEADERS)


def _error(status: int, text: str) -> Response:
    return _json({"error": text}, status)


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
        Address to listen on. The default is reachable only from this machine; "0.0.0.0" is reachable from the network,
        with a warning.
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
    local = _is_loopback(host)
    shown = f"[{host}]" if ":" in host else host  # in a URL and in the Host header
    app = make_app(model, (*_LOCAL_HOSTS, shown) if local else ("*",))
    import uvicorn

    with contextlib.closing(_listen(host, port)) as listening:
        if not local:
            warnings.warn(
                f"host={host!r} makes the page reachable from other machines, unencrypted and without a password; "
                'without the network, use host="127.0.0.1"',
                stacklevel=2,
            )
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        on_start(address)
        if open_browser:
            webbrowser.open(address)
        server = uvicorn.Server(uvicorn.Config(app, log_config=_LOGGING, access_log=False))
        logging.captureWarnings(True)  # the warning of a request must not block the server either
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            logging.captureWarnings(False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
