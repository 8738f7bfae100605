"""A hot board and a budget slow a stream step by step, say so, and let it go again, without swinging to and fro."""

import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mien.cli import main
from mien.config import Config
from mien.detectors import HaarDetector
from mien.faces import Image
from mien.health import Health
from mien.pace.controller import COOL_C, FEWEST_FRAMES_PER_S, HOT_C, LONGEST_INTERVAL_S, Controller, Load, Timing
from mien.pace.ladder import Ladder
from mien.pace.pacer import Pacer, make_pacer
from mien.recognizer import EmotionRecognizer
from mien.sources import DEMO_CLIP
from mien.sources.base import Frame, Source
from mien.streaming import run_stream
from tests.edge.test_streaming import Clock, Recorder

UNDER_VOLTAGE, THROTTLING, EARLIER = 0b1, 0b100, 0xF0000


class Board:
    """A model of a Raspberry Pi that recognises: what a frame costs at a pace, and how warm that makes it.

    Args:
        search_ms: of the whole frame in 320 pixels, on one of four cores.
        frame_ms: the rest of a frame's work: known faces, classification.
        capture_percent: of one core, whatever is recognised.
        full_load_c: temperature to which it goes at full load of one core.
    """

    def __init__(
        self, search_ms: float = 120, frame_ms: float = 15, capture_percent: float = 10, full_load_c: float = 95
    ) -> None:
        self.search_ms, self.frame_ms, self.capture_percent = search_ms, frame_ms, capture_percent
        self.full_load_c, self.processor_c, self.noise = full_load_c, 50.0, np.random.default_rng(0)

    def run(self, controller: Controller, camera_fps: float, seconds: float) -> list[tuple[float, Load, float, int]]:
        """Return (time, load, temperature, level) of every two seconds."""
        history = []
        for now_s in np.arange(0, seconds, 2.0):
            pace = controller.pace
            offered = min(camera_fps, 1 / pace.period_s if pace.period_s else math.inf)
            # Each second holds so much search, and so much work for each frame.
            search = self.search_ms / 1000 * (pace.detect_side / 320) ** 2 / pace.detect_interval_s
            fps = min(offered, max(0.5, (1 - search) / (self.frame_ms / 1000))) * self.noise.uniform(0.97, 1.03)
            busy = min(1.0, search + fps * self.frame_ms / 1000)
            cpu = 100 * busy * self.noise.uniform(0.96, 1.04) + self.capture_percent
            goal_c = 40 + (self.full_load_c - 40) * busy
            self.processor_c += (goal_c - self.processor_c) * 2 / 120  # a heat sink's two minutes
            load = Load(camera_fps, fps, busy, cpu / 4)
            controller.look_at_load(now_s, load)
            controller.look_at_board(now_s, round(self.processor_c, 1), 0)
            history.append((float(now_s), load, self.processor_c, controller.level))
        return history


def changes(history: list[tuple[float, Load, float, int]], after_s: float) -> int:
    """Return how often the level changed after a time."""
    return sum(old[3] != new[3] for old, new in pairwise(history) if new[0] > after_s)


def look(controller: Controller, now_s: float, processor_c: float | None = None, flags: int | None = None) -> int:
    controller.look_at_board(now_s, processor_c, flags)
    return controller.level


def test_a_hot_board_is_searched_less_first_and_then_frames_are_left_out() -> None:
    controller, usual = Controller(0.5, 320), Load(30, 20, 1.0, 50)
    controller.look_at_load(0, usual)
    paces = [controller.pace]
    for step in range(8):
        look(controller, 1000 + 30 * step, HOT_C)
        paces.append(controller.pace)
    intervals = [pace.detect_interval_s for pace in paces]
    assert intervals[:4] == [0.5, 1, 2, 4]
    assert [pace.period_s for pace in paces[:3]] == [0, 0, 0]
    assert paces[-1].period_s == pytest.approx(1 / (0.25 * 20))  # of what it managed before
    assert (controller.level, controller.reason, paces[-1]) == (6, "78 °C", paces[-2])


