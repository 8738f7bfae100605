"""`mien video`: the figures are the means over frames, and every file is whole or not there."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mien.cli import main
from mien.clip import MOST_PICTURED, MOST_SLOTS, ClipSummary, summarize_clip
from mien.detectors import HaarDetector
from mien.emotions import EMOTIONS
from mien.faces import Box, Face, Image
from mien.outputs import timeline
from mien.outputs.draw import COLORS
from mien.outputs.timeline import draw_timeline
from mien.recognizer import EmotionRecognizer
from mien.sources import DEMO_CLIP, Frame, Source, open_source
from mien.video import length_s

ROW_TOP = timeline.HEAD_HEIGHT + timeline.THUMBNAILS_TOP
PLOT_TOP = timeline.HEAD_HEIGHT + timeline.PLOT_TOP


def run_video(*arguments: str | Path) -> int:
    """Run the command with the detector that each installation has."""
    return main(["video", "--detector", "haar", *map(str, arguments)])


def write_clip(file: Path, images: Sequence[Image], codec: str = "libx264") -> Path:
    height, width = images[0].shape[:2]
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return file


Frames = list[list[tuple[int, npt.NDArray[np.float32]]]]
"""Of each frame the faces: id and probabilities."""


@pytest.fixture(scope="module")
def demo_faces() -> Frames:
    """What the demo's frames show, from a loop of our own."""
    recognizer = EmotionRecognizer(detector=HaarDetector(), max_classified=8)
    capture = cv2.VideoCapture(str(DEMO_CLIP))
    frames: Frames = []
    while (read := capture.read())[0]:
        faces = recognizer.recognize(read[1], len(frames) / 25)
        frames.append([(face.track_id, face.instant) for face in faces if face.instant is not None])
    return frames


def test_the_figures_are_plain_means_over_frames(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    demo_faces: Frames,
) -> None:
    with open_source("demo") as source:
        summary = summarize_clip(source, EmotionRecognizer(detector=HaarDetector(), max_classified=8))
    every = np.array([probabilities for faces in demo_faces for _, probabilities in faces], np.float64)
    assert summary.mean is not None
    # The frames' times differ in the last bit between the two loops; the networks' answers do not.
    np.testing.assert_allclose(summary.mean, every.mean(axis=0), atol=1e-6)
    assert summary.frames == len(demo_faces) == 250
    assert summary.frames_with_face == sum(map(bool, demo_faces))
    assert summary.length_s == pytest.approx(10)
    assert [person.track_id for person in summary.persons] == [1, 2]
    for person in summary.persons:
        seen = [
            (frame, mine) for frame, faces in enumerate(demo_faces) for id_, mine in faces if id_ == person.track_id
        ]
        np.testing.assert_allclose(person.mean, np.mean([mine for _, mine in seen], axis=0), atol=1e-6)
        assert person.seen_s == pytest.approx(len(seen) / 25, abs=1e-3)
        assert (person.starts_s[0], person.ends_s[-1]) == pytest.approx((seen[0][0] / 25, (seen[-1][0] + 1) / 25))

    assert run_video("demo", "--out", tmp_path) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    share = 100 * summary.frames_with_face / 250
    assert lines[0] == f"demo.mp4  00:10.0 long, 250 frames, a face in {share:.0f} % of them"
    happy = 100 * every.mean(axis=0)[EMOTIONS.index("happy")]
    assert re.fullmatch(rf"  overall +happy {happy:.0f} %(, \w+ \d+ %)*", lines[1])
    first = summary.persons[0]
    assert lines[2].startswith(f"  person 1   00:00.0-00:{first.ends_s[-1]:04.1f}    {first.seen_s:.1f} s  happy ")
    assert lines[3].startswith("  person 2   00:08.")
    assert lines[4] == "  (who was away for over half a second counts as another person)"
    assert lines[5] == f"  wrote {tmp_path}/demo.csv, {tmp_path}/demo.png"


def test_the_table_is_that_of_a_run(tmp_path: Path) -> None:
    assert run_video("demo", "--out", tmp_path) == 0
    run = ["run", "--source", "demo", "--detector", "haar", "--output", str(tmp_path / "run.csv")]
    assert main(run) == 0
    assert (tmp_path / "demo.csv").read_text() == (tmp_path / "run.csv").read_text()


def test_the_plot_shows_faces_and_colors_and_leaves_gaps_empty(tmp_path: Path) -> None:
    assert run_video("demo", "--out", tmp_path) == 0
    plot = cv2.imread(str(tmp_path / "demo.png"))
    assert plot is not None
    assert plot.shape == (timeline.HEAD_HEIGHT + 2 * timeline.PANEL_HEIGHT + timeline.FOOT_HEIGHT, timeline.WIDTH, 3)
    left, width, middle = timeline.LEFT, timeline.PLOT_WIDTH, PLOT_TOP + timeline.PLOT_HEIGHT // 4
    at_s = {time_s: plot[middle, left + round(width * time_s / 10)] for time_s in (0.02, 3, 5.5, 7.5, 9.9)}
    assert [tuple(at_s[time_s]) for time_s in (0.02, 3, 5.5)] == [COLORS["happy"]] * 3
    assert [tuple(at_s[time_s]) for time_s in (7.5, 9.9)] == [(255, 255, 255)] * 2  # nobody; another person
    second = plot[middle + timeline.PANEL_HEIGHT, left + round(width * 9.9 / 10)]
    assert tuple(second) == COLORS["happy"]
    legend = plot[PLOT_TOP : PLOT_TOP + timeline.PLOT_HEIGHT, left + width :].reshape(-1, 3)
    for name in EMOTIONS:
        assert (legend == COLORS[name]).all(axis=1).sum() > 100
    assert count_faces(plot) >= 7


