"""Frames come from files, folders and cameras; what holds none says so."""

import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.faces import Image
from mien.sources import DEMO_CLIP, camera, open_source


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


def test_images_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no picture")
    with open_source(str(tmp_path / "a.png")) as image, pytest.raises(ValueError, match=r"a\.png cannot be read"):
        list(image)
    with open_source(str(tmp_path)) as folder, pytest.raises(ValueError, match="cannot be read as an image"):
        list(folder)


def test_a_video_of_varying_rate_keeps_the_times_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "12:30.mp4"  # FFmpeg would take 12 for a protocol
    times_ms = [0, 40, 80, 120, 620, 1120, 1160, 2160]
    with av.open(str(tmp_path / "phone.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for time_ms in times_ms:
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="bgr24")
            picture.pts, picture.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    (tmp_path / "phone.mp4").rename(file)
    with open_source(str(file)) as source:
        found_ms = [frame.time_s * 1000 for frame in source]
    assert found_ms == pytest.approx(times_ms, abs=2)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        open_source(str(tmp_path))


def test_what_does_not_exist_lists_what_is_allowed() -> None:
    with pytest.raises(FileNotFoundError, match=r"'holiday\.mp4' does not exist: allowed are camera"):
        open_source("holiday.mp4")


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no camera at /dev/video97: cameras here are"):
        open_source("/dev/video97")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for /dev; camera 2 alone gives pictures, those of the demo clip."""
    monkeypatch.setattr(camera, "DEVICES", tmp_path)

    def open_clip(number: int) -> cv2.VideoCapture:
        # OpenCV reads cameras and files through the same class.
        return cv2.VideoCapture(str(DEMO_CLIP if number == 2 else tmp_path / "no camera"))

    monkeypatch.setattr(camera.CameraSource, "_open", staticmethod(open_clip))
    return tmp_path


def test_the_first_camera_is_the_first_that_gives_a_picture(devices: Path) -> None:
    for number in (0, 2, 10):
        (devices / f"video{number}").touch()
    with open_source("camera") as source:
        frame = next(iter(source))
    assert frame.image.shape == (360, 480, 3)


def test_a_camera_gives_frames_with_unix_time_and_its_loss_is_told(devices: Path) -> None:
    (devices / "video2").touch()
    started_s = time.time()
    frames = []
    with open_source("camera") as source, pytest.raises(OSError, match="video2 stopped giving pictures"):
        for frame in source:
            frames.append((frame.index, frame.time_s))
    assert [index for index, _ in frames] == list(range(250))
    assert started_s <= frames[0][1] <= frames[-1][1] <= time.time()


def test_devices_that_are_no_cameras_are_named(devices: Path) -> None:
    (devices / "video10").touch()
    with pytest.raises(OSError, match=r"no picture from .*video10: is another program"):
        open_source("camera")


def test_without_any_camera_the_way_out_is_told(devices: Path) -> None:
    with pytest.raises(FileNotFoundError, match="plug one in or use --source FILE"):
        open_source("camera")
