"""A board tells in a block of Markdown how fast it is; what is expected of one is computed, and scales as it should."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from benchmarks import board
from benchmarks.__main__ import main
from benchmarks.boards import BOARDS, Range
from benchmarks.clips import load_clip
from benchmarks.expectation import SETTINGS, Setting, expect, expected, frame_ms, gather_inputs, thread_factor
from benchmarks.record import RESULTS, read_record
from benchmarks.runtimes import REPOSITORY, environment
from benchmarks.search_work import counted_search, finder_adds_a_pixel, whole_pass_pixels
from mien.card import DEFAULT_MODEL
from mien.detectors.finder import REGION, FinderDetector
from mien.faces import Image
from mien.pace.controller import ENOUGH_FRAMES_PER_S
from mien.recognizer import EmotionRecognizer
from train.complexity import measure_complexity
from train.models.finder import build

PAGE = REPOSITORY / "docs" / "devices.md"
FIRMWARE = """#!/bin/sh
case "$*" in get_throttled) echo throttled=0x50000;; *) echo "frequency(48)=1500000000";; esac
"""
INPUTS: dict[str, Any] = {
    "multiply_adds": {DEFAULT_MODEL: 40_000_000, "cnn_int8": 340_000_000},
    "clip": "made up",
    "search": {str(side): {"near_madds_a_frame": 10.0, "whole_madds_a_s": 2.5 * side} for side in (320, 640)},
    "rest_passes": 0.01,
    "memory_mb": 100.0,
}
DEFAULT = SETTINGS[0]


@pytest.fixture(scope="module")
def block_and_record(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Return what a short run on a board with a firmware prints, without TensorFlow, SciPy and matplotlib."""
    folder = tmp_path_factory.mktemp("board")
    firmware = folder / "vcgencmd"
    firmware.write_text(FIRMWARE)
    firmware.chmod(0o755)
    missing = "sys.modules.update(dict.fromkeys(['tensorflow', 'scipy', 'matplotlib', 'keras']))"
    arguments = ["board", "--seconds", "0.5", "--json", str(folder / "board.json")]
    code = f"import sys; {missing}; from benchmarks.__main__ import main; sys.exit(main({arguments!r}))"
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment() | path, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n\n", 1)[1], json.loads((folder / "board.json").read_text())


def cells_of(block: str, first: str) -> list[list[str]]:
    """Return the cells behind each row's first one."""
    return [line.strip("| ").split(" | ")[1:] for line in block.splitlines() if line.startswith(f"| {first} |")]


def test_the_block_names_the_board_and_its_condition(block_and_record: tuple[str, dict[str, Any]]) -> None:
    block, record = block_and_record
    assert block.startswith("### ")
    machine = record["machine"]
    assert cells_of(block, "processor") == [[machine["processor"]]]
    assert cells_of(block, "Python, numpy") == [[f"{machine['python']}, {machine['numpy']}"]]
    assert cells_of(block, "OpenCV")[0][0] in (machine.get("opencv-python"), machine.get("opencv-python-headless"))
    assert re.fullmatch(r"(ai-edge-litert|tflite-runtime) \d\S+", cells_of(block, "runtime")[0][0])
    assert cells_of(block, "throttled before / after") == [["0x50000 / 0x50000"]]
    assert cells_of(block, "MHz before / after") == [["1500 / 1500"]]
    for name in ("board", "cores", "memory", "system", "mien", "governor", "°C before / after"):
        assert len(cells_of(block, name)) == 1, name


def test_every_figure_can_be_read_back_from_the_block(block_and_record: tuple[str, dict[str, Any]]) -> None:
    block, record = block_and_record
    results, cores = record["results"], len(os.sched_getaffinity(0))
    assert [int(threads) for threads, _, _ in cells_of(block, DEFAULT_MODEL)] == list(range(1, cores + 1))
    for what in (DEFAULT_MODEL, board.HAAR_PASS, board.WHOLE, board.NEAR):
        rows = [row for row in results["classify"] + results["search"] if row["what"] == what]
        assert rows
        for (threads, median, p95), row in zip(cells_of(block, what), rows, strict=True):
            assert int(threads) == row["threads"]
            assert float(median) == pytest.approx(row["median_ms"], abs=0.006)
            assert 0 < float(median) <= float(p95)
    for run in results["runs"]:
        (cells,) = cells_of(block, str(run["threads"]))
        as_file, live, dropped, median_ms, p95_ms, cpu, memory = (float(cell.rstrip("%")) for cell in cells)
        assert as_file == pytest.approx(run["memory"]["frames_per_s"], abs=0.06)
        assert 0 < live <= 25.1  # the clip's 25
        assert dropped == run["live"]["dropped"]
        assert 0 < median_ms <= p95_ms
        assert cpu > 0
        assert 50 < memory < 400
    assert [run["threads"] for run in results["runs"]] == [count for count in (1, 2, 4) if count <= cores]
    work = results["work"]
    assert f"{work['madds_a_frame']:.1f} M multiply-adds a frame: expected {work['expected_ms']:.1f} ms" in block
    assert f"measured {work['measured_ms']:.1f} ms" in block
    assert 0 < work["madds_a_frame"] < 200
    assert work["expected_ms"] == pytest.approx(work["madds_a_frame"] / work["gmadds_a_s"], rel=0.01)
    assert f"{results['process']['peak_mb']:.0f} MB at most" in block


