"""Network cameras and videos on web servers, from real servers on this machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.config import Config
from mien.health import Health
from mien.sources import DEMO_CLIP, network, open_source
from mien.sources.network import hide_secrets
from tests.conftest import skip
from tests.edge.test_sources import write_clip

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).parent / "rtsp_server.py"
GSTREAMER = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,ugly}"
SECRET = "gehe1m"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """A real RTSP server in a process of its own, which can be killed and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def rtsp_server() -> Iterator[RtspServer]:
    """Return a running server, or skip."""
    check = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'x264enc', 'rtph264pay')))"
    )
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True).returncode:
        skip(f"GStreamer's RTSP server is missing: sudo apt install {GSTREAMER}")
    server = RtspServer()
    server.start()
    yield server
    server.kill()


def test_an_rtsp_camera_gives_its_newest_frames(rtsp_server: RtspServer) -> None:
    started_s = time.time()
    with open_source(rtsp_server.url, Config(rotate=90)) as source:
        assert source.is_live
        frames = []
        for frame in source:
            frames.append(frame)
            if frame.index == 40:
                break
    assert source.frame_rate == 25
    assert {frame.image.shape for frame in frames} == {(320, 240, 3)}
    assert started_s < frames[0].time_s < frames[-1].time_s <= time.time()
    # What had waited while it was opened, a second at most, comes at once; then 25 frames/s.
    assert frames[-1].time_s - frames[-11].time_s > 0.2
    assert (frames[-1].image != frames[-11].image).any()


