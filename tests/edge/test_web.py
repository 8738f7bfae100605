"""The web page shows what mien sees, in a real browser, and holds against slow, vanished and uninvited visitors."""

import http.client
import http.server
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import Box, EmotionRecognizer, Face, FrameResult
from mien.config import Config, WebConfig
from mien.emotions import EMOTIONS, UNSURE
from mien.faces import Image
from mien.health import OutputHealth
from mien.outputs import draw
from mien.outputs.base import OutputContext
from mien.outputs.draw import COLORS
from mien.outputs.web import WebOutput, metrics, streams
from mien.outputs.web import output as web_output
from mien.sources import DEMO_CLIP
from tests.conftest import require_program, skip

Clip = list[tuple[Image, list[Face]]]

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BOX = Box(208, 32, 116, 116)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Return every fifth frame of the demo clip with its faces: it has a face, none, and one again."""
    capture, recognizer = cv2.VideoCapture(str(DEMO_CLIP)), EmotionRecognizer()
    images = [image for is_read, image in (capture.read() for _ in range(250)) if is_read][::5]
    return [(image, recognizer.recognize(image, index / 5)) for index, image in enumerate(images)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the system's Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        skip("playwright is missing: pip install 'mien[dev]'")
    program = require_program("chromium", "chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def opened(host_port: str = "", blur_faces: bool = False, **settings: Any) -> Iterator[WebOutput]:
    """Open the output on a free port; settings are those of [web]."""
    context = OutputContext(Config(web=WebConfig(**{"port": 0} | settings), blur_faces=blur_faces))
    context.health.set_source("running")
    with WebOutput(context, host_port) as output:
        yield output


class Feed:
    """Writes a clip again and again from a thread of its own, as a run does; `pictures` may be replaced meanwhile."""

    def __init__(self, output: WebOutput, pictures: Clip, rate: float = 25) -> None:
        self.output, self.pictures, self._rate = output, pictures, rate
        self.is_paused = self._is_ended = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ended = True
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._is_ended:
            if not self.is_paused:
                image, faces = self.pictures[number % len(self.pictures)]
                self.output._health.add_result(0.031)
                self.output.write(image, FrameResult(number / self._rate, number, faces))
                number += 1
            time.sleep(1 / self._rate)


def wait_for(condition: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Return the condition's result as soon as it is true."""
    end_s = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < end_s, f"not within {within_s} s"
        time.sleep(0.02)
    return result