def test_a_board_that_stays_hot_is_given_time_between_two_steps() -> None:
    controller = Controller(0.5, 320)
    assert [look(controller, now_s, 84) for now_s in range(0, 45, 5)] == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_a_board_recovers_a_step_at_a_time_when_it_has_been_cool_for_a_while() -> None:
    controller = Controller(0.5, 320)
    for now_s in (0, 30):
        look(controller, now_s, 81)
    assert [look(controller, 100 + now_s, COOL_C) for now_s in range(0, 600, 60)] == [2] * 10  # neither hot nor cool
    levels = [look(controller, 1000 + now_s, COOL_C - 0.1) for now_s in range(0, 130, 10)]
    assert levels == [2] * 6 + [1] * 6 + [0]
    assert controller.pace == Controller(0.5, 320).pace
    assert controller.reason == ""


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(UNDER_VOLTAGE, "under-voltage"), (THROTTLING | 0b10, "a capped clock, throttling"), (0b1000, "the soft temp")],
)
def test_what_the_firmware_complains_of_now_slows_without_a_thermometer(flags: int, reason: str) -> None:
    controller = Controller(0.5, 320)
    assert look(controller, 0, None, flags | EARLIER) == 1
    assert controller.reason.startswith(reason)
    assert look(controller, 10, None, EARLIER) == 1
    assert look(controller, 70, None, EARLIER) == 0


@pytest.mark.parametrize("flags", [None, 0, EARLIER])
def test_what_the_firmware_complained_of_earlier_slows_nothing(flags: int | None) -> None:
    assert look(Controller(0.5, 320), 0, 60, flags) == 0


@pytest.mark.parametrize("full_load_c", [60, 80, 85, 95, 110])
def test_the_heat_of_a_simulated_board_settles(full_load_c: float) -> None:
    controller = Controller(0.25, 320)
    history = Board(full_load_c=full_load_c).run(controller, 30, 4 * 3600)
    assert (
        changes(history, 2 * 3600) <= 4
    )  # a recovery that fails is tried again later and later, in the end once an hour
    assert max(processor_c for now_s, _, processor_c, _ in history if now_s > 1800) < 80
    assert (controller.level > 0) == (full_load_c > 80)


def test_a_recovery_that_fails_doubles_the_time_to_the_next() -> None:
    ladder, recovered_s = Ladder(3, 0, 10, 30, 100), list[float]()
    for now_s in np.arange(0, 1000.0):
        if ladder.level == 0:
            ladder.slow_down(now_s)
        elif ladder.recover(now_s):
            recovered_s.append(now_s)
    pauses = np.diff(recovered_s)
    assert list(pauses[:3].round(-1)) == [20, 40, 80]
    assert max(pauses) <= 102  # the most, and the seconds in which it steps


@pytest.mark.parametrize("target_fps", [10, 15, 25])
def test_a_target_is_met_with_less_search_and_more_comes_back_when_there_is_room(target_fps: float) -> None:
    # Searching eats up the time: as configured it manages some 8 frames/s.
    controller, board = Controller(0.5, 640, target_fps), Board(search_ms=100, frame_ms=30, full_load_c=60)
    history = board.run(controller, 30, 600)
    rates = [load.frames_per_s for now_s, load, _, _ in history if now_s > 60]
    assert np.mean(rates) == pytest.approx(target_fps, rel=0.05)
    assert changes(history, 120) <= 4
    assert 0 < controller.level <= 11
    assert controller.reason == f"below {target_fps:g} frames/s"
    board.search_ms, board.frame_ms = 10, 5
    board.run(Controller(0.5, 640, target_fps), 30, 10)
    later = [(now_s + 600, *rest) for now_s, *rest in board.run(controller, 30, 1200)]
    assert later[-1][-1] == 0 == controller.level


def test_a_board_on_which_searching_eats_up_the_time_shows_ten_frames_a_second_with_no_flag() -> None:
    controller, board = Controller(0.5, 320), Board(search_ms=700, frame_ms=40, full_load_c=60)
    history = board.run(controller, 30, 600)
    assert history[0][1].frames_per_s < 1
    rates = [load.frames_per_s for now_s, load, _, _ in history if now_s > 60]
    assert np.mean(rates) == pytest.approx(12, abs=4)
    assert changes(history, 120) <= 4
    assert controller.reason == "below 10 frames/s"
    assert controller.pace.period_s == 0


