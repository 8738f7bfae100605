"""What to expect of mien on boards that nobody here has: computed from published throughput and counted work.

`python -m benchmarks board --expected` prints it; docs/devices.md shows the table and tells of its uncertainty.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmarks.boards import BOARDS, PASS_SIDE, PASS_SPEEDUP, Board, Range
from benchmarks.clips import Clip, load_clip
from benchmarks.operators import read_operators
from benchmarks.record import RESULTS, read_record
from benchmarks.search_work import counted_search, whole_pass_pixels
from mien.card import DEFAULT_MODEL, find_model
from mien.config import Config
from mien.detectors.finder import FinderDetector
from mien.native_log import quiet_native_log
from mien.pace.controller import BUDGET_STEPS, ENOUGH_FRAMES_PER_S, SMALLEST_SIDE
from mien.recognizer import EmotionRecognizer

SMALL_NETWORK = Range(0.5, 1.0)
"""Share of MobileNet's throughput that a smaller network reaches, since starting an operator takes its time, too.

Derived: mien_net_int8 does per second 26 to 76 % of cnn_int8's multiply-adds on x86-64, by processor and runtime
(`python -m benchmarks latency`)."""

CAMERA_FRAMES_PER_S = Config.frame_rate

MOST_FRAMES = 300
"""Of the clip, since a board has little memory."""


class Setting(NamedTuple):
    """Settings of a run that decide on its speed, named as in `Config`."""

    threads: int
    detect_side: int

    @property
    def flags(self) -> str:
        """What to type for it."""
        side = f" --detect-side {self.detect_side}" if self.detect_side != Config.detect_side else ""
        return f"--threads {self.threads}{side}"


SETTINGS = (Setting(Config.threads, Config.detect_side), Setting(4, Config.detect_side), Setting(4, 640))
"""The default, what is faster on boards with four cores, and what sees faces of half the size."""


def gather_inputs(source: str) -> dict[str, Any]:
    """Return what the expectation is computed from, as far as this checkout knows it.

    Args:
        source: a clip; faces are found in its frames once for each size of the picture, to count.

    Raises:
        OSError, ValueError, ImportError: the clip, a model, our results or a runtime are not there, or no good.
    """
    clip = load_clip(source, MOST_FRAMES)
    measured = read_record(RESULTS / "pipeline.json")["results"]
    return {
        "multiply_adds": {model: _multiply_adds(model) for model in (DEFAULT_MODEL, "cnn_int8")},
        "clip": clip.path.name,
        "search": {str(side): _count_search(clip, side) for side in sorted({row.detect_side for row in SETTINGS})},
        "rest_passes": _rest_passes(measured),
        "memory_mb": measured["process"]["peak_mb"],
    }


def _count_search(clip: Clip, detect_side: int) -> dict[str, float]:
    with quiet_native_log():
        detector = FinderDetector(max_side=detect_side)
        recognizer = EmotionRecognizer(detector=detector)
    with counted_search(detector) as counts:
        for frame in clip.frames:
            recognizer.recognize(frame.image, frame.time_s)
    return {
        "near_madds_a_frame": round(counts.near / len(clip.frames) / 1e6, 2),
        "whole_madds_a_s": round(counts.whole / clip.length_s / 1e6, 2),
    }


def _rest_passes(measured: dict[str, Any]) -> float:
    """Return all but the networks in a frame of ours, by the time of a Haar pass on the same machine and threads.

    That is mien's own code, and cutting out faces. The tutorials' loop makes such a pass over the clip's whole frame;
    its network is a twentieth of that.
    """
    width, height = map(int, measured["size"].split("x"))
    rest_ms = measured["overhead"]["mean_ms"] + measured["stages"]["crop"]["mean_ms"]
    passes = whole_pass_pixels((height, width)) / whole_pass_pixels((PASS_SIDE, PASS_SIDE))
    return round(rest_ms / measured["speed"]["naive"]["mean_ms"] * passes, 4)


def _multiply_adds(model: str) -> int:
    return sum(operator.multiply_adds for operator in read_operators(find_model(model).read_bytes()))


def thread_factor(threads: int) -> Range:
    """Return how many times longer work takes on so many threads than on four.

    By Amdahl's law (1967, doi:10.1145/1465482.1465560): the low end with the part that runs in parallel in the
    published passes, the high end with all of it.
    """
    parallel = (1 - 1 / PASS_SPEEDUP) / (1 - 1 / 4)
    return Range((1 - parallel + parallel / threads) * PASS_SPEEDUP, 4 / threads)


def expect(board: Board, inputs: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return what to expect of a board with some settings.

    Returns:
        {"board", "threads", "detect_side", "classify_ms": {model: range}, "detect_ms" and "frames_per_s": ranges, of
        a camera that gives `CAMERA_FRAMES_PER_S`}.
    """
    search = inputs["search"][str(setting.detect_side)]
    ms_a_madd = Range(1.0, 1.0).per(board.gmacs_per_s.times(SMALL_NETWORK)).times(thread_factor(setting.threads))
    rests_ms = [inputs["rest_passes"] * ms for ms in board.pass_ms.times(thread_factor(Config.threads))]
    frames_ms, searches_ms = [], []
    for madd_ms, rest_ms in zip(ms_a_madd, rests_ms, strict=True):
        near_ms, naming_ms = (
            madds * madd_ms for madds in (search["near_madds_a_frame"], inputs["multiply_adds"][DEFAULT_MODEL] / 1e6)
        )
        for factor, side_share in BUDGET_STEPS:  # as mien does itself, until there are enough frames
            pixels = max(side_share, min(1.0, SMALLEST_SIDE / setting.detect_side)) ** 2
            whole_ms_a_s = search["whole_madds_a_s"] * madd_ms * pixels / factor
            took_ms = frame_ms(near_ms + rest_ms + naming_ms, whole_ms_a_s, Config.detect_interval_s * factor)
            if took_ms <= 1000 / ENOUGH_FRAMES_PER_S:
                break
        frames_ms.append(took_ms)
        searches_ms.append(took_ms - rest_ms - naming_ms)
    return {
        "board": board.name,
        "threads": setting.threads,
        "detect_side": setting.detect_side,
        "classify_ms": {
            model: _rounded(adds / 1e6 * ms for ms in ms_a_madd) for model, adds in inputs["multiply_adds"].items()
        },
        "detect_ms": _rounded(sorted(searches_ms)),  # a slower board searches less
        "frames_per_s": _rounded(min(CAMERA_FRAMES_PER_S, 1000 / ms) for ms in reversed(frames_ms)),
    }