def count_faces(plot: Image) -> int:
    """Return how many of the first person's thumbnails in the first half of the axis are faces."""
    row = plot[ROW_TOP : ROW_TOP + 72, timeline.LEFT : timeline.LEFT + 7 * 72]
    tiles = [cv2.resize(tile, (288, 288)) for tile in np.split(row, 7, axis=1)]
    return sum(bool(HaarDetector.for_stills().detect(cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY))) for tile in tiles)


def test_blurred_faces_are_blurred_in_the_plot_and_in_the_copy(tmp_path: Path) -> None:
    assert run_video("demo", "--out", tmp_path, "--blur-faces", "--annotate") == 0
    plot = cv2.imread(str(tmp_path / "demo.png"))
    assert plot is not None
    assert count_faces(plot) == 0
    _, frame = cv2.VideoCapture(str(tmp_path / "demo-annotated.mp4")).read()
    assert HaarDetector().detect(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)) == []


def test_the_annotated_copy_has_every_frame_and_the_source_stays(tmp_path: Path, portrait: Image) -> None:
    source = tmp_path / "party.mp4"
    source.write_bytes(DEMO_CLIP.read_bytes())
    for _ in range(2):  # results of an earlier run are replaced
        assert run_video(source, "--annotate", "--out", tmp_path) == 0
    names = {"party.mp4", "party.csv", "party.png", "party-annotated.mp4"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert source.read_bytes() == DEMO_CLIP.read_bytes()
    capture = cv2.VideoCapture(str(tmp_path / "party-annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 250
    _, frame = capture.read()
    assert frame.shape == portrait.shape
    changed = np.abs(frame.astype(int) - portrait).max(axis=2) > 60
    assert changed.mean() > 0.01  # a box and its label around the face
    assert not changed[:, :100].any()


def test_faces_seen_for_less_than_a_second_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], portrait: Image
) -> None:
    blank = np.full_like(portrait, 120)
    clip = write_clip(tmp_path / "short.mp4", [portrait] * 40 + [blank] * 20 + [portrait] * 10 + [blank] * 5)
    assert run_video(clip, "--out", tmp_path) == 0
    output = capsys.readouterr().out
    assert re.search(r"^  person 1   00:00\.0-00:01\.6    1\.6 s  happy ", output, re.MULTILINE)
    assert "\n  1 more face, seen for less than a second\n" in output
    assert "person 2" not in output


def test_a_clip_without_a_face_has_a_table_and_no_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "wall.mp4", [np.full((120, 160, 3), 120, np.uint8)] * 10)
    (tmp_path / "wall.png").write_text("of an earlier run")
    assert run_video(clip, "--out", tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wall.mp4  00:00.4 long, 10 frames, a face in 0 % of them",
        "  no face, so no plot",
        f"  wrote {tmp_path}/wall.csv",
    ]
    assert len((tmp_path / "wall.csv").read_text().splitlines()) == 1
    assert not (tmp_path / "wall.png").exists()


def test_one_bad_file_does_not_keep_the_others_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, missing = tmp_path / "text.mp4", tmp_path / "missing.mp4"
    text.write_text("hello")
    assert run_video(text, missing, "demo", "--out", tmp_path / "made") == 1
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        f"error: {text} holds no video frame that can be read: give a video file such as .mp4 or .mkv",
        f"error: {missing} does not exist: give a video file",
    ]
    assert output.out.startswith("demo.mp4  ")
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == ["demo.csv", "demo.png"]