def get(output: WebOutput, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    """Return status, headers and text of a GET; redirects are not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", output._port, timeout=5)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


@contextmanager
def following(output: WebOutput, path: str, buffer: int | None = None) -> Iterator[http.client.HTTPResponse]:
    """Give the response of a GET that does not end; `buffer` is what the system takes before it is read, in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", output._port, timeout=5)
    if buffer is not None:
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.sock.connect(("127.0.0.1", output._port))
    connection.request("GET", path)
    response = connection.getresponse()
    try:
        yield response
    finally:
        response.close()
        connection.close()


def read_picture(stream: http.client.HTTPResponse) -> Image:
    """Return the next picture of /stream.mjpg."""
    while not (line := stream.readline()).startswith(b"Content-Length:"):
        assert line, "the stream has ended"
    assert stream.readline() == b"\r\n"
    image = cv2.imdecode(np.frombuffer(stream.read(int(line.split()[1])), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def read_event(events: http.client.HTTPResponse) -> tuple[str, dict[str, Any]]:
    """Return the kind and the data of the next server-sent event."""
    kind = "message"
    while not (line := events.readline().decode()).startswith("data: "):
        assert line, "the events have ended"
        kind = line.removeprefix("event: ").strip() or kind
    return kind, json.loads(line.removeprefix("data: "))


def make_face(emotion: str = "happy", track_id: int = 1) -> Face:
    probabilities = np.full(7, 0.05, np.float32)
    probabilities[EMOTIONS.index(emotion)] = 0.7
    return Face(BOX, probabilities, track_id)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the times at which a picture was drawn."""
    times: list[float] = []

    def annotate(*arguments: Any) -> Image:
        times.append(time.monotonic())
        return real(*arguments)

    real = draw.annotate
    monkeypatch.setattr(web_output, "annotate", annotate)
    return times


# In a browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 800)])
def test_the_page_shows_picture_faces_and_timeline(
    browser: Any, clip: Clip, size: tuple[int, int], scheme: str
) -> None:
    with opened() as output, Feed(output, clip), page_of(browser, output, size, scheme) as page:
        wait_until(page, "document.getElementById('picture').naturalWidth === 480")
        wait_until(page, "document.querySelectorAll('.card').length === 1")
        assert page.inner_text("#state") == "running"
        pictures = {page.evaluate(PIXELS_OF_PICTURE) for _ in wait_between(page, 4)}
        assert len(pictures) > 1, "the picture stands still"
        bars = {page.evaluate(WIDTHS_OF_BARS) for _ in wait_between(page, 4)}
        assert len(bars) > 1, "the bars stand still"
        red, green, blue = COLORS["happy"][::-1]
        wait_until(page, f"({PIXELS_OF_PLOT})({red}, {green}, {blue}) > 50")
        assert re.fullmatch(r"\d+\.\d /s", page.inner_text("#rate"))
        assert page.inner_text("#latency") == "31 ms"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", ground)[0]) > 127) == (scheme == "light")


def test_nothing_moves_when_faces_come_and_go(browser: Any, portrait: Image) -> None:
    crowds = [[make_face(track_id=number) for number in range(first, first + count)] for first, count in CROWDS]
    for size in [(360, 740), (1280, 800)]:
        with opened() as output, Feed(output, [(portrait, [])]) as feed, page_of(browser, output, size) as page:
            wait_until(page, "document.getElementById('picture').naturalWidth > 0")
            places = set()
            for crowd in crowds:
                feed.pictures = [(portrait, crowd)]
                wait_until(page, f"document.querySelectorAll('.card').length === {len(crowd)}")
                places.add(page.evaluate(PLACES_OF_PARTS))
                assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
            assert len(places) == 1, places


def test_the_page_tells_why_the_camera_is_lost_and_that_it_is_back(browser: Any, clip: Clip) -> None:
    with opened() as output, Feed(output, clip) as feed, page_of(browser, output) as page:
        wait_until(page, "document.querySelectorAll('.card').length === 1")
        feed.is_paused = True
        problem = "/dev/video0 <img src=x onerror=alert(1)> is gone"  # whoever names devices must not script the page
        output._health.set_source("waiting", problem)
        wait_until(page, "document.getElementById('state').className === 'waiting'")
        assert page.inner_text("#state") == f"camera lost: {problem}"
        assert page.inner_text("#cover") == f"camera lost: {problem}"
        wait_until(page, "document.querySelectorAll('.card').length === 0")
        assert page.inner_text("#values li >> nth=3") == "–"
        output._health.set_source("running")
        feed.is_paused = False
        wait_until(page, "document.getElementById('cover').hidden && document.querySelector('.card')")
        assert page.inner_text("#state") == "running"


def test_the_page_tells_why_the_stream_is_slowed_while_it_is(browser: Any, clip: Clip) -> None:
    with opened() as output, Feed(output, clip), page_of(browser, output) as page:
        for reason, name, text in (("81 °C", "running slowed", "running slower: 81 °C"), ("", "running", "running")):
            output._health.set_slowed(len(reason), reason)
            wait_until(page, f"document.getElementById('state').className === '{name}'")
            assert page.inner_text("#state") == text
            wait_until(page, "document.getElementById('cover').hidden")


def test_the_page_finds_a_device_that_was_restarted(browser: Any, clip: Clip) -> None:
    with ExitStack() as life, ExitStack() as next_life:
        first = life.enter_context(opened())
        life.enter_context(Feed(first, clip))
        with page_of(browser, first, may_complain=True) as page:
            wait_until(page, "document.getElementById('picture').naturalWidth > 0")
            life.close()
            wait_until(page, "document.getElementById('state').textContent === 'connection lost, trying again'")
            assert page.is_visible("#cover")
            assert page.inner_text("#rate") == "–"
            second = next_life.enter_context(opened(port=first._port))
            next_life.enter_context(Feed(second, clip))
            wait_until(page, "document.getElementById('state').textContent === 'running'")
            wait_until(page, "document.getElementById('cover').hidden && document.querySelector('.card')")
            assert len({page.evaluate(PIXELS_OF_PICTURE) for _ in wait_between(page, 4)}) > 1


def test_a_hidden_page_costs_no_pictures(browser: Any, clip: Clip, drawn: list[float]) -> None:
    with opened() as output, Feed(output, clip), page_of(browser, output) as page:
        wait_until(page, "document.getElementById('picture').naturalWidth > 0")
        page.evaluate(SET_HIDDEN, True)
        wait_for(lambda: time.monotonic() - drawn[-1] > 1)
        page.evaluate(SET_HIDDEN, False)
        wait_for(lambda: time.monotonic() - drawn[-1] < 0.2)


def test_a_link_with_the_token_opens_the_page_from_another_site_too(browser: Any, clip: Clip) -> None:
    with opened(token="right & proper") as output, Feed(output, clip), page_of(browser, output, start="") as page:
        with linking_site(f"{output.url}?token=right%20%26%20proper") as site:
            page.goto(site)
            page.click("a")
            page.wait_for_url(output.url)
            page.wait_for_selector("#picture")
            wait_until(page, "document.getElementById('picture')?.naturalWidth > 0")
        assert page.url == output.url
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""


# For programs


def test_the_stream_is_scaled_and_never_faster_than_asked_for(portrait: Image, drawn: list[float]) -> None:
    with (
        opened(picture_side=240, picture_rate=10) as output,
        Feed(output, [(portrait, [make_face()])], rate=60),
        following(output, "/stream.mjpg") as stream,
    ):
        assert stream.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        pictures = [read_picture(stream) for _ in range(15)]
    assert {picture.shape for picture in pictures} == {(180, 240, 3)}
    blue, _, red = pictures[-1][30:60, 103:106].mean(axis=(0, 1))  # the box's left edge, at half its place
    assert red - blue > 60
    # 15 pictures span 14 intervals; one of them may be made up for.
    assert drawn[14] - drawn[0] >= 13 / 10


def test_pictures_are_drawn_once_for_all_and_only_while_somebody_looks(clip: Clip, drawn: list[float]) -> None:
    with opened(picture_rate=20) as output, Feed(output, clip):
        time.sleep(0.3)
        assert drawn == []
        with ExitStack() as visitors:
            streams = [visitors.enter_context(following(output, "/stream.mjpg")) for _ in range(20)]
            for stream in streams:
                for _ in range(5):
                    read_picture(stream)
            during = len(drawn)
        assert during < 60  # 100 pictures arrived
        wait_for(lambda: time.monotonic() - drawn[-1] > 0.5)


def test_writing_costs_next_to_nothing_while_nobody_looks(clip: Clip) -> None:
    with opened() as output:
        times_s = []
        for number in range(200):
            image, faces = clip[number % len(clip)]
            start_s = time.perf_counter()
            output.write(image, FrameResult(number / 25, number, faces))
            times_s.append(time.perf_counter() - start_s)
    assert sorted(times_s)[len(times_s) // 2] < 0.0005


def test_faces_are_blurred_in_the_stream_when_asked_for(portrait: Image) -> None:
    face = make_face()
    x, y, width, height = BOX
    middle = np.s_[y + 20 : y + height - 20, x + 20 : x + width - 20]
    details = {}
    for is_blurred in (False, True):
        with (
            opened(blur_faces=is_blurred) as output,
            Feed(output, [(portrait, [face])]),
            following(output, "/stream.mjpg") as stream,
        ):
            gray = cv2.cvtColor(read_picture(stream)[middle], cv2.COLOR_BGR2GRAY)
        details[is_blurred] = np.median(np.abs(cv2.Laplacian(gray, cv2.CV_64F)))
    assert details[True] < 0.2 * details[False]  # within blocks there is nothing but traces of the compression


def test_events_tell_results_and_how_the_run_is_doing(portrait: Image) -> None:
    with opened() as output, following(output, "/events") as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        assert read_event(events) == (
            "state",
            {"state": "running", "problem": "", "slowed": "", "frames_per_s": 0.0, "latency_ms": 0.0} | TEMPERATURE,
        )
        output._health.add_result(0.02)
        output.write(portrait, FrameResult(1.5, 7, [make_face()]))
        kind, data = read_event(events)
        assert kind == "message"
        assert data["frames_per_s"] > 0
        assert {name: data[name] for name in ("time", "frame", "faces", "latency_ms", "state")} == {
            "time": 1.5,
            "frame": 7,
            "faces": [make_face().to_dict()],
            "latency_ms": 20.0,
            "state": "running",
        }


def test_changes_are_told_at_once_and_the_rest_ten_times_a_second(portrait: Image) -> None:
    with opened() as output, following(output, "/events") as events:
        read_event(events)
        start_s = time.monotonic()
        for number in range(100):
            output.write(portrait, FrameResult(number / 100, number, [make_face()]))
            time.sleep(0.01)
        most = (time.monotonic() - start_s) / 0.1 + 1
        output.write(portrait, FrameResult(1.00, 100, [make_face()]))
        output.write(portrait, FrameResult(1.01, 101, [make_face("sad")]))  # at the same moment
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["frame"] != 101:
            seen.append(read_event(events)[1])
        assert 5 <= len(seen) <= most + 1


def test_a_silent_source_is_told_every_second(portrait: Image) -> None:
    with opened() as output, following(output, "/events") as events:
        read_event(events)
        output._health.set_source("waiting", "no frames")
        kind, data = read_event(events)
        assert (kind, data["state"], data["problem"]) == ("state", "waiting", "no frames")


@pytest.mark.parametrize(("state", "status"), [("starting", 200), ("running", 200), ("waiting", 503), ("stopped", 503)])
def test_health_says_whether_it_works(state: str, status: int) -> None:
    with opened(token="secret") as output:  # who looks after the device needs no token for this
        output._health.set_source(state, "no frames")
        answer, headers, text = get(output, "/healthz")
    assert (answer, headers.get_content_type()) == (status, "application/json")
    assert (json.loads(text)["state"], json.loads(text)["problem"]) == (state, "no frames")


def test_metrics_are_prometheus_text(portrait: Image) -> None:
    with opened() as output:
        health = output._health
        health.captured, health.dropped, health.reconnections = 12, 3, 1
        health.skipped, health.slowed_level = 4, 2
        health.outputs['C:\\a "b"\n.csv'] = OutputHealth(written=5, dropped=2, error="disk full")
        health.outputs["web"] = OutputHealth(written=9)
        for _ in range(4):
            health.add_result(0.25)
        faces = [make_face(), make_face(track_id=2), replace(make_face(track_id=3), is_sure=False)]
        output.write(portrait, FrameResult(0.0, 0, faces))
        _, headers, text = get(output, "/metrics")
        health.set_source("waiting")
        _, _, lost = get(output, "/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parse_metrics(text)
    assert samples["mien_frames_captured_total", ""] == 12
    assert samples["mien_frames_recognized_total", ""] == 4
    assert samples["mien_frames_dropped_total", ""] == 3
    assert samples["mien_reconnections_total", ""] == 1
    assert samples["mien_source_up", ""] == 1
    assert samples["mien_frames_per_second", ""] > 0
    assert samples["mien_latency_seconds", ""] == 0.25
    assert samples["mien_faces", ""] == 3
    labels = {name: samples["mien_faces_by_label", name] for name in (*EMOTIONS, UNSURE)}
    assert labels == dict.fromkeys((*EMOTIONS, UNSURE), 0) | {"happy": 2, "unsure": 1}
    assert samples["mien_output_results_total", 'C:\\a "b"\n.csv'] == 5
    assert samples["mien_output_dropped_total", 'C:\\a "b"\n.csv'] == 2
    assert samples["mien_output_failed", 'C:\\a "b"\n.csv'] == 1
    assert samples["mien_output_failed", "web"] == 0
    assert (samples["mien_frames_skipped_total", ""], samples["mien_slowed_level", ""]) == (4, 2)
    assert parse_metrics(lost)["mien_faces", ""] == 0  # nobody knows
    assert parse_metrics(lost)["mien_source_up", ""] == 0


def test_the_temperature_is_told_where_there_is_a_thermometer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thermometer = tmp_path / "temp"
    monkeypatch.setattr(metrics, "THERMOMETER", thermometer)
    with opened() as output:
        assert ("mien_temperature_celsius", "") not in parse_metrics(get(output, "/metrics")[2])
        thermometer.write_text("51234\n")
        assert parse_metrics(get(output, "/metrics")[2])["mien_temperature_celsius", ""] == 51.234
        with following(output, "/events") as events:
            assert read_event(events)[1]["temperature_c"] == 51.234


def test_an_unknown_path_is_plainly_not_there() -> None:
    with opened() as output:
        status, headers, text = get(output, "/<b>nowhere</b>")
    assert (status, headers.get_content_type()) == (404, "text/plain")
    assert "404" in text
    assert "<b>" not in text


def test_every_answer_forbids_what_it_does_not_need() -> None:
    with opened() as output:
        for path in ("/", "/healthz", "/metrics", "/nowhere"):
            _, headers, _ = get(output, path)
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["X-Content-Type-Options"] == "nosniff"


# Visitors who are slow, vanish or are not invited


def test_who_never_reads_delays_nobody_and_is_dropped(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE_S", 1.0)
    with (
        opened(picture_rate=60) as output,
        Feed(output, clip, rate=60),
        socket.create_connection(("127.0.0.1", output._port)) as idler,
    ):
        idler.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: output._pictures.clients == 1)
        with following(output, "/stream.mjpg") as stream:
            start_s = time.monotonic()
            while output._pictures.clients == 2:
                before_s = time.monotonic()
                read_picture(stream)
                assert time.monotonic() - before_s < 0.5
                assert time.monotonic() - start_s < 15, "is still there"
            assert time.monotonic() - start_s > 1, "had no second to read"
            read_picture(stream)


def test_a_slow_visitor_sees_what_is_new(portrait: Image) -> None:
    noise = np.random.default_rng(0).integers(0, 40, portrait.shape).astype(np.uint8)
    old, new = np.full_like(portrait, 20) + noise, np.full_like(portrait, 200) + noise
    size = len(cv2.imencode(".jpg", old, [cv2.IMWRITE_JPEG_QUALITY, web_output.JPEG_QUALITY])[1])
    with (
        opened(picture_rate=60) as output,
        Feed(output, [(old, [])], rate=60) as feed,
        following(output, "/stream.mjpg", buffer=64 * 1024) as stream,
    ):
        read_picture(stream)
        time.sleep(1.5)
        missed = output._pictures.number
        feed.pictures = [(new, [])]
        late = 0
        while read_picture(stream).mean() < 128:
            late += 1
    # Each end's system holds 128 kB (it doubles what is asked for), the server 64 kB and a picture.
    assert late <= 320 * 1024 / size + 4 < missed / 2


def test_a_visitor_who_vanishes_is_forgotten(clip: Clip) -> None:
    with opened() as output:  # also when nothing is sent that could fail
        with following(output, "/stream.mjpg"), following(output, "/events"):
            wait_for(lambda: (output._pictures.clients, output._events.clients) == (1, 1))
        wait_for(lambda: (output._pictures.clients, output._events.clients) == (0, 0), within_s=2)
        with Feed(output, clip), following(output, "/stream.mjpg") as stream:
            read_picture(stream)


def test_too_many_visitors_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_CLIENTS", 2)
    with opened() as output, following(output, "/events"), following(output, "/events"):
        status, _, text = get(output, "/events")
        assert (status, text) == (503, "503: 2 clients look already\n")
        assert get(output, "/healthz")[0] == 200


def test_closing_ends_all_connections_within_a_second(clip: Clip) -> None:
    with ExitStack() as visitors:
        with opened(picture_rate=60) as output:
            with Feed(output, clip, rate=60):
                connections = [
                    visitors.enter_context(socket.create_connection(("127.0.0.1", output._port))) for _ in range(6)
                ]
                for connection, path in zip(connections, ["/stream.mjpg"] * 4 + ["/events"] * 2, strict=True):
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                time.sleep(1.5)  # those who look at the pictures, and read none of them, have full buffers by now
            start_s = time.monotonic()
            output.close()
            assert time.monotonic() - start_s < 1
        assert not output._thread.is_alive()
        for connection in connections:
            connection.settimeout(2)
            with suppress(ConnectionError):
                while connection.recv(1 << 20):
                    pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", output._port))


PATHS = ("/", "/stream.mjpg", "/events", "/metrics", "/nowhere")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer ", "Basic secret", "Bearer s\xe9cret"])
def test_nothing_is_told_without_the_token(path: str, authorization: str | None) -> None:
    with opened(token="sécret") as output:
        headers = {} if authorization is None else {"Authorization": authorization}
        status, received, text = get(output, path, **headers)
        assert (status, received["WWW-Authenticate"]) == (401, "Bearer")
        assert text == "401: open this page once with ?token=..., or send Authorization: Bearer ...\n"
        assert get(output, f"{path}?token=wrong")[0] == 401
        assert get(output, path, Cookie=f"{output._access.cookie_name}=wrong")[0] == 401


def test_the_token_opens_once_and_leaves_the_address_bar() -> None:
    with opened(token="sécret") as output:
        status, headers, _ = get(output, "/?token=s%C3%A9cret")
        assert (status, headers["Location"]) == (302, "./")
        cookie, *attributes = headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert "cret" not in cookie
        assert get(output, "/", Cookie=cookie)[0] == 200
        assert get(output, "/metrics", Cookie=cookie)[0] == 200
        assert get(output, "/metrics", Authorization="Bearer s\xc3\xa9cret")[0] == 200
        status, headers, _ = get(output, "/metrics?token=s%C3%A9cret", Accept="text/html,*/*")
        assert (status, headers["Location"]) == (302, "./metrics")
        assert get(output, "/metrics?token=s%C3%A9cret")[0] == 200  # a program that keeps no cookies


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:8080", "[::1]:80", "pi.LOCAL", socket.gethostname()])
def test_own_names_are_answered(host: str) -> None:
    with opened() as output:
        assert get(output, "/", Host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.x", "["])
def test_a_name_that_only_points_here_is_refused(host: str) -> None:
    with opened() as output:
        for path in PATHS:
            assert get(output, path, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "raspberrypi.local"])
def test_the_network_needs_a_token_or_a_word_that_it_does_not(host: str) -> None:
    with pytest.raises(ValueError, match=r"MIEN_WEB_TOKEN=\.\.\., or let them with --web-no-auth \(no_auth = true in"):
        WebOutput(OutputContext(Config(web=WebConfig(host=host, port=0))))


@pytest.mark.parametrize("setting", [{"token": "secret"}, {"no_auth": True}])
def test_the_network_may_look_when_it_is_said_how(setting: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with opened("0.0.0.0:0", **setting) as output:
        status = get(output, "/", Authorization="Bearer secret", Host="some.name")[0]
        assert status == 200
        assert "0.0.0.0" not in output.url
        assert capsys.readouterr().err.startswith(f"web page: {output.url}")
        assert "secret" not in capsys.readouterr().err


def test_the_address_is_told_and_given_by_configuration_or_output(capsys: pytest.CaptureFixture[str]) -> None:
    with opened() as output:
        assert output.url == f"http://127.0.0.1:{output._port}/"
        assert capsys.readouterr().err == f"web page: {output.url}\n"
        free = output._port
    with opened(str(free), host="127.0.0.1") as output:
        assert output.url == f"http://127.0.0.1:{free}/"
    with opened(f"localhost:{free}", port=1, host="0.0.0.0") as output:
        assert output.url == f"http://localhost:{free}/"
        assert get(output, "/")[0] == 200


@pytest.mark.parametrize("text", ["x", "65536", "127.0.0.1:", "127.0.0.1:-1", "::1:80", "127.0.0.1:80:1", "127.0.0.1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"output 'web:{text}': allowed are web, web:PORT, web:HOST:PORT")):
        WebOutput(OutputContext(), text)


def test_a_port_in_use_is_named() -> None:
    with opened() as output, pytest.raises(OSError, match=f"port {output._port} of 127.0.0.1: it is in use; .*--web-p"):
        WebOutput(OutputContext(), str(output._port))


def test_an_address_of_another_device_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on port 80 of 192\.0\.2\.1: .*assign.*; give another"):
        WebOutput(OutputContext(Config(web=WebConfig(no_auth=True))), "192.0.2.1:80")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ImportError, match=r"pip install 'mien\[web\]'"):
        WebOutput(OutputContext())


# Helpers

TEMPERATURE = {} if (degrees := metrics.temperature_c()) is None else {"temperature_c": degrees}
CROWDS = [(1, 1), (1, 0), (2, 8), (20, 3), (1, 0)]  # first id and count of the faces
PIXELS_OF_PICTURE = """() => {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    context.drawImage(document.getElementById("picture"), 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height).data.join();
}"""
PIXELS_OF_PLOT = """(red, green, blue) => {
    const plot = document.getElementById("plot");
    const data = plot.getContext("2d").getImageData(0, 0, plot.width, plot.height).data;
    let count = 0;
    for (let at = 0; at < data.length; at += 4)
        count += data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255;
    return count;
}"""
WIDTHS_OF_BARS = "[...document.querySelectorAll('.bar b')].map(bar => bar.style.width).join()"
PLACES_OF_PARTS = """JSON.stringify([...document.querySelectorAll("header, section, #state, #plot, #rate")]
    .filter(part => !part.closest(".card")).map(part => part.getBoundingClientRect()))"""
SET_HIDDEN = """isHidden => {
    Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@contextmanager
def page_of(
    browser: Any,
    output: WebOutput,
    size: tuple[int, int] = (1280, 800),
    scheme: str = "light",
    start: str | None = None,
    may_complain: bool = False,
) -> Iterator[Any]:
    """Open the page; in the end its console must be clean, and nothing asked of another host."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    try:
        if start is None:
            page.goto(output.url)
        yield page
    finally:
        context.close()
    if start is None:
        assert [url for url in requests if not url.startswith((output.url, "data:"))] == []
        assert may_complain or complaints == []


def wait_until(page: Any, expression: str) -> None:
    """Wait until JavaScript is true; the page's policy forbids the `eval` that Playwright would do this with."""
    end_s = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < end_s, f"not within 15 s: {expression}"
        page.wait_for_timeout(50)


def wait_between(page: Any, times: int) -> Iterator[int]:
    """Count, with a wait in which the page goes on."""
    for number in range(times):
        page.wait_for_timeout(400)
        yield number


@contextmanager
def linking_site(url: str) -> Iterator[str]:
    """Serve a page of another site with a link."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<a href='{url}'>look</a>".encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"  # not the same site as 127.0.0.1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def parse_metrics(text: str) -> dict[tuple[str, str], float]:
    """Read Prometheus' text format strictly; return (name, value of its one label or "") -> value."""
    samples: dict[tuple[str, str], float] = {}
    families: dict[str, str] = {}
    assert text.endswith("\n")
    lines = iter(text.splitlines())
    name = ""
    for line in lines:
        if line.startswith("#"):
            help_line = re.fullmatch(r"# HELP (mien_[a-z_]+) ([^\\]+)", line)
            assert help_line, line
            name = help_line[1]
            assert name not in families, f"{name} comes twice"
            type_line = re.fullmatch(rf"# TYPE {name} (counter|gauge)", next(lines))
            assert type_line, name
            families[name] = type_line[1]
            assert name.endswith("_total") == (families[name] == "counter"), name
            continue
        match = re.fullmatch(rf'{name}(?:\{{[a-z_]+="((?:[^"\\\n]|\\["\\n])*)"\}})? ([0-9.e+-]+)', line)
        assert match, line
        label = re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), match[1] or "")
        assert (name, label) not in samples, line
        samples[name, label] = float(match[2])
    assert set(families) == {name for name, _ in samples}
    return samples