def frame_ms(base_ms: float, whole_ms_a_s: float, interval_s: float = Config.detect_interval_s) -> float:
    """Return the milliseconds of a frame of a camera.

    A slow board has more of the whole frame's search in each of its fewer frames, but one whole search at most
    (`FaceSearch`): frame = base + whole x (time since the last frame). A test compares it with mien under a clock
    that goes as a slow board's.

    Args:
        base_ms: what is due in each frame.
        whole_ms_a_s: what is due by the clock, in each second: the search of the whole frame.
        interval_s: in which the whole frame is searched once.
    """
    period_ms = 1000 / CAMERA_FRAMES_PER_S
    paced_ms = base_ms + whole_ms_a_s * period_ms / 1000
    if paced_ms <= period_ms:
        return paced_ms
    most_ms = base_ms + whole_ms_a_s * interval_s
    return min(most_ms, base_ms / (1 - whole_ms_a_s / 1000)) if whole_ms_a_s < 1000 else most_ms


def _rounded(ends: Iterable[float]) -> list[float]:
    """Return both ends of a range with two digits that count: more would pretend."""
    return [float(f"{end:.2g}") for end in ends]


def expected(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return {"inputs", "expected": a row for each board and each of `SETTINGS`}."""
    return {"inputs": inputs, "expected": [expect(board, inputs, setting) for board in BOARDS for setting in SETTINGS]}


def expected_table(results: dict[str, Any]) -> str:
    """Return the expectation as Markdown."""
    inputs, boards = results["inputs"], {board.name: board for board in BOARDS}
    models, default = list(inputs["multiply_adds"]), SETTINGS[0]
    titles = ["board", *(f"{model}, ms a face" for model in models), "finding faces, ms a frame", "frames/s"]
    titles += [f"with `{setting.flags}`" for setting in SETTINGS[1:]]
    lines = [f"| {' | '.join([*titles, 'memory'])} |", "|---" * (len(titles) + 1) + "|"]
    for board in boards.values():
        first, *others = (row for row in results["expected"] if row["board"] == board.name)
        cells = [f"{board.name} ({board.processor})", *(_text(first["classify_ms"][model]) for model in models)]
        cells += [_text(row) for row in (first["detect_ms"], *(row["frames_per_s"] for row in (first, *others)))]
        cells.append(f"{inputs['memory_mb']:.0f} MB of {board.memory}")
        lines.append(f"| {' | '.join(cells)} |")
    work, search = (
        ", ".join(f"{model} {adds / 1e6:.0f} M multiply-adds" for model, adds in inputs["multiply_adds"].items()),
        inputs["search"][str(default.detect_side)],
    )
    return "\n".join(
        [
            f"**Expectation, not measured.** One face, a camera of {CAMERA_FRAMES_PER_S:g} frames/s; the default "
            f"of {default.threads} threads and {default.detect_side} pixels, where nothing else is said.",
            "",
            *lines,
            "",
            f"Computed from: {work}; on {inputs['clip']}, the finder's {search['near_madds_a_frame']:.1f} M a frame "
            f"around faces and {search['whole_madds_a_s']:.0f} M a second for the whole frame; all else takes as long "
            f"as {inputs['rest_passes']:.4f} passes of a Haar cascade over {PASS_SIDE}x{PASS_SIDE} pixels a frame.",
        ]
    )


def _text(range_: list[float]) -> str:
    low, high = (f"{end:g}" for end in range_)
    return low if low == high else f"{low}–{high}"