def test_a_run_on_a_throttled_board_is_marked(block_and_record: tuple[str, dict[str, Any]]) -> None:
    block, record = block_and_record
    assert "Invalid" not in block  # what had been before the run does it no harm
    results = record["results"]
    hot = board.table(results | {"after": results["after"] | {"throttled": "0x50004"}})
    assert "**Invalid:** the run ended with throttling (throttled 0x50004)." in hot.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--seconds", "0"], "error: --seconds 0: allowed is more than 0"), (["--source", "no.mp4"], "error: no clip at")],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", *arguments]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("shape", "pixels"), [((19, 300), 0), ((20, 30), 20 * 30), ((22, 30), 22 * 30 + 20 * 27)], ids=str
)
def test_the_pixels_of_a_haar_pass_are_those_of_all_scaled_copies(shape: tuple[int, int], pixels: int) -> None:
    assert whole_pass_pixels(shape) == pixels


def test_a_search_around_a_face_is_told_from_one_of_the_whole_frame(portrait: Image) -> None:
    gray, detector = np.ascontiguousarray(portrait[:, :, 1]), FinderDetector()
    with counted_search(detector) as counts:
        (box,) = detector.detect(gray)
        looks = counts.whole
        first, second = (round(finder_adds_a_pixel() * pixels) for pixels in (320 * 256, REGION**2))
        assert counts.near == 0
        assert looks > first and (looks - first) % second == 0  # likely places are looked at once more
        assert detector.detect_near(gray, box, 0.3, is_known=True)
    assert counts.near == round(finder_adds_a_pixel() * REGION**2)
    assert counts.near < counts.whole / 5
    detector.detect(gray)
    assert counts.whole == looks  # nobody counts any longer


def test_the_finder_has_the_multiply_adds_that_keras_has() -> None:
    assert finder_adds_a_pixel() * 256 * 320 == pytest.approx(measure_complexity(build(256, 320)).multiply_adds)


def test_boards_are_ordered_and_ranges_go_up() -> None:
    rows = [expect(each, INPUTS, DEFAULT) for each in BOARDS]
    assert [row["board"].removeprefix("Raspberry Pi ") for row in rows] == ["Zero 2 W", "3 B+", "4 B", "5"]
    for slow, fast in pairwise(rows):
        for end in (0, 1):
            assert slow["frames_per_s"][end] <= fast["frames_per_s"][end] <= 30
            for model in INPUTS["multiply_adds"]:
                assert slow["classify_ms"][model][end] > fast["classify_ms"][model][end]
    for row in rows:
        for low, high in (row["detect_ms"], *row["classify_ms"].values()):
            assert 0 < low < high
    assert rows[0]["frames_per_s"][0] < rows[-1]["frames_per_s"][0]


def test_a_model_of_twice_the_multiply_adds_takes_twice_as_long() -> None:
    double = INPUTS | {"multiply_adds": {DEFAULT_MODEL: 80_000_000, "cnn_int8": 340_000_000}}
    for each in BOARDS:
        once, twice = (expect(each, inputs, DEFAULT)["classify_ms"][DEFAULT_MODEL] for inputs in (INPUTS, double))
        assert twice == pytest.approx([2 * end for end in once], rel=0.06)  # both have two digits


def test_more_threads_and_fewer_pixels_are_faster() -> None:
    for each in BOARDS:
        default, threads, pixels = (expect(each, INPUTS, setting) for setting in SETTINGS)
        for fast, slow in ((threads, default), (threads, pixels)):
            assert fast["frames_per_s"][0] >= slow["frames_per_s"][0] >= ENOUGH_FRAMES_PER_S
        assert threads["detect_ms"][1] < default["detect_ms"][1]
    assert thread_factor(4) == pytest.approx(Range(1.0, 1.0))
    assert thread_factor(1) == pytest.approx(Range(3.1, 4.0))


