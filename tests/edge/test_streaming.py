"""A run in threads: nothing queues up, nothing is lost from a file, and every way to end it ends it whole."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.channel import Channel
from mien.detectors import HaarDetector
from mien.faces import Face, FrameResult, Image
from mien.health import Health
from mien.outputs.base import Output
from mien.recognition import Recognition
from mien.recognizer import EmotionRecognizer
from mien.sources.base import Frame, Source
from mien.sources.reconnecting import ReconnectingSource
from mien.streaming import run_stream
from tests.conftest import require_program

IMAGE = np.zeros((48, 64, 3), np.uint8)


class Clock(Source):
    """Gives frames at its own time, as a camera does, or as they are asked for, as a file does."""

    def __init__(self, count: int, interval_s: float, is_live: bool) -> None:
        self._count, self._interval_s, self.is_live = count, interval_s, is_live
        self.is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if self.is_closed:
                return
            time.sleep(self._interval_s)
            yield Frame(IMAGE, index, index / 30)

    def close(self) -> None:
        self.is_closed = True


class SlowRecognizer(EmotionRecognizer):
    """Finds nothing, and takes its time for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self.seen = seconds, ()
        self.detector = HaarDetector()

    def reset(self) -> None: ...

    def recognize(self, frame: Image, timestamp_s: float | None = None, luma: Image | None = None) -> list[Face]:
        time.sleep(self._seconds)
        return []


class Recorder(Output):
    """Keeps the numbers of its frames; slow, failing or asking for the end if told so."""

    def __init__(self, seconds: float = 0, is_record: bool = False, fails_at: int = -1, stops_at: int = -1) -> None:
        self._seconds, self._fails_at, self._stops_at = seconds, fails_at, stops_at
        self.is_record = is_record
        self.frames: list[int] = []
        self.threads: set[int] = set()
        self.closed = 0

    def write(self, image: Image, result: FrameResult) -> None:
        time.sleep(self._seconds)
        if result.frame == self._fails_at:
            raise OSError("no space left")
        self.frames.append(result.frame)
        self.threads.add(threading.get_ident())
        self.wants_to_stop = result.frame == self._stops_at

    def close(self) -> None:
        self.closed += 1


def test_of_a_camera_the_newest_frame_wins_and_the_others_are_counted() -> None:
    health, output = Health(), Recorder()
    run_stream(Clock(60, 0.005, is_live=True), SlowRecognizer(0.05), {"recorder": output}, health)
    assert health.captured == 60
    assert health.recognized + health.dropped == 60
    assert 4 <= health.recognized <= 20  # 0.3 s of frames, each of which takes 0.05 s
    assert output.frames == sorted(set(output.frames))
    assert output.frames[-1] >= 58


def test_of_a_file_every_frame_is_recognised_and_recorded_however_slow_the_output() -> None:
    health, record, picture = Health(), Recorder(0.01, is_record=True), Recorder(0.05)
    run_stream(Clock(40, 0, is_live=False), SlowRecognizer(0), {"record": record, "picture": picture}, health)
    assert record.frames == list(range(40))
    assert health.dropped == health.outputs["record"].dropped == 0
    assert health.outputs["picture"].dropped > 0
    assert health.outputs["picture"].written + health.outputs["picture"].dropped == 40


def test_a_slow_output_does_not_slow_the_recognition_of_a_camera() -> None:
    health = Health()
    outputs = {"slow": Recorder(0.2, is_record=True), "fast": Recorder()}
    run_stream(Clock(50, 0.01, is_live=True), SlowRecognizer(0.001), outputs, health)
    assert len(outputs["fast"].frames) >= 40
    assert len(outputs["slow"].frames) <= 8


