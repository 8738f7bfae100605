"""What a run costs is measured on the same frames as the naive loop, and the figures agree with each other."""

import io
import json
import time
from contextlib import redirect_stdout
from itertools import islice
from mmap import mmap
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from benchmarks import broker, pipeline
from benchmarks.__main__ import main
from benchmarks.clips import Clip, LoopedSource, load_clip
from benchmarks.naive import NaiveLoop
from benchmarks.outputs import OUTPUTS, measure_outputs
from benchmarks.process import measure_memory
from benchmarks.record import RESULTS
from benchmarks.stages import STAGES, StageClock, measure_overhead, measure_stages
from mien.detectors import HaarDetector
from mien.faces import Face, Image
from mien.recognizer import EmotionRecognizer
from tests.conftest import require_module, require_program

FRAMES = 30  # of the demo's first seconds, in all of which there is one face


@pytest.fixture(scope="module")
def output_and_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Return what one short run prints, and its figures."""
    results, output = tmp_path_factory.mktemp("pipeline") / "results.json", io.StringIO()
    counts = ["--frames", str(FRAMES), "--memory-frames", "100"]
    with redirect_stdout(output):
        assert main(["pipeline", *counts, "--threads", "1", "--detector", "haar", "--json", str(results)]) == 0
    return output.getvalue(), json.loads(results.read_text())["results"]


@pytest.fixture(scope="module")
def run(output_and_run: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the run."""
    return output_and_run[1]


def test_both_loops_see_the_face_in_the_same_frames(run: dict[str, Any]) -> None:
    speed = run["speed"]
    assert (run["clip"], run["size"], run["frames"], run["threads"]) == ("demo.mp4", "480x360", FRAMES, 1)
    assert speed["frames"] % FRAMES == 0
    assert speed["mien"]["with_box"] == speed["naive"]["with_box"] == speed["with_box_in_both"] == speed["frames"]
    assert speed["ratio"] == pytest.approx(speed["mien"]["frames_per_s"] / speed["naive"]["frames_per_s"], abs=0.01)
    for name in ("mien", "naive"):
        assert 0 < speed[name]["median_ms"] <= speed[name]["p95_ms"] <= speed[name]["p99_ms"]
        # One thread each computes: the processor cannot have worked for much longer than the clock ran.
        assert 0 < speed[name]["cpu_ms"] < 1.5 * speed[name]["mean_ms"]


def test_the_stages_make_up_the_whole(run: dict[str, Any]) -> None:
    stages = run["stages"]
    parts = [stages[stage]["mean_ms"] for stage in (*STAGES, "other")]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(stages["recognize"]["mean_ms"], abs=0.001)  # each is rounded to 0.0001 ms
    assert stages["detect"]["mean_ms"] == max(parts)
    assert 0 < run["overhead"]["median_ms"] < stages["recognize"]["median_ms"]


def test_each_output_is_measured_or_the_reason_is_told(output_and_run: tuple[str, dict[str, Any]]) -> None:
    text, run = output_and_run
    measured = {stage.removeprefix("output ") for stage in run["stages"] if stage.startswith("output ")}
    missing = {part["peer"].removeprefix("output ") for part in run["not_measured"]}
    assert measured | missing == set(OUTPUTS)
    assert not measured & missing
    assert measured >= {"text", ".jsonl", ".csv", ".mp4", ".png"}
    for part in run["not_measured"]:
        assert f"- {part['peer']} was not measured: {part['why']}" in text.splitlines()


def test_outputs_are_measured_with_somebody_who_takes_what_they_send() -> None:
    for name in ("aiohttp", "paho.mqtt"):
        require_module(name)
    require_program("mosquitto", "mosquitto")
    clip = load_clip("demo", FRAMES)
    spans, missing = measure_outputs(clip, EmotionRecognizer(detector=HaarDetector()))
    assert [part["peer"] for part in missing] in ([], ["output window"])
    assert {len(times_s) for times_s in spans.values()} == {FRAMES}
    # A picture is encoded for the viewer, ten times a second, which takes more than the frames between.
    web_s = sorted(spans["output web"])
    assert web_s[-1] > 3 * web_s[0]
    assert sum(spans["output mqtt"]) > sum(spans["output text"])


def test_without_a_broker_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "PROGRAM", "no-such-broker")
    spans, missing = measure_outputs(load_clip("demo", 3), EmotionRecognizer(detector=HaarDetector()))
    assert {"peer": "output mqtt", "why": "no broker to publish to: sudo apt install no-such-broker"} in missing
    assert "output .jsonl" in spans


def test_a_live_run_keeps_the_pace_of_the_clip(run: dict[str, Any]) -> None:
    live = run["live"]
    assert live["frames"] + live["dropped"] >= FRAMES
    assert live["frames_per_s"] <= 25.1  # the clip's 25
    assert live["latency"]["median_ms"] <= live["end_to_end"]["median_ms"]
    assert live["p95_over_median"] >= 1
    assert 0 < live["cpu"] < 2


def test_memory_and_start_are_those_of_a_program_with_opencv(run: dict[str, Any]) -> None:
    memory, process = run["memory"], run["process"]
    assert memory["frames"] == 100
    assert len(memory["samples_mb"]) == 21
    assert memory["growth_mb"] == pytest.approx(memory["samples_mb"][-1] - memory["samples_mb"][0], abs=0.01)
    assert min(memory["samples_mb"]) > 50
    assert memory["samples_s"] == sorted(memory["samples_s"])
    assert memory["frames_per_s"] == pytest.approx(100 / memory["samples_s"][-1], rel=0.02)
    assert 0 < memory["cpu"] < 4
    assert 50 < process["peak_mb"] < 400
    assert 0.1 < process["first_line_s"] < 60


