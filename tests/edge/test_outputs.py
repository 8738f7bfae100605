"""Results arrive in the documented form; videos and sheets appear whole or not at all."""

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien import EMOTIONS, Box, Face, FrameResult
from mien.faces import Image
from mien.outputs import OutputContext, open_output
from mien.outputs.draw import COLORS, annotate

BOX = Box(208, 32, 116, 116)


def at(frame_rate: float) -> OutputContext:
    return OutputContext(frame_rate=frame_rate)


def make_face(emotion: str = "happy", track_id: int = 1, box: Box = BOX) -> Face:
    probabilities = np.full(7, 0.05, np.float32)
    probabilities[EMOTIONS.index(emotion)] = 0.7
    return Face(box, probabilities, track_id)


def test_json_lines_are_as_documented(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "faces.jsonl"
    with open_output(str(file), at(25)) as output:
        output.write(portrait, FrameResult(0.04, 1, [make_face()]))
        output.write(portrait, FrameResult(0.08, 2, []))
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert list(first) == ["time", "frame", "faces"]
    assert (first["time"], first["frame"]) == (0.04, 1)
    (face,) = first["faces"]
    assert list(face) == ["id", "box", "label", "emotion", "confidence", "probabilities"]
    assert face["label"] == "happy"
    assert (face["id"], face["box"], face["emotion"], face["confidence"]) == (1, [208, 32, 116, 116], "happy", 0.7)
    assert list(face["probabilities"]) == list(EMOTIONS)
    assert second == {"time": 0.08, "frame": 2, "faces": []}


def test_an_unsure_face_is_called_so_everywhere(
    tmp_path: Path, portrait: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    face = replace(make_face(), is_sure=False)
    assert (face.label, face.emotion) == ("unsure", "happy")
    assert (face.to_dict()["label"], face.to_dict()["emotion"]) == ("unsure", "happy")
    with open_output("text", at(25)) as output:
        output.write(portrait, FrameResult(0.0, 0, [face]))
        output.write(portrait, FrameResult(0.04, 1, [make_face()]))
    assert capsys.readouterr().out.splitlines()[:2] == [
        "00:00.00  face 1  unsure, 116 pixels wide at (208, 32)",
        "00:00.04  face 1  happy 70%",
    ]
    assert tuple(annotate(portrait, [face])[100, 208].tolist()) == COLORS["unsure"]


def test_a_line_can_be_read_before_the_run_ends(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "faces.jsonl"
    with open_output(str(file), at(25)) as output:
        output.write(portrait, FrameResult(0.0, 0, []))
        assert file.read_text().endswith("\n")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_can_be_read_back_with_its_boxes(tmp_path: Path, portrait: Image, suffix: str) -> None:
    file = tmp_path / f"annotated{suffix}"
    with open_output(str(file), at(25)) as output:
        for index in range(10):
            output.write(portrait, FrameResult(index / 25, index, [make_face()]))
        assert not file.exists()
    capture = cv2.VideoCapture(str(file))
    frames = [image for is_read, image in (capture.read() for _ in range(11)) if is_read]
    assert len(frames) == 10
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    # The yellow frame of the box, on its left edge; compression blurs it.
    blue, _, red = frames[5][60:120, 207:210].mean(axis=(0, 1))
    assert red - blue > 80
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_frames_of_another_size_fit_into_the_video(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "annotated.avi"
    with open_output(str(file), at(1)) as output:
        output.write(portrait, FrameResult(0, 0, []))
        output.write(portrait[::2, ::2].copy(), FrameResult(1, 1, []))
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.parametrize(("camera_rate", "frames"), [(5, 15), (100, 300)])
def test_a_video_from_a_slow_or_fast_camera_runs_at_its_speed(
    tmp_path: Path, portrait: Image, camera_rate: int, frames: int
) -> None:
    file = tmp_path / "annotated.avi"
    with open_output(str(file), at(30)) as output:
        for index in range(frames):
            output.write(portrait, FrameResult(1.7e9 + index / camera_rate, index, []))
    seconds = cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) / 30
    assert seconds == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_clock_that_is_set_leaves_the_video_its_length(tmp_path: Path, portrait: Image, by_s: float) -> None:
    file = tmp_path / "annotated.avi"
    with open_output(str(file), at(10)) as output:
        for index in range(20):
            unix_s = 1.7e9 + index / 10 + (by_s if index >= 10 else 0)
            output.write(portrait, FrameResult(unix_s, index, [], taken_s=index / 10))
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 20


def test_a_camera_that_was_away_for_an_hour_leaves_ten_seconds_in_the_video(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "annotated.avi"
    with open_output(str(file), at(5)) as output:
        for index, time_s in enumerate([0, 0.2, 3600, 3600.2, 3600.4]):
            output.write(portrait, FrameResult(1.7e9 + time_s, index, [], taken_s=time_s))
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 2 + 10 * 5 + 2


@pytest.mark.parametrize("count", [1, 5, 12, 500])
def test_a_contact_sheet_covers_the_whole_run(tmp_path: Path, count: int) -> None:
    file = tmp_path / "sheet.png"
    with open_output(str(file), at(25)) as output:
        for index in range(count):
            level = round(255 * index / max(1, count - 1))
            output.write(np.full((90, 160, 3), level, np.uint8), FrameResult(index / 25, index, []))
    sheet = cv2.imread(str(file))
    assert sheet is not None
    tiles = min(12, count)
    assert sheet.shape == (180 * -(-tiles // 4), 320 * 4, 3)
    levels = [int(sheet[180 * (tile // 4) + 5, 320 * (tile % 4) + 5, 0]) for tile in range(tiles)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] >= (0 if count == 1 else 225)  # the last tile is close to the end


def test_a_contact_sheet_tells_a_cameras_time_of_day(tmp_path: Path) -> None:
    image, noon_s = np.zeros((90, 160, 3), np.uint8), time.mktime((2026, 7, 1, 12, 34, 56, 0, 0, -1))
    live = FrameResult(noon_s, 0, [], taken_s=1.0)
    for file, result in (("camera.png", live), ("named.png", FrameResult(0.0, 0, [], name="12:34:56"))):
        with open_output(str(tmp_path / file), at(25)) as output:
            output.write(image, result)
    assert (tmp_path / "camera.png").read_bytes() == (tmp_path / "named.png").read_bytes()


def test_text_tells_what_changes_and_nothing_else(portrait: Image, capsys: pytest.CaptureFixture[str]) -> None:
    seen = ["happy", "happy", "sad", None, "sad", None, None]
    with open_output("text", at(4)) as output:
        for index, emotion in enumerate(seen):
            output.write(portrait, FrameResult(index / 2, index, [make_face(emotion)] if emotion else []))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "00:00.00  face 1  happy 70%, 116 pixels wide at (208, 32)",
        "00:01.00  face 1  sad 70%",
        "00:03.00  face 1  gone",
    ]
    assert len(lines) == 4
    assert lines[3].startswith("7 frames in ")
    assert lines[3].endswith("; 1 face followed")


def test_text_tells_that_a_face_is_gone_though_the_clock_was_set_back(
    portrait: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_output("text", at(10)) as output:
        output.write(portrait, FrameResult(1.7e9, 0, [make_face()], taken_s=0.0))
        for index in range(1, 10):
            output.write(portrait, FrameResult(1.7e9 - 3600, index, [], taken_s=index / 10))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1)[1] for line in lines[1:-1]] == ["face 1  gone"]


def test_text_has_a_line_for_each_image(portrait: Image, capsys: pytest.CaptureFixture[str]) -> None:
    with open_output("text", at(1)) as output:
        output.write(portrait, FrameResult(0, 0, [make_face(), make_face("sad")], "a.jpg"))
        output.write(portrait, FrameResult(1, 1, [], "b.jpg"))
    assert capsys.readouterr().out.splitlines() == [
        "a.jpg  happy 70%, 116 pixels wide at (208, 32), sad 70%, 116 pixels wide at (208, 32)",
        "b.jpg  no face",
        "2 images; 2 faces",
    ]


def test_json_lines_name_the_image(tmp_path: Path, portrait: Image) -> None:
    with open_output(str(tmp_path / "faces.jsonl"), at(1)) as output:
        output.write(portrait, FrameResult(0, 0, [], "a.jpg"))
    assert json.loads((tmp_path / "faces.jsonl").read_text())["file"] == "a.jpg"


def test_a_very_wide_image_fits_onto_the_sheet(tmp_path: Path) -> None:
    with open_output(str(tmp_path / "sheet.png"), at(1)) as output:
        output.write(np.zeros((1, 2000, 3), np.uint8), FrameResult(0, 0, []))
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


@pytest.mark.parametrize("name", ["x.mp4", "x.png", "x.jsonl"])
def test_a_folder_in_the_files_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        open_output(str(tmp_path / name), at(25))


@pytest.mark.parametrize("box", [Box(0, 0, 480, 360), Box(470, 350, 10, 10), Box(-9, -9, 40, 40), Box(208, 32, 9, 9)])
def test_drawing_changes_a_copy_wherever_the_box_is(portrait: Image, box: Box) -> None:
    before = portrait.copy()
    picture = annotate(portrait, [make_face(box=box)])
    np.testing.assert_array_equal(portrait, before)
    assert picture.shape == portrait.shape
    assert (picture != portrait).any()


@pytest.mark.parametrize("x", [-80, 320])
def test_bars_of_a_face_that_is_half_out_of_the_picture_keep_their_share(portrait: Image, x: int) -> None:
    picture = annotate(portrait, [make_face(box=Box(x, 100, 160, 160))])
    rows = (picture[262:] == COLORS["happy"]).all(axis=2)
    longest = int(rows.sum(axis=1).max())
    visible = min(x + 160, 480) - max(0, x)
    assert 0.4 * visible < longest < 0.75 * visible  # 70 % of what is seen of it, or of what names leave


def test_bars_do_not_flicker_where_a_face_is_just_wide_enough(portrait: Image) -> None:
    def draw(width: int, named: set[int] | None) -> bool:
        box = Box(100, 20, width, width)
        picture = annotate(portrait, [make_face(box=box)], named)
        below = (picture != portrait).any(axis=(1, 2)).nonzero()[0].max() - box.y - box.height
        return bool(below > 20)  # three bars, not one

    width = next(width for width in range(20, 300) if draw(width, None))
    named: set[int] = set()
    assert [draw(width + change, named) for change in (-1, 0, -5, 3, -5)] == [False, True, True, True, True]
    assert not draw(width // 2, named)
    assert named == set()


@pytest.mark.parametrize("name", ["x.mp4", "x.png", "x.jsonl"])
def test_a_run_without_a_frame_leaves_no_file(tmp_path: Path, name: str) -> None:
    with open_output(str(tmp_path / name), at(25)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.mp4", "x.png", "x.jsonl"])
def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        open_output(str(tmp_path / "nowhere" / name), at(25))


def test_an_unknown_output_lists_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"unknown output 'x\.gif': allowed are text, jsonl, window"):
        open_output("x.gif", at(25))


@pytest.mark.parametrize("display", ["", ":55"])
def test_a_window_without_a_screen_is_refused(monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OSError, match=f"no screen for a window \\(DISPLAY is {display or 'none'}\\)"):
        open_output("window", at(25))