def test_a_machine_that_is_fast_enough_is_not_slowed_and_one_that_was_slow_gets_all_back() -> None:
    controller = Controller(0.5, 320)
    Board(search_ms=120, frame_ms=40, full_load_c=60).run(controller, 30, 300)
    assert (controller.level, controller.reason) == (0, "")  # some 19 frames/s of 30
    Board(search_ms=700, frame_ms=40, full_load_c=60).run(controller, 30, 300)
    assert controller.level > 0
    later = Board(search_ms=20, frame_ms=5, full_load_c=60)
    for start_s in (300, 900):  # the time goes on, the controller knows it
        for now_s in np.arange(start_s, start_s + 600, 2.0):
            controller.look_at_load(float(now_s), later.run(Controller(0.5, 320), 30, 2)[0][1])
    assert controller.level == 0


def test_a_camera_that_is_slower_than_the_target_is_not_blamed_on_the_search() -> None:
    controller = Controller(0.5, 320, target_fps=30)
    Board(search_ms=10, frame_ms=5, full_load_c=60).run(controller, 8, 120)
    assert (controller.level, controller.reason) == (0, "")


@pytest.mark.parametrize("max_cpu", [8, 12, 18, 25])
def test_the_processor_time_of_a_simulated_board_stays_below_its_limit_and_settles(max_cpu: float) -> None:
    controller, board = Controller(0.5, 320, max_cpu=max_cpu), Board(full_load_c=60)
    history = board.run(controller, 30, 900)
    late = [load.cpu_percent for now_s, load, _, _ in history if now_s > 60]
    usual = Board(full_load_c=60).run(Controller(0.5, 320), 30, 60)[-1][1].cpu_percent
    assert usual > 18
    assert np.mean(late) <= max_cpu
    if max_cpu < 18:
        assert np.mean(late) >= 0.8 * max_cpu
        assert controller.reason == f"max_cpu {max_cpu:g} %"
    assert changes(history, 120) <= 4


def test_a_limit_is_kept_by_less_search_before_a_frame_is_left_out() -> None:
    controller, board = Controller(0.5, 320, max_cpu=16), Board(full_load_c=60)
    board.run(controller, 30, 300)
    assert controller.pace.detect_interval_s > 0.5
    assert controller.pace.period_s == 0
    controller = Controller(0.5, 320, max_cpu=6)
    board.run(controller, 30, 300)
    assert controller.pace.detect_side == 160
    assert controller.pace.period_s > 1 / 30


def test_target_and_limit_hold_together() -> None:
    controller = Controller(0.5, 320, target_fps=15, max_cpu=9)
    history = Board(full_load_c=60).run(controller, 30, 600)[60:]
    assert max(load.frames_per_s for _, load, _, _ in history) < 15.5
    assert 0.8 * 9 <= np.mean([load.cpu_percent for _, load, _, _ in history]) <= 9


def test_a_limit_below_what_the_capture_takes_leaves_a_frame_a_second_and_is_told() -> None:
    controller = Controller(0.5, 320, max_cpu=2)
    Board(full_load_c=60).run(controller, 30, 120)
    assert controller.pace.period_s == 1 / FEWEST_FRAMES_PER_S
    assert controller.cannot_hold


def test_heat_and_budget_do_not_add_up_and_heat_keeps_the_budgets_step() -> None:
    controller = Controller(0.5, 320, max_cpu=16)
    Board(full_load_c=60).run(controller, 30, 300)
    before = controller.pace
    look(controller, 1000, 80)
    assert controller.pace.detect_interval_s == max(1.0, before.detect_interval_s)
    assert controller.reason == "80 °C, max_cpu 16 %"
    for now_s in range(1000, 1060, 2):
        controller.look_at_load(now_s, Load(30, 30, 0.1, 1))
    assert controller.reason == "80 °C, max_cpu 16 %"


@pytest.mark.parametrize(
    ("interval_s", "side", "expected"),
    [(0.5, 320, (4, 160)), (0, 320, (2, 160)), (2, 640, (LONGEST_INTERVAL_S, 320)), (20, 120, (20, 120))],
)
def test_no_step_makes_a_search_useless(interval_s: float, side: int, expected: tuple[float, int]) -> None:
    controller = Controller(interval_s, side, max_cpu=1)
    for now_s in range(0, 60, 2):
        controller.look_at_load(now_s, Load(30, 30, 1, 25))
    assert (controller.pace.detect_interval_s, controller.pace.detect_side) == expected