def test_memory_that_grows_is_seen() -> None:
    class Hoarder(EmotionRecognizer):
        kept: ClassVar[list[mmap]] = []

        def recognize(self, frame: Image, timestamp_s: float | None = None, luma: Image | None = None) -> list[Face]:
            self.kept.append(mmap(-1, 10**6))  # of its own, while what others have freed may serve for a picture
            self.kept[-1].write(bytes(range(250)) * 4000)
            return []

    clip = load_clip("demo", 3)
    assert measure_memory(clip, Hoarder(), frames=40)["growth_mb"] == pytest.approx(40, rel=0.2)


def test_the_table_names_the_machine_and_every_stage(output_and_run: tuple[str, dict[str, Any]]) -> None:
    lines = output_and_run[0].splitlines()
    assert lines[0].startswith(("processor ", "board "))
    assert lines[2].startswith(f"demo.mp4, {FRAMES} frames of 480x360, threads 1, HaarDetector, mien_net_int8 on ")
    for start in ("| mien |", "| the naive loop |", "| capture |", *(f"| {stage} |" for stage in STAGES), "- memory: "):
        assert [line.startswith(start) for line in lines].count(True) == 1, start


def test_the_plot_has_a_line_for_every_stage(run: dict[str, Any]) -> None:
    (figure,) = pipeline.plots(run).values()
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert {*run["stages"], "live, from frame to written line"} <= set(names)
    medians = axes.collections[0].get_offsets()
    assert medians[names.index("detect")][0] == run["stages"]["detect"]["median_ms"]


@pytest.mark.parametrize("name", ["pipeline", "pipeline_yunet"])
def test_published_results_can_be_shown(name: str) -> None:
    results = json.loads((RESULTS / f"{name}.json").read_text())["results"]
    assert f"| mien | {results['speed']['mien']['frames_per_s']:.1f} |" in pipeline.table(results)
    assert pipeline.plots(results)


def test_a_live_loop_does_not_wait_and_ends_when_it_is_closed() -> None:
    source = LoopedSource(load_clip("demo", 3), None, is_live=True)
    assert source.frame_rate == pytest.approx(25, rel=0.05)
    started_s, times_s = time.monotonic(), []
    for frame in source:
        times_s.append(frame.taken_s - started_s)
        if frame.index == 2:
            time.sleep(0.3)  # frames 3 to 9 are due meanwhile, and come at once
        if frame.index == 15:
            source.close()
    assert len(times_s) == 16
    assert times_s[15] + 0.02 >= 0.6  # the sixteenth is due after 15 / 25 s
    assert times_s[9] - times_s[3] < 0.2


def test_a_looped_clip_goes_on_in_time() -> None:
    clip = load_clip("demo", 3)
    frames = list(islice(clip.looped(), 7))
    assert [frame.index for frame in frames] == list(range(7))
    np.testing.assert_allclose(np.diff([frame.time_s for frame in frames]), 1 / 25, atol=1e-3)
    assert frames[6].image is frames[0].image


def test_time_within_a_timed_call_counts_once() -> None:
    clock = StageClock()
    inner = clock.timed("inner", lambda: time.sleep(0.2))
    outer = clock.timed("outer", inner)
    started_s = time.perf_counter()
    outer()
    assert clock.spent_s["inner"] >= 0.2
    assert 0 < clock.spent_s["outer"] < 0.2
    assert sum(clock.spent_s.values()) <= time.perf_counter() - started_s


def test_a_watched_recognizer_answers_the_same_and_is_left_as_it_was() -> None:
    clip, recognizer, before = load_clip("demo", 5), EmotionRecognizer(), dict(vars(cv2))
    alone = _see(EmotionRecognizer(), clip)
    measure_stages(recognizer, clip.frames)
    assert len(measure_overhead(recognizer, clip.frames)) == 5
    recognizer.reset()
    assert _see(recognizer, clip) == alone
    assert vars(cv2) == before


def _see(recognizer: EmotionRecognizer, clip: Clip) -> list[dict[str, Any]]:
    return [face.to_dict() for frame in clip.frames for face in recognizer.recognize(frame.image, frame.time_s)]


def test_the_naive_loop_counts_faces(portrait: Image) -> None:
    naive = NaiveLoop(num_threads=1)
    assert naive.recognize(portrait) == 1
    assert naive.recognize(np.hstack((portrait, portrait))) == 2
    assert naive.recognize(np.full_like(portrait, 127)) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nothing.mp4"], "error: no clip at nothing.mp4"),
        (["--source", "rtsp://camera/stream"], "error: no clip at rtsp://camera/stream"),
        (["--source", "docs/images/web.png"], "error: --source docs/images/web.png is no video"),
        (["--threads", "0"], "error: threads is 0 (--threads): allowed is 1 to 64"),
        (["--detector", "hare"], "error: detector is 'hare' (--detector): allowed are auto, finder, haar, yunet"),
        (["--frames", "1"], "error: --frames 1 must be 2 or more"),
        (["--memory-frames", "0"], "error: --memory-frames 0 must be 1 or more"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", *arguments]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
