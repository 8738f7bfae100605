"""What goes wrong around a run: full disks, cameras that come and go or change their pictures, ports in use.

Faults of one part alone are tested with that part: sources in test_sources.py, test_network_source.py and
test_reconnecting.py, models in test_classifier.py, brokers in test_mqtt.py.
"""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import EmotionRecognizer, FrameResult
from mien.config import Config, WebConfig
from mien.faces import Image
from mien.health import Health
from mien.outputs import OutputContext, open_output, video
from mien.outputs.web import WebOutput
from mien.sources import Frame, Source
from mien.sources.reconnecting import ReconnectingSource
from mien.streaming import run_stream
from tests.edge.test_cli import desktop
from tests.edge.test_reconnecting import QUICK, Camera, Plug
from tests.edge.test_streaming import Recorder, SlowRecognizer
from tests.edge.test_web import following, read_picture

__all__ = ["desktop"]  # a fixture

FULL_AT = 10_000
"""Bytes that fit into a file, in place of a full disk, which not everybody may make: both end in an OSError."""

RUN_ON_A_FULL_DISK = (
    f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({FULL_AT}, {FULL_AT})); "
    "import sys; from mien.cli import main; sys.exit(main(sys.argv[1:]))"
)


def run_on_a_full_disk(file: Path) -> tuple[list[str], list[str]]:
    """Run the demo with a file that does not fit, and to a pipe; return the lines of the pipe, and the complaints."""
    command = [sys.executable, "-c", RUN_ON_A_FULL_DISK, "run", "--source", "demo", "--output", "jsonl"]
    result = subprocess.run([*command, "--output", str(file)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    return result.stdout.splitlines(), result.stderr.splitlines()


@pytest.mark.parametrize("name", ["faces.jsonl", "faces.csv"])
def test_a_full_disk_leaves_whole_lines_and_the_other_outputs(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    printed, complaints = run_on_a_full_disk(file)
    assert len([json.loads(line) for line in printed]) == 250
    reason = f"cannot write {file}: File too large"
    assert complaints == [f"warning: output {file} ended ({reason}): the run goes on without it", f"error: {reason}"]
    text = file.read_text()
    assert FULL_AT - 1000 < len(text) <= FULL_AT
    assert text.endswith("\n")
    if name.endswith(".csv"):
        assert len({line.count(",") for line in text.splitlines()}) == 1
    else:
        assert [json.loads(line)["frame"] for line in text.splitlines()] == list(range(text.count("\n")))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "sheet.png"])
def test_on_a_full_disk_no_half_video_or_sheet_gets_its_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    printed, complaints = run_on_a_full_disk(file)
    assert len(printed) == 250
    reason = f"cannot write {file}: {'File too large' if name.endswith('png') else 'its end is missing'}"
    assert len(complaints) == 2
    assert complaints[0].startswith(f"warning: output {file} ended ({reason}")
    assert complaints[1].startswith(f"error: {reason}")
    assert list(tmp_path.iterdir()) == []


def test_a_video_ends_whole_before_the_disk_is_full(
    tmp_path: Path, portrait: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "annotated.mp4"
    with open_output(str(file), OutputContext(frame_rate=25)) as output:
        for index in range(10):
            output.write(portrait, FrameResult(index / 25, index, []))
        monkeypatch.setattr(video, "RESERVE_BYTES", 10**18)
        with pytest.raises(OSError, match=f"the disk is nearly full: {re.escape(str(file))} ends here"):
            output.write(portrait, FrameResult(10 / 25, 10, []))
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_pipe_that_takes_nothing_ends_its_output_only(tmp_path: Path) -> None:
    file = tmp_path / "faces.csv"
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl", "--output", str(file)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1
    reason = "[Errno 28] No space left on device"
    assert result.stderr.splitlines() == [
        f"warning: output jsonl ended ({reason}): the run goes on without it",
        f"error: {reason}",
    ]
    assert file.read_text().splitlines()[-1].split(",")[1] == "249"  # the last frame


def stop_in_time(run: subprocess.Popen[bytes]) -> str:
    """Ask a run to end, which it must in two seconds; return what it says to that."""
    started_s = time.monotonic()
    run.send_signal(signal.SIGTERM)
    run.wait(20)
    assert time.monotonic() - started_s < 2
    assert run.stderr is not None
    return run.stderr.read().decode()


def test_a_reader_that_sleeps_costs_no_video(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl", "--output", str(file)]
    asleep, pipe = os.pipe()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    run = subprocess.Popen(command, stdout=pipe, stderr=subprocess.PIPE)
    while not list(tmp_path.iterdir()):
        assert run.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    complaints = stop_in_time(run)
    os.close(pipe)
    os.close(asleep)
    assert (run.returncode, complaints) == (1, "error: output jsonl did not finish within 1.5 s\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) > 0


class Stalling(BaseHTTPRequestHandler):
    """A web server with one file, of which it gives the index at its end, but of the rest nine tenths."""

    content = b""

    def do_GET(self) -> None:
        content, given = self.content, len(self.content) * 9 // 10
        first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        with suppress(OSError):  # enough was seen
            self.wfile.write(content[first:] if first > given else content[first:given])
            if first <= given:
                self.connection.recv(1)  # until the other side has gone

    def log_message(self, format: str, *arguments: Any) -> None: ...


def test_a_video_whose_server_stalls_is_left_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, clip = tmp_path / "faces.jsonl", tmp_path / "clip.avi"
    noise = np.random.default_rng(0).integers(0, 255, (400, 120, 160, 3)).astype(np.uint8)
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for image in noise:
        writer.write(image)  # 6 MB in all: FFmpeg looks at most of what is given before the first frame
    writer.release()
    monkeypatch.setattr(Stalling, "content", clip.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/clip.avi"
    command = [sys.executable, "-m", "mien", "run", "--source", url, "--output", str(file)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE)
    lines = -1
    while lines < 1 or file.read_bytes().count(b"\n") > lines:
        assert run.poll() is None
        lines = file.read_bytes().count(b"\n") if file.exists() else 0
        time.sleep(0.5)
    assert (stop_in_time(run), run.returncode) == ("", 0)
    server.shutdown()
    server.server_close()
    assert file.read_text().endswith("\n")


def test_a_camera_that_is_pulled_out_and_put_back_costs_a_pause(tmp_path: Path) -> None:
    health, file, clip = Health(), tmp_path / "faces.jsonl", tmp_path / "annotated.avi"
    plug = Plug(Camera(20), OSError("there is no camera"), Camera())
    context = OutputContext(frame_rate=12.0, health=health)
    outputs = {name: open_output(name, context) for name in (str(file), str(clip))}
    outputs["end"] = Recorder(stops_at=60, is_record=True)
    run_stream(ReconnectingSource(plug, health, patience=QUICK), SlowRecognizer(0), outputs, health)
    assert (health.reconnections, health.state) == (1, "stopped")
    numbers = [json.loads(line)["frame"] for line in file.read_text().splitlines()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 20 < numbers[-1]
    assert cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT) > 0


class Changing(Source):
    """A stream whose pictures change their size and shape, as those of a camera that somebody sets up anew."""

    is_live = True

    def __init__(self, images: list[Image], health: Health) -> None:
        self._images, self._health = images, health

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            while not self._is_done_with(index):  # or a newer frame would take its place
                time.sleep(0.001)
            yield Frame(image, index, 1.7e9 + index / 10, taken_s=index / 10)

    def _is_done_with(self, frames: int) -> bool:
        outputs = self._health.outputs.values()
        return self._health.recognized >= frames and all(output.written >= frames or output.error for output in outputs)


def test_frames_of_another_size_in_mid_stream_disturb_no_output(tmp_path: Path, portrait: Image) -> None:
    height, width = portrait.shape[:2]
    small = cv2.resize(portrait, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    large = cv2.resize(portrait, (2 * width, 2 * height))
    cut = np.ascontiguousarray(portrait[:, 120:400])
    sizes = [image for image in (portrait, small, large, cut, portrait) for _ in range(5)]
    health = Health()
    context = OutputContext(frame_rate=10, health=health)
    files = [tmp_path / name for name in ("faces.jsonl", "faces.csv", "a.mp4", "b.avi", "c.mkv", "sheet.png")]
    outputs = {file.name: open_output(str(file), context) for file in files}
    run_stream(Changing(sizes, health), EmotionRecognizer(), outputs, health)
    assert [output.error for output in health.outputs.values()] == [""] * 6
    results = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert len(results) == 25
    for first, scale, left in ((0, 1, 0), (5, 0.5, 0), (10, 2, 0), (15, 1, 120), (20, 1, 0)):
        last = results[first + 4]["faces"]
        assert len(last) == 1, first
        x, y, side, _ = last[0]["box"]
        centre = ((x + side / 2) / scale + left, (y + side / 2) / scale)
        assert centre == pytest.approx((266, 90), abs=25), first  # the face's middle, in pixels of the portrait
    for file in files[2:5]:
        capture = cv2.VideoCapture(str(file))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 25
        assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (width, height)
    sheet = cv2.imread(str(files[5]))
    assert sheet is not None
    assert sheet.shape == (3 * 240, 4 * 320, 3)


def test_the_web_page_shows_frames_of_any_size(portrait: Image) -> None:
    sizes = [(480, 360), (960, 720), (90, 160), (480, 360)]
    context = OutputContext(Config(web=WebConfig(port=0, picture_rate=60, picture_side=480)))
    shapes = []
    with WebOutput(context) as output, following(output, "/stream.mjpg") as stream:
        while not output._pictures.clients:
            time.sleep(0.01)
        for index, size in enumerate(sizes):
            output.write(cv2.resize(portrait, size), FrameResult(index, index, []))
            shapes.append(read_picture(stream).shape)
            time.sleep(0.02)
    assert shapes == [(360, 480, 3), (360, 480, 3), (160, 90, 3), (360, 480, 3)]


def test_the_window_shows_frames_of_any_size(
    desktop: tuple[dict[str, str], Path],
    tmp_path: Path,
    portrait: Image,
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, (width, height) in enumerate([(480, 360), (1600, 1200), (90, 160), (640, 64)]):
        cv2.imwrite(str(photos / f"{index}.png"), cv2.resize(portrait, (width, height)))
    command = [sys.executable, "-m", "mien", "run", "--source", str(photos), "--output", "window"]
    result = subprocess.run(command, env=desktop[0], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_port_in_use_is_one_line_and_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", f"web:127.0.0.1:{port}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: web page: cannot listen on port {port} of 127.0.0.1: it is in use; ")