def test_without_budget_and_heat_every_frame_is_taken_as_configured() -> None:
    controller = Controller(0, 320)
    Board(full_load_c=60).run(Controller(0.5, 320), 30, 60)
    controller.look_at_load(0, Load(30, 3, 1, 100))
    pacer = Pacer(controller, Health())
    assert all(pacer.takes(now_s) for now_s in np.repeat(np.arange(0, 10, 0.01), 2))
    assert (controller.pace.detect_interval_s, controller.pace.detect_side, controller.level) == (0, 320, 0)


@pytest.mark.parametrize(
    ("camera_fps", "target_fps", "expected"), [(25, 10, 10), (30, 15, 15), (30, 29, 29), (8, 10, 8)]
)
def test_frames_are_left_out_evenly_until_the_target_is_met(
    camera_fps: float, target_fps: float, expected: float
) -> None:
    pacer, rng = Pacer(Controller(0.5, 320, target_fps), Health()), np.random.default_rng(0)
    times_s = np.arange(0, 60, 1 / camera_fps) + rng.uniform(-0.005, 0.005, 60 * int(camera_fps))
    taken_s = [time_s for time_s in times_s if pacer.takes(time_s)]
    assert len(taken_s) / 60 == pytest.approx(expected, rel=0.02)
    assert max(np.diff(taken_s)) < 1 / target_fps + 1 / camera_fps + 0.011


def test_after_a_pause_of_the_camera_frames_are_not_made_up_for() -> None:
    pacer = Pacer(Controller(0.5, 320, 10), Health())
    assert pacer.takes(0)
    taken = [pacer.takes(60 + index / 100) for index in range(100)]
    assert sum(taken) <= 11


def test_the_effort_of_a_recognizer_changes_between_two_frames(portrait: Image) -> None:
    detector = HaarDetector(320)
    recognizer = EmotionRecognizer(detector=detector)
    (before,) = recognizer.recognize(portrait, 0.0)
    steps = detector.count_steps(portrait.shape[:2])
    recognizer.set_effort(4.0, 160)
    assert detector.count_steps(portrait.shape[:2]) < 0.6 * steps
    (after,) = recognizer.recognize(portrait, 0.04)
    assert after.track_id == before.track_id
    recognizer.set_effort(0.5, 320)
    assert detector.count_steps(portrait.shape[:2]) == steps
    recognizer.reset()
    assert recognizer.recognize(portrait, 0.0)[0].box == before.box


class Endless(Source):
    """A camera that shows one picture until a test has seen enough."""

    is_live = True

    def __init__(self, image: Image, frame_rate: float, has_seen_enough: Callable[[], bool]) -> None:
        self._image, self._rate, self._is_enough = image, frame_rate, has_seen_enough

    def __iter__(self) -> Iterator[Frame]:
        started_s, index = time.monotonic(), 0
        while not self._is_enough():
            time.sleep(max(0.0, started_s + index / self._rate - time.monotonic()))
            yield Frame(self._image, index, time.time())
            index += 1


