"""Cameras are pulled out, stall and come back; whoever reads them sees a pause, and hears of it once."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.config import Config
from mien.health import Health
from mien.sources import DEMO_CLIP, Frame, Source, SourceLostError, camera, open_source, reconnecting
from mien.sources.camera import CameraSource
from mien.sources.reconnecting import Patience, ReconnectingSource

QUICK = Patience(
    opening_s=1.0,
    no_frame_s=0.1,
    same_frame_s=0.1,
    same_again_s=0.4,
    same_most_s=0.4,
    shortest_wait_s=0.01,
    longest_wait_s=0.04,
    closing_s=0.5,
)
"""The same ways as in earnest, in milliseconds."""


class Camera(Source):
    """One opening of a camera: gives `count` noisy frames, 5 ms apart, and then `end` happens."""

    is_live, frame_rate = True, 12.0

    def __init__(self, count: int = 10**6, end: Callable[[], object] | None = None, is_still: bool = False) -> None:
        self._count, self._end, self._is_still, self.is_closed = count, end, is_still, False
        self._noise = np.random.default_rng(id(self))

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            level = 7 if self._is_still else self._noise.integers(0, 255, (48, 64, 3))
            yield Frame(np.full((48, 64, 3), level, np.uint8), index, time.time())
            time.sleep(0.005)
        if self._end is None:
            raise SourceLostError("it was pulled out")
        self._end()

    def close(self) -> None:
        self.is_closed = True


class Plug:
    """What opening the camera gives, one after the other: a camera, or an error."""

    def __init__(self, *openings: Source | Exception) -> None:
        self.openings = list(openings)
        self.opened_at_s: list[float] = []

    def __call__(self) -> Source:
        self.opened_at_s.append(time.monotonic())
        opening = self.openings.pop(0) if self.openings else Camera()
        if isinstance(opening, Exception):
            raise opening
        return opening


def take(source: Source, count: int) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def test_a_lost_camera_is_reopened_and_its_frames_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, health = Camera(3), Health()
    plug = Plug(first, OSError("not there"), FileNotFoundError("not there yet"))
    states = []
    with ReconnectingSource(plug, health, patience=QUICK) as source:
        assert (source.is_live, source.is_continuous, source.frame_rate) == (True, True, 12.0)
        for frame in source:
            states.append((frame.index, health.state))
            if frame.index == 8:
                break
    assert [index for index, _ in states] == list(range(9))
    assert states[-1] == (8, "running")
    assert health.reconnections == 1
    assert first.is_closed
    lost, back = caplog.messages  # one line each, however often it was tried
    assert lost == "the source is lost (it was pulled out): looking for it until it is back"
    assert re.fullmatch(r"the source is back after \d\.\d s", back)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_while_it_is_lost_health_says_why() -> None:
    health, plug = Health(), Plug(Camera(1), *[OSError(f"no {number}") for number in range(999)])
    with ReconnectingSource(plug, health, patience=QUICK) as source:
        thread = threading.Thread(target=lambda: list(source), daemon=True)
        thread.start()
        time.sleep(0.2)
        assert health.state == "waiting"
        assert re.fullmatch(r"no \d+", health.problem)
    thread.join(1)
    assert not thread.is_alive()


def test_time_goes_on_rising_over_a_loss() -> None:
    with ReconnectingSource(Plug(Camera(3), Camera(3)), patience=QUICK) as source:
        times_s = [frame.time_s for frame in take(source, 8)]
    assert all(later_s > earlier_s for earlier_s, later_s in pairwise(times_s))
    assert abs(times_s[-1] - time.time()) < 2


def test_the_pauses_between_attempts_double_up_to_a_limit() -> None:
    plug = Plug(Camera(1), *[OSError("no")] * 6)
    with ReconnectingSource(plug, patience=QUICK) as source:
        take(source, 2)
    pauses_s = [later_s - earlier_s for earlier_s, later_s in pairwise(plug.opened_at_s)]
    # 10, 20, 40, 40, ... ms at least; what is above is this machine's, which may be busy.
    assert len(pauses_s) == 7
    for pause_s, wanted_s in zip(pauses_s, [0.01, 0.02, 0.04, 0.04, 0.04, 0.04, 0.04], strict=True):
        assert wanted_s <= pause_s < wanted_s + 0.3


def test_the_pauses_in_earnest() -> None:
    patience = Patience()
    assert (patience.shortest_wait_s, patience.longest_wait_s) == (0.5, 30.0)
    assert (patience.no_frame_s, patience.same_frame_s, patience.same_again_s) == (5.0, 5.0, 60.0)


def test_a_mistake_at_the_start_is_told_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="no such camera"):
        ReconnectingSource(Plug(FileNotFoundError("no such camera")), patience=QUICK)


def test_what_is_no_loss_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError("a mistake in a source")

    with ReconnectingSource(Plug(Camera(2, fail)), patience=QUICK) as source, pytest.raises(ZeroDivisionError):
        list(source)


def test_a_camera_that_gives_nothing_is_reopened() -> None:
    stuck = threading.Event()
    hung, health = Camera(2, lambda: stuck.wait(0.3)), Health()
    plug = Plug(hung)
    with ReconnectingSource(plug, health, patience=QUICK) as source:
        started_s = time.monotonic()
        iterator = iter(source)
        assert [next(iterator).index for _ in range(3)] == [0, 1, 2]
        # Nobody opens a camera that another thread still holds: not before the read has come back.
        assert 0.3 <= time.monotonic() - started_s < 1
    assert health.reconnections == 1
    assert hung.is_closed


def test_the_same_picture_for_ever_is_a_stalled_driver(caplog: pytest.LogCaptureFixture) -> None:
    plug, health = Plug(Camera(is_still=True)), Health()
    with ReconnectingSource(plug, health, patience=QUICK) as source:
        started_s = time.monotonic()
        for frame in source:
            if frame.image.std() > 1:  # the second opening is noisy
                break
    assert 0.1 <= time.monotonic() - started_s < 1
    assert health.reconnections == 1
    assert "the source is lost (the very same picture for 0.1 s)" in caplog.text


def test_a_picture_that_stands_still_costs_a_blink_now_and_then_only() -> None:
    plug = Plug(*[Camera(is_still=True) for _ in range(9)])
    with ReconnectingSource(plug, patience=QUICK) as source:
        thread = threading.Thread(target=lambda: list(source), daemon=True)
        thread.start()
        time.sleep(1.2)
    thread.join(1)
    # At 0 s, 0.1 s, and then every 0.4 s: not every 0.1 s, which would be ten times.
    assert 3 <= len(plug.opened_at_s) <= 5
    later = pairwise(plug.opened_at_s[1:])
    assert all(after_s - before_s >= 0.4 for before_s, after_s in later)


def test_one_changed_pixel_is_another_picture() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    other = image.copy()
    other[1, 1, 1] = 1
    assert reconnecting._is_same(image, image.copy())
    assert not reconnecting._is_same(image, other)
    assert not reconnecting._is_same(image, image[:24])


def test_a_frame_of_another_size_is_passed_on() -> None:
    class Changing(Camera):
        def __iter__(self) -> Iterator[Frame]:
            for index, height in enumerate((48, 96, 48)):
                yield Frame(np.full((height, 64, 3), index, np.uint8), index, time.time())
                time.sleep(0.02)

    with ReconnectingSource(Plug(Changing()), patience=QUICK) as source:
        assert [frame.image.shape[0] for frame in source] == [48, 96, 48]


def test_a_slow_reader_gets_the_newest_frame() -> None:
    with ReconnectingSource(Plug(Camera()), patience=QUICK) as source:
        iterator = iter(source)
        next(iterator)
        time.sleep(0.2)
        frame = next(iterator)
        assert frame.index == 1
        assert time.time() - frame.time_s < 0.1  # 5 ms apart, and this machine may be busy


def test_frames_that_a_slow_reader_misses_are_counted() -> None:
    health, plug = Health(), Plug(Camera(50, lambda: None))
    with ReconnectingSource(plug, health, patience=QUICK) as source:
        taken = 0
        for _ in source:
            taken += 1
            time.sleep(0.05)
    assert taken < 20  # of 50 frames in 0.25 s
    assert (health.captured, health.dropped) == (50 - taken, 50 - taken)  # who takes a frame counts it


@pytest.mark.parametrize("state", ["reading", "hanging", "waiting", "opening"])
def test_closing_ends_the_frames_at_once_whatever_goes_on(state: str) -> None:
    stuck = threading.Event()
    first = Camera() if state == "reading" else Camera(1, (lambda: stuck.wait(5)) if state == "hanging" else None)
    is_first = [True]

    def open_() -> Source:
        if is_first.pop() if is_first else False:
            return first
        if state == "opening":
            stuck.wait(5)
        raise OSError("not there")

    patience = Patience(closing_s=0.1)  # the others in earnest: it does not wait them out
    source = ReconnectingSource(open_, patience=patience)
    thread = threading.Thread(target=lambda: list(source), daemon=True)
    thread.start()
    time.sleep(0.8 if state == "opening" else 0.2)
    started_s = time.monotonic()
    source.close()
    thread.join(1)
    assert not thread.is_alive()
    assert time.monotonic() - started_s < 0.5
    stuck.set()
    if state in ("reading", "waiting"):
        assert first.is_closed


def test_a_source_that_was_never_read_is_closed() -> None:
    first = Camera()
    with ReconnectingSource(Plug(first), patience=QUICK):
        pass
    assert first.is_closed


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for /dev, whose cameras all show the demo clip; a pause is 10 ms."""

    def open_clip(number: int) -> cv2.VideoCapture:
        # OpenCV reads cameras and files through the same class.
        return cv2.VideoCapture(str(DEMO_CLIP if (tmp_path / f"video{number}").exists() else "no camera"))

    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    monkeypatch.setattr(CameraSource, "_open", staticmethod(open_clip))
    monkeypatch.setattr(reconnecting, "Patience", lambda **limits: QUICK)
    return tmp_path


@pytest.mark.parametrize("name", ["camera", "auto"])
def test_a_camera_that_returns_under_another_number_is_found(devices: Path, name: str) -> None:
    (devices / "video0").touch()
    health = Health()
    with open_source(name, Config(), health) as source:
        for frame in source:
            if frame.index == 5 and (devices / "video0").exists():
                (devices / "video0").rename(devices / "video1")  # the clip's end is the plug's
            if health.reconnections:
                break
    assert health.reconnections == 1
    assert frame.index > 5


def test_a_link_by_id_is_looked_up_anew(devices: Path) -> None:
    link = devices / "by-id-webcam"
    (devices / "video0").touch()
    link.symlink_to(devices / "video0")
    with CameraSource(str(link), Config()) as source:
        assert str(source._device) == str(devices / "video0")
    (devices / "video0").rename(devices / "video1")
    with pytest.raises(FileNotFoundError, match="by-id-webcam"):
        CameraSource(str(link), Config())
    link.unlink()
    link.symlink_to(devices / "video1")
    with CameraSource(str(link), Config()) as source:
        assert str(source._device) == str(devices / "video1")