def test_a_slow_board_is_expected_to_search_less_by_itself_until_there_are_enough_frames() -> None:
    much = {"320": {"near_madds_a_frame": 10.0, "whole_madds_a_s": 8000.0}}
    slowest = expect(BOARDS[0], INPUTS | {"search": much}, DEFAULT)
    assert slowest["frames_per_s"][0] >= ENOUGH_FRAMES_PER_S
    assert slowest["frames_per_s"][0] < 1.5 * ENOUGH_FRAMES_PER_S  # no more than that is given up


def test_published_figures_stand_behind_the_expectation() -> None:
    """A Pi 4 takes 24 to 40 ms for MobileNet V1 in int8, and 95 to 122 for a pass, on four threads."""
    assert [569 / end for end in BOARDS[2].gmacs_per_s] == pytest.approx([40.3, 24])
    assert BOARDS[2].pass_ms == (95, 122)
    row = expect(BOARDS[2], INPUTS | {"multiply_adds": {DEFAULT_MODEL: 569_000_000}}, Setting(4, 320))
    low, high = row["classify_ms"][DEFAULT_MODEL]
    assert 24 < low < 40 < high < 80


def test_independent_uncertainties_do_not_pile_up() -> None:
    once = Range(1, 4)
    assert once.times(Range(3, 3)) == pytest.approx((3, 12))
    low, high = once.times(once)
    assert low * high == pytest.approx(16)  # the middle: 2 x 2
    assert high / low == pytest.approx(4**2**0.5)  # and not 16
    assert Range(8, 8).per(once) == pytest.approx((2, 8))


def test_a_slow_board_pays_for_the_whole_frame_in_each_of_its_fewer_frames() -> None:
    assert frame_ms(10, 300) == pytest.approx(10 + 300 / 30)  # keeps up with 30 frames/s
    assert frame_ms(30, 500) == pytest.approx(60)  # 30 of its own, and half of the 60 ms since the last frame
    assert frame_ms(30, 990) == pytest.approx(30 + 495)  # one whole search at most
    assert frame_ms(30, 2000) == pytest.approx(30 + 1000)


@pytest.mark.parametrize(("madd_ms", "rest_ms"), [(0.5, 15), (1.5, 20)])
def test_the_formula_is_near_what_mien_does_when_time_goes_as_on_a_slow_board(madd_ms: float, rest_ms: float) -> None:
    clip, detector = load_clip("demo", 250), FinderDetector()
    recognizer = EmotionRecognizer(detector=detector)
    now_s, frames = 0.0, 0
    with counted_search(detector) as counts:
        while now_s < clip.length_s:
            before = counts.near + counts.whole
            recognizer.recognize(clip.frames[int(now_s / clip.length_s * len(clip.frames))].image, now_s)
            search_ms = (counts.near + counts.whole - before) / 1e6 * madd_ms
            now_s, frames = now_s + max(1 / 30, (search_ms + rest_ms) / 1000), frames + 1
    search = read_record(RESULTS / "board_expected.json")["results"]["inputs"]["search"]["320"]
    formula_ms = frame_ms(search["near_madds_a_frame"] * madd_ms + rest_ms, search["whole_madds_a_s"] * madd_ms)
    # The formula takes the clip's mean for each moment of it; where whole frames take nearly all time, it is too low.
    assert 1 / 1.5 < 1000 / formula_ms / (frames / now_s) < 1.5


def test_the_page_shows_what_is_expected() -> None:
    results = read_record(RESULTS / "board_expected.json")["results"]
    assert expected(results["inputs"]) == results, "python -m benchmarks board --expected --json " + str(
        RESULTS / "board_expected.json"
    )
    assert board.table(results) in PAGE.read_text(encoding="utf-8"), "docs/devices.md is stale"


def test_the_committed_counts_are_those_of_this_checkout() -> None:
    committed, now = read_record(RESULTS / "board_expected.json")["results"]["inputs"], gather_inputs("demo")
    assert now["multiply_adds"] == committed["multiply_adds"]
    for side, search in committed["search"].items():
        # Another runtime may lose the face in another frame; a search that was changed moves more.
        assert now["search"][side] == pytest.approx(search, rel=0.1, abs=0.5)


def test_the_page_is_ready_for_what_users_measure() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "python -m benchmarks board" in page.split("\n## Measured by users\n")[1]
    for link in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page):
        assert (PAGE.parent / link).exists(), link