def test_an_rtsp_server_that_dies_and_comes_back_is_found_again(
    rtsp_server: RtspServer, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    with open_source(rtsp_server.url, Config(), health) as source:
        times_s, restarted_s = [], 0.0
        for frame in source:
            times_s.append(frame.time_s)
            assert frame.index == len(times_s) - 1
            if len(times_s) == 30:
                rtsp_server.kill()
                threading.Timer(1.0, rtsp_server.start).start()
                restarted_s = time.time() + 1.0
            if len(times_s) > 30 and health.reconnections and health.state == "running":
                break
    assert times_s == sorted(times_s)
    assert time.time() - restarted_s < 8  # pauses of 0.5, 1, 2 and 4 s, and FFmpeg's second to look at a stream
    (warning,) = caplog.messages
    assert warning.startswith(f"the source is lost (rtsp://127.0.0.1:{rtsp_server.port}/live stopped giving pictures)")


def test_a_wrong_path_on_an_rtsp_server_is_told(rtsp_server: RtspServer) -> None:
    with pytest.raises(OSError, match="answers, but not with a video: check path, user and password"):
        open_source(rtsp_server.url.replace("live", "garden"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_rtsp_camera_that_says_nothing_ends_after_five_seconds(silent_port: int) -> None:
    started_s = time.monotonic()
    with pytest.raises(
        OSError, match=f"127.0.0.1:{silent_port} takes the connection, but says nothing for 5 s"
    ) as caught:
        open_source(f"rtsp://user:{SECRET}@127.0.0.1:{silent_port}/live")
    assert time.monotonic() - started_s < 7
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_what_cannot_be_reached_is_told_with_its_reason(scheme: str) -> None:
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{free_port()}/live"
    with pytest.raises(OSError, match=r"cannot be reached \(Connection refused\); is it switched on") as caught:
        open_source(url)
    assert f"{scheme}://***@127.0.0.1" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["rtsp://", "http:///live", f"rtsp://user:{SECRET}@camera:port/live"])
def test_a_url_with_a_mistake_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL: allowed is such as rtsp://user:password@host:554/path") as caught:
        open_source(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://camera:554/live", "rtsp://camera:554/live"),
        ("rtsp://me:a@b/c:d@camera/live", "rtsp://***@camera/live"),
        ("http://camera/video.cgi?user=me&pwd=x", "http://camera/video.cgi?user=***&pwd=***"),
        ("rtsp://camera/user=me&password=x&channel=1", "rtsp://camera/user=***&password=***&channel=***"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert hide_secrets(url) == shown


class MotionJpeg(BaseHTTPRequestHandler):
    """What cheap network cameras and mjpg-streamer send: JPEGs with a boundary between them, as long as one looks."""

    frames = 60
    is_stalling = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in range(self.frames):
                _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 4 * number, np.uint8))
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(f"Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg.tobytes() + b"\r\n")
                time.sleep(0.02)
            if self.is_stalling:
                time.sleep(3)
        except OSError:
            pass  # nobody looks any more

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class PlainFiles(SimpleHTTPRequestHandler):
    """A web server like `python3 -m http.server`, which gives whole files only."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Files(PlainFiles):
    """A web server like the usual ones, which can begin in the middle of a file."""

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None or not file.exists():
            super().do_GET()
            return
        content = file.read_bytes()
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        with suppress(OSError):  # enough was seen
            self.wfile.write(content[first : last + 1])


@pytest.fixture
def motion_jpeg() -> Iterator[tuple[str, type[MotionJpeg]]]:
    """Return the address of a network camera, and its class."""

    class Handler(MotionJpeg):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stream", Handler
    server.shutdown()
    server.server_close()


def serve(folder: Path, handler: type[PlainFiles]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def files() -> Iterator[str]:
    """Return the address of a web server with the demo clip."""
    yield from serve(DEMO_CLIP.parent, Files)


@pytest.fixture
def plain_files(tmp_path: Path) -> Iterator[str]:
    """Return the address of a simple web server with three clips; the last has its table of contents at its end."""
    write_clip(tmp_path / "stream.mp4", "libx264", movflags="faststart")
    write_clip(tmp_path / "clip.mkv", "libx264")
    shutil.copy(DEMO_CLIP, tmp_path / "clip.mp4")
    yield from serve(tmp_path, PlainFiles)


def test_a_motion_jpeg_camera_is_read_and_looked_for_when_it_ends(motion_jpeg: tuple[str, type[MotionJpeg]]) -> None:
    url, handler = motion_jpeg
    handler.frames = 10
    health = Health()
    with open_source(url, Config(), health) as source:
        assert source.is_live
        levels = []
        for frame in source:
            levels.append(round(float(frame.image.mean()) / 4))
            if health.reconnections:
                break
    assert frame.image.shape == (48, 64, 3)
    assert len(levels) > 3  # the newest: some may have been passed over
    assert levels[:-1] == sorted(levels[:-1])
    assert max(levels) == 9


def test_a_stream_that_stalls_is_looked_for(
    motion_jpeg: tuple[str, type[MotionJpeg]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = motion_jpeg
    handler.frames, handler.is_stalling = 10, True
    monkeypatch.setattr(network, "TIMEOUT_S", 0.5)
    health, started_s = Health(), time.monotonic()
    with open_source(url, Config(), health) as source:
        for _ in source:
            if health.reconnections:
                break
    # 0.2 s of pictures, 0.5 s without, and 0.5 s of pause; the server would have stalled for 3 s.
    assert 1.0 < time.monotonic() - started_s < 3


def test_a_video_on_a_web_server_is_a_file_with_an_end(files: str) -> None:
    with open_source(f"{files}/demo.mp4") as source:
        indices = [frame.index for frame in source]
    assert indices == list(range(250))
    assert not source.is_live
    assert source.frame_rate == 25


@pytest.mark.parametrize("name", ["stream.mp4", "clip.mkv"])
def test_a_simple_web_server_is_enough_for_files_made_for_streaming(plain_files: str, name: str) -> None:
    with open_source(f"{plain_files}/{name}") as source:
        assert not source.is_live
        assert [frame.index for frame in source] == list(range(40))


def test_a_file_that_wants_a_better_server_is_told(plain_files: str) -> None:
    with pytest.raises(ValueError, match=r"clip\.mp4 holds no .*; if it plays elsewhere, its server cannot"):
        open_source(f"{plain_files}/clip.mp4")


def test_a_video_on_a_web_server_can_be_played_in_realtime(files: str) -> None:
    with open_source(f"{files}/demo.mp4", Config(realtime=True)) as source:
        assert source.is_live
        started_s = time.monotonic()
        frames = [frame for frame, _ in zip(source, range(11), strict=False)]
    assert [frame.index for frame in frames] == list(range(11))
    assert 0.4 < time.monotonic() - started_s < 2


def test_what_is_no_video_is_told(files: str) -> None:
    for name in ("README.md", "nothing.mp4"):
        with pytest.raises(OSError, match=f"cannot open {files}/{name}: .* answers, but not with a video: check path"):
            open_source(f"{files}/{name}")


def test_nothing_is_written_past_the_one_line(silent_port: int) -> None:
    """FFmpeg and OpenCV have their own channels to the terminal, and say there what they were called with."""
    code = (
        "import sys; from mien.sources import network, open_source; network.TIMEOUT_S = 0.3\n"
        "for url in sys.argv[1:]:\n"
        "    try: open_source(url)\n"
        "    except OSError as error: print(error)\n"
    )
    urls = [f"{scheme}://user:{SECRET}@127.0.0.1:{port}/x" for scheme in ("rtsp", "http") for port in (silent_port, 9)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run([sys.executable, "-c", code, *urls], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 4
    assert all(re.match(r"cannot open (rtsp|http)://\*\*\*@127", line) for line in done.stdout.splitlines())
    assert SECRET not in done.stdout
