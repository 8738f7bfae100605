"""A web page with the live picture and what is seen in it: `mien run --output web`, then http://127.0.0.1:8080/.

For programs there are the picture alone (/stream.mjpg), server-sent events (/events), /healthz, and /metrics for
Prometheus. The server has a thread and an event loop of its own; `write` gives it ready-made bytes.
"""

import asyncio
import base64
import errno
import hashlib
import hmac
import ipaddress
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.config import WebConfig
from mien.emotions import EMOTIONS, UNSURE
from mien.faces import Face, FrameResult, Image
from mien.health import Health
from mien.outputs.base import Output, OutputContext
from mien.outputs.blur import blur_faces
from mien.outputs.draw import COLORS, annotate

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVENT_INTERVAL_S = 0.1
"""Between two events at least, unless a face comes, goes or changes its label."""

STATE_INTERVAL_S = 1.0
"""When there is no result for so long, an event tells the state, so that a browser knows that the device lives."""

PATIENCE_S = 10.0
"""Who takes nothing for so long is dropped."""

MAX_CLIENTS = 50
"""Of the picture, and of the events; each may hold some 300 kB."""

JPEG_QUALITY = 80
PAGE = Path(__file__).with_name("web_page.html")
THERMOMETER = Path("/sys/class/thermal/thermal_zone0/temp")


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
        self._web, self._health = context.config.web, context.health
        self._blurs_faces = context.config.blur_faces
        host, port = _split(host_port, self._web)
        self._is_local = _is_loopback(host)
        if not (self._is_local or self._web.token or self._web.no_auth):
            raise ValueError(
                f"web page on {host or 'all addresses'}: everybody in the network could look; ask for a token with "
                "MIEN_WEB_TOKEN=..., or let them with --web-no-auth (no_auth = true in [web])"
            )
        self._token_digest = _digest(self._web.token)
        self._page, self._policy = _load_page()
        self._pictures, self._events = Newest(), Newest()
        self._result: FrameResult | None = None
        self._shown: list[tuple[int, str]] = []  # ids and labels of the last event
        self._next_event_s = self._next_picture_s = 0.0
        self._is_closing = False

        listener = _listen(host, port)
        self._port = listener.getsockname()[1]
        self.url = f"http://{_reachable(host)}:{self._port}/"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web page", daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(listener), self._loop).result()
        hint = " (open it once with ?token=...)" if self._web.token else ""
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
            self._next_picture_s = max(self._next_picture_s + 1 / self._web.picture_rate, now_s)
            self._loop.call_soon_threadsafe(self._pictures.put, self._encode(image, result.faces))

    def close(self) -> None:
        """End all connections and free the port."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _encode(self, image: Image, faces: list[Face]) -> bytes:
        """Return the picture with its boxes as the next part of the stream."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, self._web.picture_side / max(height, width))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            faces = [replace(face, box=face.box.scaled(scale, scale)) for face in faces]
        picture = annotate(blur_faces(image, faces) if self._blurs_faces else image, faces)
        is_encoded, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert is_encoded
        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        # The next part's boundary goes with this part: browsers show a picture only when they have seen it.
        return head + jpeg.tobytes() + b"\r\n--frame\r\n"

    def _event(self, result: FrameResult | None = None) -> bytes:
        """Return a result with how the run is doing, or only the latter, as a server-sent event."""
        health, temperature = self._health, _temperature_c()
        data = {} if result is None else result.to_dict()
        data |= {"state": health.state, "problem": health.problem}
        data |= {"frames_per_s": round(health.frames_per_s, 1), "latency_ms": round(1000 * health.latency_s, 1)}
        data |= {} if temperature is None else {"temperature_c": temperature}
        kind = "event: state\n" if result is None else ""
        return f"{kind}data: {json.dumps(data)}\n\n".encode()

    async def _start(self, listener: socket.socket) -> "web.AppRunner":
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: "Handler") -> web.StreamResponse:
            self._check(request)
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

    def _check(self, request: "web.Request") -> None:
        """Raise the response of who may not look."""
        from aiohttp import web

        # A hostile page can let its own name point to 127.0.0.1 (DNS rebinding) and then read ours, as if they were
        # one site; but the browser tells that name in Host, and no such name is an address or local.
        if self._is_local and not _is_own_name(request.headers.get("Host", "")):
            raise web.HTTPForbidden(text="403: open this page by the device's IP address, localhost or its own name\n")
        if not self._web.token or request.path == "/healthz":
            return
        if self._is_token(request.query.get("token", "")):
            # Browsers go on without the token in the address bar; a program with no cookies gets its answer at once.
            if request.path != "/" and "text/html" not in request.headers.get("Accept", ""):
                return
            response = web.HTTPFound(f"./{request.rel_url.raw_name}")
            response.set_cookie(self._cookie_name, self._token_digest, httponly=True, samesite="Strict")
            raise response
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        cookie = request.cookies.get(self._cookie_name, "")
        if (scheme.lower() == "bearer" and self._is_token(given)) or _is_equal(cookie, self._token_digest):
            return
        headers = {"WWW-Authenticate": "Bearer"}
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # After a link from another site, browsers send no strict cookie; they do when we ask to load it again.
            headers["Refresh"] = "0"
        raise web.HTTPUnauthorized(
            text="401: open this page once with ?token=..., or send Authorization: Bearer ...\n", headers=headers
        )

    @property
    def _cookie_name(self) -> str:
        return f"mien_{self._port}"  # browsers send cookies to all ports of a host

    def _is_token(self, given: str) -> bool:
        return _is_equal(_digest(given), self._token_digest)

    async def _add_headers(self, request: "web.Request", response: "web.StreamResponse") -> None:
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"

    async def _get_page(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        return web.Response(text=self._page, content_type="text/html")

    async def _get_health(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        is_well = self._health.state in ("starting", "running")
        return web.json_response(self._health.to_dict(), status=200 if is_well else 503)

    async def _get_metrics(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        result = self._result
        faces = result.faces if result is not None and self._health.state == "running" else []
        text = metrics_text(self._health, faces, _temperature_c())
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _get_stream(self, request: "web.Request") -> "web.StreamResponse":
        content_type = "multipart/x-mixed-replace; boundary=frame"
        return await self._follow(request, self._pictures, content_type, b"--frame\r\n", lambda: b"")

    async def _get_events(self, request: "web.Request") -> "web.StreamResponse":
        first = self._event(self._result if self._health.state == "running" else None)
        return await self._follow(request, self._events, "text/event-stream", first, self._event)

    async def _follow(
        self, request: "web.Request", newest: "Newest", content_type: str, first: bytes, idle: Callable[[], bytes]
    ) -> "web.StreamResponse":
        """Send what is newest, again and again; who is slow misses what was new in the meantime, and nothing queues.

        Args:
            request: of the client.
            newest: what it wants.
            content_type: of the response.
            first: sent at once.
            idle: what to send when there was nothing new for `STATE_INTERVAL_S`; b"" for nothing.
        """
        from aiohttp import web

        if newest.clients >= MAX_CLIENTS:
            raise web.HTTPServiceUnavailable(text=f"503: {MAX_CLIENTS} clients look already\n")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        transport = request.transport
        assert transport is not None
        _limit_buffers(transport)
        newest.clients += 1
        try:
            await response.prepare(request)
            chunk, number = first, newest.number
            while not self._is_closing:
                if chunk:
                    async with asyncio.timeout(PATIENCE_S):
                        await response.write(chunk)
                try:
                    async with asyncio.timeout(STATE_INTERVAL_S):
                        number, chunk = await newest.after(number)
                except TimeoutError:
                    chunk = idle()
        except (asyncio.CancelledError, OSError) as error:  # gone, or not reading (TimeoutError), or we are closing
            transport.abort()  # without waiting for what it did not take
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            newest.clients -= 1
        return response

    async def _end_streams(self, app: "web.Application") -> None:
        self._is_closing = True
        self._pictures.put(b"")
        self._events.put(b"")


class Newest:
    """The newest of something, for any number of clients that wait for the next one; lives in the event loop.

    Attributes:
        clients: how many there are; may be read from other threads.
        number: counts what was put.
    """

    def __init__(self) -> None:
        self.clients = 0
        self.number = 0
        self._value = b""
        self._changed = asyncio.Event()

    def put(self, value: bytes) -> None:
        """Replace the value and wake who waits."""
        self._value = value
        self.number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, number: int) -> tuple[int, bytes]:
        """Return the newest value and its number as soon as that is not `number`."""
        if self.number == number:
            await self._changed.wait()
        return self.number, self._value


def metrics_text(health: Health, faces: list[Face], temperature_c: float | None) -> str:
    """Return the state of a run in Prometheus' text format, version 0.0.4."""
    labels = {f'label="{name}"': 0 for name in (*EMOTIONS, UNSURE)}
    for face in faces:
        labels[f'label="{face.label}"'] += 1
    outputs = [(f'output="{_escape(name)}"', output) for name, output in list(health.outputs.items())]
    written = {name: output.written for name, output in outputs}
    dropped = {name: output.dropped for name, output in outputs}
    failed = {name: int(bool(output.error)) for name, output in outputs}
    temperature = {} if temperature_c is None else {"": temperature_c}
    families: list[tuple[str, str, str, Mapping[str, float]]] = [
        ("frames_captured_total", "counter", "Frames that the source gave.", {"": health.captured}),
        ("frames_recognized_total", "counter", "Frames with a result.", {"": health.recognized}),
        ("frames_dropped_total", "counter", "Frames that gave way to a newer one.", {"": health.dropped}),
        ("reconnections_total", "counter", "How often the source came back.", {"": health.reconnections}),
        ("source_up", "gauge", "1 while the source gives frames.", {"": int(health.state == "running")}),
        ("frames_per_second", "gauge", "Results a second, in the last seconds.", {"": health.frames_per_s}),
        ("latency_seconds", "gauge", "Median time from frame to result, in the last seconds.", {"": health.latency_s}),
        ("faces", "gauge", "Faces in the newest frame.", {"": len(faces)}),
        ("faces_by_label", "gauge", "Faces in the newest frame with this label.", labels),
        ("output_results_total", "counter", "Results that an output wrote.", written),
        ("output_dropped_total", "counter", "Results that an output missed.", dropped),
        ("output_failed", "gauge", "1 if an output has an error.", failed),
        ("temperature_celsius", "gauge", "Temperature of the processor.", temperature),
    ]
    return "".join(_family(*family) for family in families if family[3])


def _family(name: str, kind: str, text: str, samples: Mapping[str, float]) -> str:
    lines = [f"# HELP mien_{name} {text}", f"# TYPE mien_{name} {kind}"]
    for labels, value in samples.items():
        lines.append(f"mien_{name}{{{labels}}} {value}" if labels else f"mien_{name} {value}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _check_aiohttp() -> None:
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError("--output web needs aiohttp: pip install 'mien[web]'") from error


def _split(host_port: str, web: WebConfig) -> tuple[str, int]:
    """Return host and port of "", "PORT", "HOST:PORT" or "[IPV6]:PORT"; what is not given is as configured."""
    host, colon, port = host_port.rpartition(":")
    if not host_port:
        return web.host, web.port
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535) or (host.count(":") and host[0] != "["):
        raise ValueError(f"output 'web:{host_port}': allowed are web, web:PORT, web:HOST:PORT, as web:127.0.0.1:8080")
    return host.strip("[]") if colon else web.host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own_name(host: str) -> bool:
    """Whether the text of a Host header is an IP address or a name that only this device can have."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:  # as of "["
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", socket.gethostname().lower()) or name.endswith(".local")
    return True


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


def _reachable(host: str) -> str:
    """Return a host for the URL: of "all addresses", the one that others in the network see."""
    if host in ("", "0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; the address is one for documentation (RFC 5737)
                return str(probe.getsockname()[0])
            except OSError:  # no network
                return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _limit_buffers(transport: asyncio.Transport | asyncio.BaseTransport) -> None:
    """Keep the system from queueing seconds of pictures for a slow client, and from waiting for one that vanished."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * PATIENCE_S))


def _digest(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _is_equal(given: str, wanted: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # a header may hold anything


def _load_page() -> tuple[str, str]:
    """Return the page with our emotions and colours in it, and the policy that lets only its own code run."""
    colors = {name: f"rgb({red}, {green}, {blue})" for name, (blue, green, red) in COLORS.items()}
    page = PAGE.read_text(encoding="utf-8").replace("{{colors}}", json.dumps(colors))
    policy = (
        f"default-src 'none'; script-src {_hashes(page, 'script')}; style-src {_hashes(page, 'style')}; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _hashes(page: str, tag: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _temperature_c() -> float | None:
    """Return the processor's temperature, or None where there is no thermometer."""
    try:
        return int(THERMOMETER.read_text()) / 1000
    except (OSError, ValueError):
        return None