def test_a_video_that_was_cut_off_is_summed_up_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, portrait: Image
) -> None:
    clip = write_clip(tmp_path / "cut.mkv", [portrait] * 75, "mjpeg")  # each frame is as large as the next
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    assert run_video(clip, "--out", tmp_path) == 0
    found = re.match(r"cut\.mkv  00:0([12]\.\d) long, \d+ frames, a face in 100 % of them", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 2.5
    (line,) = caplog.messages
    assert line.endswith("of 3.0 s: it is damaged or incomplete")
    assert clip.with_suffix(".png").exists()


def test_a_video_that_does_not_know_its_length_is_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], portrait: Image
) -> None:
    clip = write_clip(tmp_path / "raw.h264", [portrait] * 30)
    assert length_s(clip) == 0
    assert run_video(clip, "--out", tmp_path) == 0
    assert capsys.readouterr().out.startswith("raw.h264  00:01.2 long, 30 frames, a face in 100 % of them\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["camera"], "camera is no video file: `mien run --source` watches cameras"),
        (["/dev/video0"], "/dev/video0 is no video file"),
        (["a.mp4", "rtsp://host/stream"], "rtsp://host/stream is no video file"),
        (["sub"], "sub is a folder"),
        (["a.png"], "a.png is an image: `mien image`"),
        (["a.mp4", "sub/a.mov"], "a.mp4 and sub/a.mov both give a.csv"),
        (["a.mp4", "a.mp4"], "a.mp4 and a.mp4 both give a.csv"),
        (["a.mp4", "a-annotated.mp4", "--annotate"], "the results of a.mp4 would overwrite a-annotated.mp4"),
        (["a.mp4", "link.csv.mp4", "--out", "links"], "the results of a.mp4 would overwrite link.csv.mp4"),
        (["a.mp4", "--model", "resnet"], "unknown model 'resnet'"),
        (["a.mp4", "--detector", "eyes"], "detector is 'eyes' (--detector)"),
    ],
)
def test_wrong_usage_gets_one_line_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("links").mkdir()
    for name in ("a.mp4", "sub/a.mov", "a-annotated.mp4", "link.csv.mp4", "a.png"):
        Path(name).write_bytes(DEMO_CLIP.read_bytes())
    Path("links/a.csv").symlink_to(tmp_path / "link.csv.mp4")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    assert main(["video", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: {message}")
    assert len(output.err.splitlines()) == 1
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_a_file_as_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").touch()
    assert run_video("demo", "--out", tmp_path / "results") == 1
    assert capsys.readouterr().err == f"error: --out {tmp_path}/results is a file: give a folder\n"


def test_the_terminal_shows_the_time_left_and_ctrl_c_leaves_nothing(tmp_path: Path, portrait: Image) -> None:
    clip = write_clip(tmp_path / "long.mp4", [portrait] * 4000)  # ten seconds of work on a fast machine
    outside, inside = pty.openpty()
    arguments = [str(clip), "--annotate", "--out", str(tmp_path / "made"), "--detector", "haar"]
    command = [sys.executable, "-m", "mien", "video", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=inside) as process:
        os.close(inside)
        shown = b""
        while not re.search(rb"long\.mp4  \[[#.]{24}\] +\d+ %  \d+:\d\d left", shown):
            shown += os.read(outside, 4096)
        process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        assert process.wait(timeout=60) == 130
        assert time.monotonic() - started_s < 2
        assert process.stdout is not None
        assert process.stdout.read() == b""
    rest = os.read(outside, 4096)
    os.close(outside)
    assert rest.endswith(b"\r\r\n")  # the line of the bar is ended, and nothing follows
    assert list((tmp_path / "made").iterdir()) == []


class Passage(Source):
    """A frame every ten seconds, for hours."""

    frame_rate = 0.1

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            yield Frame(np.full((40, 40, 3), index % 256, np.uint8), index, 10.0 * index)


class Onlooker:
    """Stands for a recognizer: person 1 is always there, and another passer-by in each frame."""

    seen: tuple[Box, ...] = ()
    detector = HaarDetector()

    def __init__(self) -> None:
        self._count = 1

    def reset(self) -> None:
        pass

    def recognize(self, image: Image, time_s: float, luma: Image | None) -> list[Face]:
        self._count += 1
        probabilities = np.eye(7, dtype=np.float32)[3]
        return [
            Face(Box(5, 5, 20, 20), probabilities, track_id, instant=probabilities) for track_id in (1, self._count)
        ]


@pytest.fixture(scope="module")
def crowd() -> ClipSummary:
    return summarize_clip(Passage(1000), cast(Any, Onlooker()))


def test_hours_of_passers_by_fit_into_memory(crowd: ClipSummary) -> None:
    assert len(crowd.persons) == 1001
    first = crowd.persons[0]
    assert first.seen_s == crowd.length_s == 10_000
    times_s = [thumbnail.time_s for thumbnail in first.thumbnails]
    assert MOST_SLOTS // 2 <= len(times_s) <= MOST_SLOTS
    assert max(np.diff([0, *times_s, 10_000])) <= 2 * 10_000 / (MOST_SLOTS // 2)  # all over the video
    pictured = sum(bool(person.thumbnails) for person in crowd.persons)
    assert pictured <= 2 * MOST_PICTURED + 2


def test_the_plot_has_the_longest_seen_and_says_how_many_are_missing(crowd: ClipSummary) -> None:
    plot = draw_timeline("übergrößer " * 20, crowd)
    note = 24
    panels = (plot.shape[0] - timeline.HEAD_HEIGHT - timeline.FOOT_HEIGHT - note) / timeline.PANEL_HEIGHT
    assert panels == timeline.MOST_PANELS
    assert (plot[-timeline.FOOT_HEIGHT - note :, timeline.LEFT :] < 200).any()
    middle = PLOT_TOP + timeline.PLOT_HEIGHT // 2 + 9
    row = plot[middle, timeline.LEFT : timeline.LEFT + timeline.PLOT_WIDTH]
    assert (row == COLORS["happy"]).all()  # person 1 is there from end to end
