"""What a service manager hears of a run, through a real socket; of real runs, too."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import watchdog
from mien.faces import Image
from mien.health import Health, OutputHealth
from mien.watchdog import Watchdog


class Manager:
    """A service manager: a socket in which notices arrive."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)

    def heard(self, within_s: float = 0.0) -> list[str]:
        """Return the lines that have come, or come within a time."""
        lines, end_s = [], time.monotonic() + within_s
        while True:
            self._socket.settimeout(max(1e-3, end_s - time.monotonic()))
            try:
                lines += self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                return lines

    def wait_for(self, line: str, within_s: float = 20.0) -> list[str]:
        """Return all lines up to and with the first one that begins so."""
        lines, end_s = [], time.monotonic() + within_s
        while time.monotonic() < end_s:
            lines += self.heard(0.05)
            if any(one.startswith(line) for one in lines):
                return lines
        raise AssertionError(f"no {line} in {lines}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Return a service manager with an address of either kind."""
    opened = Manager(str(tmp_path / "notify") if request.param == "path" else f"@mien-test-{os.getpid()}")
    yield opened
    opened.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a watchdog tell whenever it looks, and the status once."""
    monkeypatch.setattr(watchdog, "PING_S", 0.0)
    monkeypatch.setattr(watchdog, "STATUS_S", 1e9)


def running_health() -> Health:
    health = Health()
    health.set_source("running")
    return health


@pytest.mark.usefixtures("at_once")
def test_it_is_ready_with_the_first_result_and_alive_with_each_more(manager: Manager) -> None:
    health = running_health()
    dog = Watchdog(health, manager.address)
    dog.look()
    assert "READY=1" not in manager.heard()
    health.add_result(0.01)
    dog.look()
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]
    dog.look()
    assert manager.heard() == []
    health.add_result(0.01)
    dog.look()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.usefixtures("at_once")
def test_a_source_that_is_looked_for_is_told_and_does_not_ping(manager: Manager) -> None:
    health = running_health()
    dog = Watchdog(health, manager.address)
    health.add_result(0.01)
    dog.look()
    manager.heard()
    health.set_source("waiting", "no picture for 5 s")
    for _ in range(3):
        dog.look()
    assert manager.heard() == ["STATUS=waiting (no picture for 5 s)"]


@pytest.mark.usefixtures("at_once")
def test_an_output_that_takes_nothing_any_more_ends_the_pings(manager: Manager) -> None:
    health = running_health()
    health.outputs = {"web": OutputHealth(), "text": OutputHealth()}
    dog = Watchdog(health, manager.address)
    for _ in range(3):  # text takes all, web hangs in its first result
        health.add_result(0.01)
        health.outputs["text"].written += 1
        health.outputs["web"].dropped += 1
        dog.look()
    assert "READY=1" not in manager.heard()
    health.add_result(0.01)
    health.outputs["web"].written += 1  # slow, but not stuck
    health.outputs["web"].dropped += 1
    dog.look()
    assert "WATCHDOG=1" in manager.heard()


@pytest.mark.usefixtures("at_once")
def test_an_output_that_was_left_behind_is_told_and_no_reason_for_a_restart(manager: Manager) -> None:
    health = running_health()
    health.outputs = {
        "faces.csv": OutputHealth(error="cannot write faces.csv: the disk is\nfull"),
        "text": OutputHealth(),
    }
    dog = Watchdog(health, manager.address)
    for _ in range(2):
        health.add_result(0.01)
        health.outputs["faces.csv"].dropped += 1
        dog.look()
    heard = manager.heard()
    assert heard.count("WATCHDOG=1") == 2
    assert any(line.endswith("output faces.csv ended: cannot write faces.csv: the disk is full") for line in heard)


@pytest.mark.usefixtures("at_once")
def test_after_the_end_of_a_file_writing_the_rest_counts(manager: Manager) -> None:
    health = running_health()
    health.outputs = {"long.mp4": OutputHealth(written=3)}
    dog = Watchdog(health, manager.address)
    health.add_result(0.01)
    dog.look()
    health.set_source("stopped")
    dog.look()
    assert manager.heard().count("WATCHDOG=1") == 1
    health.outputs["long.mp4"].written += 1
    dog.look()
    assert manager.heard() == ["WATCHDOG=1"]


def test_it_pings_once_a_second_at_most(manager: Manager) -> None:
    health = running_health()
    dog = Watchdog(health, manager.address)
    for _ in range(50):
        health.add_result(0.01)
        dog.look()
    assert manager.heard().count("WATCHDOG=1") == 1


@pytest.mark.usefixtures("at_once")
def test_a_manager_that_is_gone_is_told_once_and_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    health = running_health()
    dog = Watchdog(health, str(tmp_path / "nobody"))
    for _ in range(3):
        health.add_result(0.01)
        dog.look()
    dog.stop()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "nobody cannot be told" in record.message


def test_where_no_service_manager_asks_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", lambda *kind: opened.append(kind))
    health = running_health()
    dog = Watchdog(health)
    health.add_result(0.01)
    dog.look()
    dog.stop()
    assert opened == []


def start_run(manager: Manager, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mien", "run", "--output", "jsonl", *arguments]
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(run: subprocess.Popen[str], number: signal.Signals) -> str:
    """End a run and return its last words."""
    run.send_signal(number)
    return run.communicate(timeout=20)[1]


def test_a_file_is_started_and_ended_like_a_service(manager: Manager, portrait: Image, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "portrait.png"), portrait)  # over before a second is
    run = start_run(manager, "--source", str(tmp_path / "portrait.png"))
    assert run.communicate(timeout=30)[1] == ""
    assert run.returncode == 0
    heard = manager.heard()
    told = [line for line in heard if line in ("READY=1", "STOPPING=1")]
    assert told == ["READY=1", "STOPPING=1"]


class Hanging(BaseHTTPRequestHandler):
    """A network camera that falls silent, without closing, for as long as it is told to."""

    goes_on = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(OSError):  # nobody looks any more
            for number in count():
                self.goes_on.wait()
                _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), number % 64, np.uint8))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
                time.sleep(0.02)

    def log_message(self, format: str, *arguments: Any) -> None: ...


@pytest.fixture
def camera() -> Iterator[tuple[str, threading.Event]]:
    """Return the address of a network camera, and what lets it go on."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hanging.goes_on.set()
    yield f"http://127.0.0.1:{server.server_port}/stream", Hanging.goes_on
    Hanging.goes_on.set()
    server.shutdown()
    server.server_close()


def test_the_pings_of_a_run_end_with_the_frames_and_come_back_with_them(
    tmp_path: Path, camera: tuple[str, threading.Event]
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    url, goes_on = camera
    run = start_run(manager, "--source", url)
    assert "STATUS=starting" not in manager.wait_for("READY=1")[-1]
    assert manager.heard(2.5).count("WATCHDOG=1") in (2, 3)
    goes_on.clear()
    manager.heard(2.0)  # what was under way
    assert "WATCHDOG=1" not in manager.heard(3.5)
    assert run.poll() is None
    goes_on.set()
    manager.wait_for("WATCHDOG=1")
    end(run, signal.SIGTERM)
    assert run.returncode == 0
    assert "STOPPING=1" in manager.heard()
    manager.close()


def test_a_run_that_systemd_gives_up_says_where_each_thread_hung(
    tmp_path: Path, camera: tuple[str, threading.Event]
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    url, goes_on = camera
    run = start_run(manager, "--source", url)
    manager.wait_for("READY=1")
    goes_on.clear()
    manager.heard(1.0)
    words = end(run, signal.SIGABRT)
    assert run.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in words
    assert "reconnecting.py" in words
    assert "_look_after" in words
    manager.close()