def test_each_output_has_its_own_thread_and_is_closed_once() -> None:
    outputs = {name: Recorder(is_record=True) for name in ("a", "b")}
    source = Clock(5, 0, is_live=False)
    run_stream(source, SlowRecognizer(0), outputs)
    assert outputs["a"].threads != outputs["b"].threads
    assert threading.get_ident() not in outputs["a"].threads | outputs["b"].threads
    assert [output.closed for output in outputs.values()] == [1, 1]
    assert source.is_closed


def test_an_output_that_must_be_in_the_main_thread_is() -> None:
    output = Recorder(is_record=True)
    output.needs_main_thread = True
    run_stream(Clock(5, 0, is_live=False), SlowRecognizer(0), {"window": output})
    assert output.frames == list(range(5))
    assert output.threads == {threading.get_ident()}


def test_an_output_that_fails_is_told_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    health, good, bad = Health(), Recorder(is_record=True), Recorder(is_record=True, fails_at=2)
    with pytest.raises(OSError, match="no space left"):  # told again at the end, by the exit code
        run_stream(Clock(50, 0.001, is_live=False), SlowRecognizer(0), {"good": good, "bad": bad}, health)
    assert good.frames == list(range(50))
    assert (bad.frames, bad.closed) == ([0, 1], 1)
    assert health.outputs["bad"].error == "no space left"
    assert "output bad ended (no space left): the run goes on without it" in caplog.text


def test_when_the_only_output_fails_the_run_ends() -> None:
    health = Health()
    with pytest.raises(OSError, match="no space left"):
        run_stream(Clock(10**6, 0.001, is_live=True), SlowRecognizer(0), {"bad": Recorder(fails_at=2)}, health)
    assert health.state == "stopped"


def test_an_output_can_ask_for_the_end() -> None:
    output, other = Recorder(stops_at=3, is_record=True), Recorder(is_record=True)
    run_stream(Clock(10**6, 0.001, is_live=True), SlowRecognizer(0), {"window": output, "other": other})
    assert output.frames[-1] == 3
    assert other.closed == 1


def test_what_an_output_loses_later_is_counted_as_dropped() -> None:
    class Losing(Recorder):
        def write(self, image: Image, result: FrameResult) -> None:
            super().write(image, result)
            self.dropped += result.frame % 2
            seen.append(health.outputs["losing"].dropped)

        def close(self) -> None:
            self.dropped += 3

    health, seen = Health(), list[int]()
    run_stream(Clock(40, 0, is_live=False), SlowRecognizer(0), {"losing": Losing(0.001, is_record=True)}, health)
    assert health.outputs["losing"].dropped == 20 + 3
    assert 10 < seen[-1] <= 20  # while it runs, too; what waits in between is not yet counted


class SetClock(Source):
    """A camera, ten frames/s, while whose sixth frame somebody sets the clock."""

    is_live = True

    def __init__(self, images: list[Image], by_s: float, health: Health) -> None:
        self._images, self._by_s, self._health = images, by_s, health

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            while self._health.recognized < index:  # or a newer frame would take its place
                time.sleep(0.001)
            unix_s = 1.7e9 + index / 10 + (self._by_s if index >= 5 else 0)
            yield Frame(image, index, unix_s, taken_s=1000 + index / 10)


def ids_by_frame(images: list[Image], by_s: float) -> list[list[int]]:
    """Return the ids of the faces in each frame of a `SetClock`; the frames have the time of the clock."""
    health = Health()
    results = [result for _, result in Recognition(SetClock(images, by_s, health), EmotionRecognizer(), health)]
    assert [round(result.time_s - 1.7e9, 3) for result in results] == [
        round(index / 10 + (by_s if index >= 5 else 0), 3) for index in range(len(images))
    ]
    return [[face.track_id for face in result.faces] for result in results]


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_clock_that_is_set_loses_nobody(portrait: Image, by_s: float) -> None:
    wall = np.full_like(portrait, 127)
    ids = ids_by_frame([portrait] * 5 + [wall] + [portrait] * 5, by_s)  # he was missed in the very frame
    assert ids == [[1]] * 5 + [[]] + [[1]] * 5


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_clock_that_is_set_keeps_nobody_who_has_gone(portrait: Image, by_s: float) -> None:
    wall = np.full_like(portrait, 127)
    ids = ids_by_frame([portrait] * 5 + [wall] * 10 + [portrait] * 10, by_s)
    assert ids[:15] == [[1]] * 5 + [[]] * 10
    assert ids[-1] == [2]


