"""The output and the paths that it serves.

The server has a thread and an event loop of its own; `write` gives it ready-made bytes.
"""

import asyncio
import errno
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.config import WebConfig
from mien.faces import FrameResult, Image
from mien.outputs.base import Output, OutputContext
from mien.outputs.blur import blur_faces, places_of_faces
from mien.outputs.draw import annotate
from mien.outputs.hosts import is_loopback, reachable
from mien.outputs.web.access import Access, check_exposure
from mien.outputs.web.metrics import metrics_text, temperature_c
from mien.outputs.web.page import load_page
from mien.outputs.web.streams import Newest

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVENT_INTERVAL_S = 0.1
"""Between two events at least, unless a face comes, goes or changes its label."""

JPEG_QUALITY = 80


class WebOutput(Output):
    """Serves the page from when it is made until it is closed.

    Args:
        context: whose `config.web` and `config.blur_faces` are obeyed.
        host_port: "PORT" or "HOST:PORT" instead of the configured ones; "" for these.

    Attributes:
        url: of the page, on an address that can be opened.

    Raises:
        ValueError: `host_port` is neither, or the network could look in with no token asked for.
        OSError: it cannot listen there.
        ImportError: aiohttp is missing.
    """

    def __init__(self, context: OutputContext, host_port: str = "") -> None:
        _check_aiohttp()
        self._config, self._health = context.config.web, context.health
        self._blurs_faces = context.config.blur_faces
        host, port = _split(host_port, self._config)
        check_exposure(host, self._config)
        self._page, self._headers = load_page()
        self._pictures, self._events = Newest(), Newest()
        self._result: FrameResult | None = None
        self._shown: list[tuple[int, str]] = []  # ids and labels of the last event
        self._named: set[int] = set()  # whose bars had names in the last picture
        self._next_event_s = self._next_picture_s = 0.0

        listener = _listen(host, port)
        self._port = listener.getsockname()[1]
        self._access = Access(self._config.token, self._port, is_loopback(host))
        self.url = f"http://{reachable(host)}:{self._port}/"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web page", daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(listener), self._loop).result()
        hint = " (open it once with ?token=...)" if self._config.token else ""
        print(f"web page: {self.url}{hint}", file=sys.stderr)

    def write(self, image: Image, result: FrameResult) -> None:
        """Give the browsers what is new; costs next to nothing while there are none."""
        now_s = time.monotonic()
        self._result = result
        if self._events.clients:
            shown = [(face.track_id, face.label) for face in result.faces]
            if now_s >= self._next_event_s or shown != self._shown:
                self._next_event_s, self._shown = now_s + EVENT_INTERVAL_S, shown
                self._loop.call_soon_threadsafe(self._events.put, self._event(result))
        if self._pictures.clients and now_s >= self._next_picture_s:
            # Counted from when it was due, or a camera of 30 pictures/s would give 7.5 instead of 10.
            self._next_picture_s = max(self._next_picture_s + 1 / self._config.picture_rate, now_s)
            self._loop.call_soon_threadsafe(self._pictures.put, self._encode(image, result))

    def close(self) -> None:
        """End all connections and free the port."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _encode(self, image: Image, result: FrameResult) -> bytes:
        """Return the picture with its boxes as the next part of the stream."""
        import cv2

        faces, hidden = result.faces, places_of_faces(result) if self._blurs_faces else []
        height, width = image.shape[:2]
        scale = min(1.0, self._config.picture_side / max(height, width))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            faces = [replace(face, box=face.box.scaled(scale, scale)) for face in faces]
            hidden = [box.scaled(scale, scale) for box in hidden]
        picture = annotate(blur_faces(image, hidden) if hidden else image, faces, self._named)
        is_encoded, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert is_encoded
        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        # The next part's boundary goes with this part: browsers show a picture only when they have seen it.
        return head + jpeg.tobytes() + b"\r\n--frame\r\n"

    def _event(self, result: FrameResult | None = None) -> bytes:
        """Return a result with how the run is doing, or only the latter, as a server-sent event."""
        health, temperature = self._health, temperature_c()
        data = {} if result is None else result.to_dict()
        data |= {"state": health.state, "problem": health.problem, "slowed": health.slowed}
        data |= {"frames_per_s": round(health.frames_per_s, 1), "latency_ms": round(1000 * health.latency_s, 1)}
        data |= {} if temperature is None else {"temperature_c": temperature}
        kind = "event: state\n" if result is None else ""
        return f"{kind}data: {json.dumps(data)}\n\n".encode()

    async def _start(self, listener: socket.socket) -> "web.AppRunner":
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: "Handler") -> web.StreamResponse:
            self._access.check(request)
            return await handler(request)

        app = web.Application(middlewares=[guard])
        app.router.add_get("/", self._get_page)
        app.router.add_get("/stream.mjpg", self._get_stream, allow_head=False)
        app.router.add_get("/events", self._get_events, allow_head=False)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/metrics", self._get_metrics)
        app.on_response_prepare.append(self._add_headers)
        app.on_shutdown.append(self._end_streams)
        # Handlers of clients that have gone are cancelled; those that do not end by themselves get a fifth of a second.
        runner = web.AppRunner(
            app, handle_signals=False, access_log=None, handler_cancellation=True, shutdown_timeout=0.2
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner

    async def _stop(self) -> None:
        await self._runner.cleanup()
        # It has cancelled the handlers of who does not read; let them abort their connections before the loop ends.
        if handlers := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(handlers, timeout=0.3)
        await asyncio.sleep(0)

    async def _add_headers(self, request: "web.Request", response: "web.StreamResponse") -> None:
        response.headers.update(self._headers)

    async def _end_streams(self, app: "web.Application") -> None:
        self._pictures.end()
        self._events.end()

    async def _get_page(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        return web.Response(text=self._page, content_type="text/html")

    async def _get_stream(self, request: "web.Request") -> "web.StreamResponse":
        content_type = "multipart/x-mixed-replace; boundary=frame"
        return await self._pictures.send(request, content_type, b"--frame\r\n", lambda: b"")

    async def _get_events(self, request: "web.Request") -> "web.StreamResponse":
        first = self._event(self._result if self._health.state == "running" else None)
        return await self._events.send(request, "text/event-stream", first, self._event)

    async def _get_health(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        is_well = self._health.state in ("starting", "running")
        return web.json_response(self._health.to_dict(), status=200 if is_well else 503)

    async def _get_metrics(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        result = self._result
        faces = result.faces if result is not None and self._health.state == "running" else []
        text = metrics_text(self._health, faces, temperature_c())
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _check_aiohttp() -> None:
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError("--output web needs aiohttp: pip install 'mien[web]'") from error


def _split(host_port: str, config: WebConfig) -> tuple[str, int]:
    """Return host and port of "", "PORT", "HOST:PORT" or "[IPV6]:PORT"; what is not given is as configured."""
    host, colon, port = host_port.rpartition(":")
    if not host_port:
        return config.host, config.port
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535) or (host.count(":") and host[0] != "["):
        raise ValueError(f"output 'web:{host_port}': allowed are web, web:PORT, web:HOST:PORT, as web:127.0.0.1:8080")
    return host.strip("[]") if colon else config.host, int(port)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise OSError(
            f"web page: cannot listen on port {port} of {host or 'all addresses'}: {reason}; "
            "give another with --web-port (0 takes a free one) or --output web:HOST:PORT"
        ) from error
