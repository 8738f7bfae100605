"""Frames come from files, folders and cameras; what holds none says so."""

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from mien.config import Config
from mien.faces import Image
from mien.sources import DEMO_CLIP, Frame, Source, camera, open_source
from mien.sources.camera import CameraSource
from mien.sources.turned import turned


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


def write_clip(file: Path, codec: str, frames: int = 40, **options: str) -> Path:
    """Write a video of 25 frames/s, whose first 50 frames are as bright as their number."""
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            image = np.full((120, 160, 3), 4 * (index % 50) + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg"), ("a.mkv", "libx264")])
def test_every_usual_kind_of_video_is_read_whole(
    tmp_path: Path, name: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(str(write_clip(tmp_path / name, codec))) as source:
        frames = list(source)
    # On its way to YUV and back a picture loses 1 to 4 levels.
    assert [round((float(frame.image.mean()) - 18) / 4) for frame in frames] == list(range(40))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(40)], abs=2e-3)
    assert not source.is_live
    assert not caplog.text


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {})])
def test_a_video_that_was_cut_off_gives_what_it_has_and_says_so(
    tmp_path: Path, name: str, options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    file = write_clip(tmp_path / name, "mpeg4", 100, **options)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with open_source(str(file)) as source:
        frames = list(source)
    assert 20 < len(frames) < 80
    (line,) = caplog.messages
    assert line.endswith(f"{name} ends at {frames[-1].time_s:.1f} of 4.0 s: it is damaged or incomplete")


def test_real_clips_are_not_called_incomplete(media: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in sorted((media / "clips").iterdir()):
        with open_source(str(file)) as source:
            assert sum(1 for _ in source) > 10
    assert not caplog.text


def test_in_realtime_frames_come_when_they_are_due(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "a.mp4", "libx264", 26)
    with open_source(str(file), Config(realtime=True)) as source:
        assert source.is_live
        iterator = iter(source)
        next(iterator)
        started_s = time.monotonic()
        seen = [(frame.time_s, frame.taken_s - started_s, time.monotonic() - started_s) for frame in iterator]
    assert len(seen) == 25
    for due_s, taken_s, came_s in seen:
        # Never before it is due (1 ms: the first frame was on its way, too); this machine may be busy.
        assert due_s - 1e-3 <= taken_s <= came_s < due_s + 0.5


def test_the_demo_can_be_played_in_realtime() -> None:
    with open_source("demo", Config(realtime=True)) as source:
        iterator = iter(source)
        next(iterator)
        started_s = time.monotonic()
        assert [next(iterator).index for _ in range(10)] == list(range(1, 11))
        assert 0.39 < time.monotonic() - started_s < 2


def test_a_realtime_video_can_be_closed_while_it_waits(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "a.mp4", "libx264", 40)
    source = open_source(str(file), Config(realtime=True))
    indices: list[int] = []
    thread = threading.Thread(target=lambda: indices.extend(frame.index for frame in source), daemon=True)
    thread.start()
    time.sleep(0.2)
    source.close()
    thread.join(0.5)
    assert not thread.is_alive()
    assert 0 < len(indices) < 30


def test_closing_a_file_while_another_thread_reads_it_is_safe(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "a.mp4", "libx264", 200)
    for _ in range(10):
        source = open_source(str(file))
        thread = threading.Thread(target=lambda source=source: list(source), daemon=True)
        thread.start()
        time.sleep(0.005)
        source.close()
        thread.join(2)
        assert not thread.is_alive()


CORNERS = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
"""Stands for a picture; each pixel can be told from the others."""


@pytest.mark.parametrize(
    ("rotate", "mirror", "expected"),
    [
        (0, True, [[2, 1], [4, 3], [6, 5]]),
        (90, False, [[5, 3, 1], [6, 4, 2]]),
        (180, False, [[6, 5], [4, 3], [2, 1]]),
        (270, False, [[2, 4, 6], [1, 3, 5]]),
        (90, True, [[1, 3, 5], [2, 4, 6]]),  # as in a mirror, after it was turned
    ],
)
def test_pictures_are_turned_clockwise_and_then_mirrored(
    tmp_path: Path, rotate: int, mirror: bool, expected: list[list[int]]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), CORNERS)
    with open_source(str(tmp_path), Config(rotate=rotate, mirror=mirror)) as source:
        (frame,) = source
    assert frame.image[..., 0].tolist() == expected
    assert frame.name == "a.png"
    assert not source.is_continuous


class TwoPlanes(Source):
    """A camera with a luma that is padded, as a Pi's is."""

    is_live, frame_rate = True, 12.0
    is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        padded = np.zeros((3, 8), np.uint8)
        padded[:, :2] = CORNERS
        yield Frame(np.dstack([CORNERS] * 3), 7, 1.5, luma=padded[:, :2], taken_s=42.0)

    def close(self) -> None:
        self.is_closed = True


def test_turning_keeps_all_else_of_a_frame_and_of_its_source() -> None:
    inner = TwoPlanes()
    assert turned(inner, 0, False) is inner
    with turned(inner, 90, False) as source:
        (frame,) = source
    assert (source.is_live, source.is_continuous, source.frame_rate) == (True, True, 12.0)
    assert inner.is_closed
    assert frame.luma is not None
    assert frame.luma.tolist() == [[5, 3, 1], [6, 4, 2]] == frame.image[..., 1].tolist()
    assert (frame.index, frame.time_s, frame.taken_s) == (7, 1.5, 42.0)


def test_what_does_not_exist_lists_what_is_allowed() -> None:
    with pytest.raises(FileNotFoundError, match=r"'holiday\.mp4' does not exist: allowed are auto"):
        open_source("holiday.mp4")
    with pytest.raises(FileNotFoundError, match=r"'pycamera' .* allowed are auto .*, picamera, camera"):
        open_source("pycamera")


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no camera at /dev/video97: cameras here are"):
        open_source("/dev/video97")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for /dev; camera 2 alone gives pictures, those of the demo clip."""
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    monkeypatch.setattr(camera, "SYSTEM", tmp_path / "system")

    def open_clip(number: int) -> cv2.VideoCapture:
        # OpenCV reads cameras and files through the same class.
        return cv2.VideoCapture(str(DEMO_CLIP if number == 2 else tmp_path / "no camera"))

    monkeypatch.setattr(CameraSource, "_open", staticmethod(open_clip))
    return tmp_path


def test_the_first_camera_is_the_first_that_gives_a_picture(devices: Path) -> None:
    for number in (0, 2, 10):
        (devices / f"video{number}").touch()
    with open_source("camera") as source:
        frame = next(iter(source))
    assert source.is_live
    assert frame.image.shape == (360, 480, 3)


def test_codecs_and_bare_sensors_of_the_board_are_passed_over(devices: Path) -> None:
    for number, place in ((0, "platform/soc/csi/video4linux"), (2, "platform/scb/pci/usb1/1-1/video4linux")):
        (devices / f"video{number}").touch()
        (devices / "devices" / place / f"video{number}").mkdir(parents=True)
        (devices / "system").mkdir(exist_ok=True)
        (devices / "system" / f"video{number}").symlink_to(devices / "devices" / place / f"video{number}")
    with open_source("camera") as source:
        next(iter(source))
    (devices / "video2").unlink()
    with pytest.raises(FileNotFoundError, match=r"no USB camera: .*video0 belong to the board; plug one in"):
        open_source("camera")


def test_a_camera_gives_frames_with_unix_time_and_its_loss_is_told(devices: Path) -> None:
    (devices / "video2").touch()
    started_s, began_s = time.time(), time.monotonic()
    frames = []
    with CameraSource("camera", Config()) as source, pytest.raises(OSError, match="video2 stopped giving pictures"):
        for frame in source:
            frames.append(frame)
    assert [frame.index for frame in frames] == list(range(250))
    assert started_s <= frames[0].time_s <= frames[-1].time_s <= time.time()
    assert began_s <= frames[0].taken_s <= frames[-1].taken_s <= time.monotonic()


class FakeCapture:
    """Stands for OpenCV's capture of a USB camera: what it was asked for, and the answers that it will give."""

    def __init__(self, reads: list[bool]) -> None:
        self.reads = reads
        self.asked: dict[int, float] = {}

    def set(self, what: int, value: float) -> bool:
        self.asked[what] = value
        return True

    def get(self, what: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, Image | None]:
        is_read = self.reads.pop(0) if self.reads else False
        return is_read, np.zeros((48, 64, 3), np.uint8) if is_read else None

    def release(self) -> None:
        pass


def use_capture(devices: Path, monkeypatch: pytest.MonkeyPatch, capture: FakeCapture) -> None:
    (devices / "video2").touch()
    monkeypatch.setattr(CameraSource, "_open", staticmethod(lambda number: capture))


def test_a_camera_is_asked_for_size_rate_and_jpeg(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture([True])
    use_capture(devices, monkeypatch, capture)
    with CameraSource("/dev/../" + str(devices / "video2"), Config(size="1280x720", frame_rate=15.0)) as source:
        assert source.frame_rate == 25.0  # what it gives, not what it was asked for
    order = list(capture.asked)
    assert capture.asked == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 15.0,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    assert order[0] == cv2.CAP_PROP_FOURCC  # drivers choose size and rate among those of the format


def test_a_damaged_picture_now_and_then_is_not_a_lost_camera(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_capture(devices, monkeypatch, FakeCapture([True, False, True, False, False, True]))
    frames = []
    with CameraSource("camera", Config()) as source, pytest.raises(OSError, match="is it still plugged in"):
        for frame in source:
            frames.append(frame.index)
    assert frames == [0, 1, 2]


def test_devices_that_are_no_cameras_are_named(devices: Path) -> None:
    (devices / "video10").touch()
    with pytest.raises(OSError, match=r"no picture from .*video10: is another program"):
        open_source("camera")


def test_without_any_camera_the_way_out_is_told(devices: Path) -> None:
    with pytest.raises(FileNotFoundError, match="plug one in or use --source FILE"):
        open_source("camera")


@pytest.mark.parametrize("is_old", [True, False])
def test_opencv_keeps_its_trouble_to_itself_in_old_and_new_versions(
    is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 4.11 has cv2.setLogLevel and no cv2.utils.logging, 4.14 the reverse.
    levels: list[int] = []
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    monkeypatch.setattr(cv2.utils, "logging", SimpleNamespace(setLogLevel=levels.append), raising=False)
    if is_old:
        monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
        monkeypatch.delattr(cv2.utils, "logging")
    with open_source("demo") as source:
        assert next(iter(source)).image.shape == (360, 480, 3)
    assert levels
    assert set(levels) == {2}  # errors alone
