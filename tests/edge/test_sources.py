"""Frames come from files, folders and cameras; what holds none says so."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.faces import Image
from mien.sources import DEMO_CLIP, open_source
from mien.sources.camera import CameraSource


def test_a_video_gives_all_its_frames_with_their_times() -> None:
    with open_source(str(DEMO_CLIP)) as source:
        frames = list(source)
    assert source.is_continuous
    assert source.frame_rate == 25
    assert [frame.index for frame in frames] == list(range(250))
    assert frames[-1].time_s == pytest.approx(249 / 25)
    assert {frame.image.shape for frame in frames} == {(360, 480, 3)}


def test_a_folder_gives_its_images_by_name_each_for_itself(tmp_path: Path, portrait: Image) -> None:
    for name, level in (("b.png", 20), ("a.jpg", 10), ("c.JPG", 30)):
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert not source.is_continuous
    assert [round(float(frame.image.mean())) for frame in frames] == [10, 20, 30]


def test_one_image_is_a_source(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "portrait.png"
    cv2.imwrite(str(file), portrait)
    with open_source(str(file)) as source:
        (frame,) = source
    np.testing.assert_array_equal(frame.image, portrait)


def test_a_damaged_image_among_others_is_skipped_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    with open_source(str(tmp_path)) as source:
        assert [frame.index for frame in source] == [1]
    assert "a.png cannot be read as an image: skipped" in caplog.text


@pytest.mark.parametrize("content", [b"", b"hello", DEMO_CLIP.read_bytes()[:1000]])
def test_a_file_without_a_frame_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip\.mp4 holds no video frame"):
        open_source(str(file))


def test_a_damaged_single_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        open_source(str(tmp_path / "a.png"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        open_source(str(tmp_path))


def test_what_does_not_exist_lists_what_is_allowed() -> None:
    with pytest.raises(FileNotFoundError, match=r"'holiday\.mp4' does not exist: allowed are camera"):
        open_source("holiday.mp4")


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no camera at /dev/video97: cameras here are"):
        open_source("/dev/video97")


def test_a_camera_gives_frames_with_unix_time_and_its_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clip stands for the camera: OpenCV reads both through the same class.
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([Path("/dev/video0")]))
    monkeypatch.setattr(CameraSource, "_open", staticmethod(lambda number: cv2.VideoCapture(str(DEMO_CLIP))))
    started_s = time.time()
    frames = []
    with open_source("camera") as source, pytest.raises(OSError, match="stopped giving pictures"):
        for frame in source:
            frames.append((frame.index, frame.time_s))
    assert [index for index, _ in frames] == list(range(250))
    assert started_s <= frames[0][1] <= frames[-1][1] <= time.time()