def make_raspberry(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, str], None]:
    """Make a folder like / of a Raspberry Pi and a `vcgencmd` on PATH; return what sets temperature and flags."""
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    programs, answer = root / "bin", root / "throttled"
    programs.mkdir()
    (programs / "vcgencmd").write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] && cat {answer}\n')
    (programs / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def set_board(processor_c: float, flags: str) -> None:
        for file, text in ((zone / "temp", f"{processor_c * 1000:.0f}\n"), (answer, f"throttled={flags}\n")):
            file.with_suffix(".new").write_text(text)
            file.with_suffix(".new").replace(file)  # never half a number

    return set_board


def test_a_stream_on_a_hot_board_is_slowed_says_so_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, portrait: Image
) -> None:
    caplog.set_level(logging.INFO, logger="mien")
    set_board = make_raspberry(tmp_path, monkeypatch)
    set_board(55, "0x0")
    timing = Timing(tick_s=0.1, heat_tick_s=0.1, heat_pause_s=0.3, heat_calm_s=0.3, heat_probation_s=0.1)
    health, detector, seen = Health(), HaarDetector(), list[tuple[str, int, str]]()
    recognizer = EmotionRecognizer(detector=detector)
    pacer = Pacer(Controller(0.5, 320, timing=timing), health, timing, tmp_path)
    is_over = threading.Event()

    def wait(is_reached: Callable[[], bool], name: str) -> None:
        deadline_s = time.monotonic() + 15
        while not is_reached() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        seen.append((name, health.slowed_level, health.slowed))

    def play() -> None:
        wait(lambda: health.recognized > 20, "cool")
        set_board(81.2, "0x0")
        wait(lambda: health.slowed_level >= 2, "hot")
        set_board(75, "0x50005")
        wait(lambda: "under-voltage" in health.slowed, "weak")
        wait(lambda: health.skipped > 5, "very slow")
        set_board(60, "0x50000")
        wait(lambda: "recovering" in health.slowed, "recovering")
        wait(lambda: not health.slowed, "well")
        is_over.set()

    director = threading.Thread(target=play)
    director.start()
    run_stream(Endless(portrait, 30, is_over.is_set), recognizer, {"recorder": Recorder()}, health, pacer)
    director.join()
    assert seen[0] == ("cool", 0, "")
    assert seen[1] == ("hot", 2, "81 °C")
    assert seen[2][1:] == (3, "under-voltage, throttling")
    assert seen[3][1] > 3
    assert seen[4][2] == "recovering from under-voltage, throttling"
    assert seen[5] == ("well", 0, "")
    assert health.captured == health.recognized + health.dropped + health.skipped
    told = [record.getMessage() for record in caplog.records if record.name.startswith("mien.pace")]
    assert told[0] == "slowed to level 1 (81 °C): the whole frame is searched once in 1 s"
    assert told[-1] == "not slowed any more (it was: recovering from under-voltage, throttling)"
    assert len(told) == len(set(told)) <= 14  # once for each step up and down
    levels = [record.levelname for record in caplog.records if record.name.startswith("mien.pace")]
    assert levels[0] == "WARNING"
    assert levels[-1] == "INFO"
    assert pacer.pace == Controller(0.5, 320).pace


def test_a_vcgencmd_that_hangs_delays_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait: Image
) -> None:
    make_raspberry(tmp_path, monkeypatch)(50, "0x0")
    (tmp_path / "bin/vcgencmd").write_text("#!/bin/sh\nexec sleep 2\n")
    monkeypatch.setattr("mien.device.COMMAND_S", 2.0)
    health = Health()
    source = Endless(portrait, 100, lambda: health.captured >= 60)
    pacer = Pacer(Controller(0.5, 320), health, Timing(), tmp_path)
    started_s = time.monotonic()
    run_stream(source, EmotionRecognizer(), {"recorder": Recorder()}, health, pacer)
    assert time.monotonic() - started_s < 1.8


def test_a_board_that_is_no_raspberry_pi_may_be_warm(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("95000\n")
    health, timing = Health(), Timing(tick_s=0.05, heat_tick_s=0.05)
    pacer = Pacer(Controller(0.5, 320, timing=timing), health, timing, tmp_path)
    pacer.start()
    time.sleep(0.3)
    pacer.stop()
    assert health.slowed_level == 0


def test_a_file_is_never_slowed_and_a_budget_for_it_is_told_to_be_none(caplog: pytest.LogCaptureFixture) -> None:
    file, camera = Clock(1, 0, is_live=False), Clock(1, 0, is_live=True)
    assert make_pacer(Config(), file, Health()) is None
    assert not caplog.records
    assert make_pacer(Config(target_fps=10), file, Health()) is None
    assert "target_fps and max_cpu are for cameras" in caplog.text
    assert make_pacer(Config(), camera, Health()) is not None  # heat is watched always


def test_a_target_leaves_out_frames_of_a_clip_that_is_played_like_a_camera(tmp_path: Path) -> None:
    file = tmp_path / "faces.jsonl"
    settings = ["--realtime", "--target-fps", "10", "--output", str(file)]
    result = subprocess.run(
        [sys.executable, "-m", "mien", "run", "--source", str(DEMO_CLIP), *settings], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    times_s = [json.loads(line)["time"] for line in file.read_text().splitlines()]
    assert 5 < (len(times_s) - 1) / (times_s[-1] - times_s[0]) < 10.5  # a busy machine manages less


def test_a_budget_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "demo", "--max-cpu", "150"]) == 2
    assert "max_cpu is 150.0 (--max-cpu): allowed is 0 to 100" in capsys.readouterr().err