class Broken(Clock):
    """A camera that is lost after some frames."""

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        raise OSError("the camera is gone")


def test_what_ends_the_source_is_told_after_all_is_written() -> None:
    output = Recorder(0.01, is_record=True)
    with pytest.raises(OSError, match="the camera is gone"):
        run_stream(Broken(10, 0, is_live=False), SlowRecognizer(0), {"record": output})
    assert output.frames == list(range(10))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_within_two_seconds_with_complete_files(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "faces.jsonl"
    outputs = ["--output", str(file), "--output", str(tmp_path / "a.mp4"), "--output", str(tmp_path / "faces.csv")]
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--realtime", *outputs]
    run = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not file.exists() or len(file.read_text().splitlines()) < 20:
        assert run.poll() is None
        time.sleep(0.02)
    started_s = time.monotonic()
    run.send_signal(number)
    _, errors = run.communicate(timeout=20)
    assert time.monotonic() - started_s < 2
    assert (run.returncode, errors) == (0, b"")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert 20 <= len(lines) < 250
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mp4", "faces.csv", "faces.jsonl"]
    assert (tmp_path / "faces.csv").read_text().endswith("\n")


def test_a_full_disk_ends_its_output_with_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    link = Path("/dev/full")
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl"]
    with open(link, "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "error: [Errno 28] No space left on device\n"


def test_a_program_loops_over_results_with_their_images() -> None:
    results = list(mien.stream("demo", max_faces=1))
    assert [result.frame for result in results] == list(range(250))
    assert results[0].faces[0].emotion == "happy"
    assert results[0].image is not None
    assert results[0].image.shape == (360, 480, 3)
    assert "image" not in results[0].to_dict()


def test_leaving_the_loop_ends_the_capture() -> None:
    before = threading.active_count()
    for result in mien.stream("demo", realtime=True):
        if result.frame >= 3:
            break
    deadline_s = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_slow_loop_gets_the_newest_frame_of_a_camera() -> None:
    numbers = []
    for result in mien.stream("demo", realtime=True):
        time.sleep(0.3)
        numbers.append(result.frame)
        if len(numbers) == 5:
            break
    assert min(np.diff(numbers)[1:]) >= 5  # 25 frames/s: seven or eight in 0.3 s


def test_a_wrong_setting_of_a_program_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown setting max_face: did you mean max_faces\?"):
        next(mien.stream("demo", max_face=1))


def test_a_channel_hands_on_in_order_and_wakes_who_waits() -> None:
    channel: Channel[int] = Channel(2, is_lossless=True)
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.extend(iter(channel.get, None)))
    taker.start()
    assert sum(channel.put(number) for number in range(100)) == 0
    channel.close()
    taker.join(timeout=5)
    assert taken == list(range(100))
    assert channel.is_finished
    assert channel.put(1) == 1


def test_a_full_channel_drops_the_oldest() -> None:
    channel: Channel[int] = Channel(2, is_lossless=False)
    assert [channel.put(number) for number in range(5)] == [0, 0, 1, 1, 1]
    assert [channel.get(), channel.get(), channel.get(timeout_s=0.01)] == [3, 4, None]


def test_a_run_writes_no_file_and_opens_no_connection_unless_told_so(tmp_path: Path) -> None:
    strace = require_program("strace", "strace")
    if subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("this container does not let strace look at other processes")
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--output", "jsonl"]
    trace = tmp_path.with_suffix(".trace")
    calls = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,connect,bind,sendto,sendmsg"
    result = subprocess.run(
        [strace, "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace), *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 250
    assert max(map(len, result.stdout.splitlines())) < 1000  # no pixels
    assert list(tmp_path.rglob("*")) == []
    lines = trace.read_text().splitlines()
    assert len(lines) > 100  # all files that Python reads
    changing = [line for line in lines if "O_RDONLY" not in line and " = -1 " not in line]
    # The files that are written to: what native libraries say at the start, without a name, and before it, one by
    # which `tempfile` finds out whether a folder can be written to; both are gone.
    assert len(changing) <= 2
    assert all(re.search(rf'"{tmp_path}.*", O_RDWR\|(O_CREAT\|O_EXCL|O_EXCL.*O_TMPFILE)', line) for line in changing)


def stop_soon() -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("is_live", [False, True])
def test_an_output_that_hangs_is_told_and_the_others_are_finished_in_time(is_live: bool) -> None:
    good, hung, source = Recorder(is_record=True), Recorder(60, is_record=True), Clock(10**6, 0.005, is_live)
    stop_soon()
    started_s = time.monotonic()
    with pytest.raises(TimeoutError, match=r"output hung did not finish within 1\.5 s"):
        run_stream(source, SlowRecognizer(0.001), {"hung": hung, "good": good})
    assert time.monotonic() - started_s < 0.3 + 2
    assert good.closed == 1
    assert good.frames[:3] == [0, 1, 2]
    assert source.is_closed


class Hanging(Source):
    """Gives frames for a while, and then hangs in its driver, as does who closes it."""

    def __init__(self, is_live: bool) -> None:
        self.is_live = is_live
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(10):
            yield Frame(IMAGE, index, index / 30)
        with self._lock:
            time.sleep(60)

    def close(self) -> None:
        with self._lock:
            pass


@pytest.mark.parametrize("is_kept_open", [False, True])
def test_a_source_and_an_output_that_hang_together_cost_no_more_than_one(is_kept_open: bool) -> None:
    good, hung = Recorder(is_record=True), Recorder(60)
    source = ReconnectingSource(lambda: Hanging(is_live=True)) if is_kept_open else Hanging(is_live=False)
    stop_soon()
    started_s = time.monotonic()
    with pytest.raises(TimeoutError, match="output hung did not finish"):
        run_stream(source, SlowRecognizer(0), {"good": good, "hung": hung})
    assert time.monotonic() - started_s < 0.3 + 2
    assert good.closed == 1


def test_the_state_of_a_run_is_told_before_its_outputs_are_closed() -> None:
    class Curious(Recorder):
        def close(self) -> None:
            super().close()
            states.append(health.state)

    health, states = Health(), list[str]()
    run_stream(Clock(5, 0, is_live=False), SlowRecognizer(0), {"curious": Curious(is_record=True)}, health)
    assert states == ["stopped"]


def test_a_channel_that_nobody_may_wait_for_keeps_what_it_has() -> None:
    channel: Channel[int] = Channel(2, is_lossless=True)
    giver = threading.Thread(target=lambda: lost.extend(map(channel.put, range(4))))
    lost: list[int] = []
    giver.start()
    giver.join(timeout=0.1)
    assert giver.is_alive()
    channel.end_waiting()
    giver.join(timeout=5)
    assert lost == [0, 0, 1, 1]
    assert [channel.get(), channel.get()] == [0, 1]


def test_a_run_that_has_stopped_stays_so_whichever_thread_tells_otherwise() -> None:
    class Slow(str):
        """A state that takes its time to be compared, so that another thread comes in between."""

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            time.sleep(0.05)
            return str.__eq__(self, other)

    health = Health(state=Slow("waiting"))
    source = threading.Thread(target=health.set_source, args=("running",))
    source.start()
    health.set_source("stopped")
    source.join()
    assert health.state == "stopped"
