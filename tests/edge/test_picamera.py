"""The Pi's camera, against a stand-in; and the stand-in and our calls against the real package's source."""

import ast
import sys
import threading
import time
import types
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.config import Config
from mien.sources import SourceLostError, camera, open_source, picamera
from mien.sources.picamera import PiCameraSource
from tests.test_install import run

STRIDE = 64
"""The hardware pads the rows of the small picture to a multiple of this."""


class Transform:
    def __init__(self, hflip: bool = False, vflip: bool = False) -> None:
        self.hflip, self.vflip = hflip, vflip


class CompletedRequest:
    """One exposure: a colour picture of one value, and planes whose luma counts its columns."""

    def __init__(self, owner: "Picamera2", number: int) -> None:
        self.owner, self.number = owner, number
        owner.held += 1

    def make_array(self, name: str) -> Any:
        assert self.owner.configuration is not None
        width, height = self.owner.configuration[name]["size"]
        if name == "main":
            return np.full((height, width, 3), self.number, np.uint8)
        stride = -(-width // STRIDE) * STRIDE
        planes = np.full((height * 3 // 2, stride), 255, np.uint8)
        planes[:height, :width] = np.arange(width)
        return planes

    def get_metadata(self) -> dict[str, Any]:
        taken_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 40_000_000
        return {"SensorTimestamp": taken_ns, "ExposureTime": 10_000} if self.owner.tells_time else {"ExposureTime": 1}

    def release(self) -> None:
        self.owner.held -= 1


class Picamera2:
    """What we use of picamera2's class, with the real names of methods and arguments."""

    cameras: list[dict[str, Any]] = []  # noqa: RUF012  (set by the fixture)
    opened: list["Picamera2"] = []  # noqa: RUF012
    failure: str = ""
    tells_time = True
    frames: "deque[int] | None" = None
    """The frames that are left; None: no end."""

    def __init__(self, camera_num: int = 0) -> None:
        if Picamera2.failure == "open":
            raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError("Device busy")
        self.camera_num, self.held, self.number = camera_num, 0, 0
        self.configuration: dict[str, Any] | None = None
        self.is_started = self.is_closed = self.is_flushed = False
        Picamera2.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return Picamera2.cameras

    def create_video_configuration(
        self,
        main: dict[str, Any],
        lores: dict[str, Any],
        transform: Transform,
        buffer_count: int,
        controls: dict[str, Any],
    ) -> dict[str, Any]:
        names = ("main", "lores", "transform", "buffer_count", "controls")
        return dict(zip(names, (main, lores, transform, buffer_count, controls), strict=True))

    def configure(self, camera_config: dict[str, Any]) -> None:
        main, lores = camera_config["main"]["size"], camera_config["lores"]["size"]
        # The real one's own checks.
        if any(side % 2 for side in (*main, *lores)):
            raise RuntimeError("width and height should be even")
        if lores[0] > main[0] or lores[1] > main[1]:
            raise RuntimeError("lores stream dimensions may not exceed main stream")
        self.configuration = camera_config

    def stream_configuration(self, name: str = "main") -> dict[str, Any]:
        assert self.configuration is not None
        return dict(self.configuration[name])

    def start(self) -> None:
        self.is_started = True

    def capture_request(self, wait: float) -> CompletedRequest:
        if Picamera2.frames is not None and not Picamera2.frames:
            time.sleep(wait)
            raise TimeoutError
        if Picamera2.frames is not None:
            Picamera2.frames.popleft()
        time.sleep(0.001)
        self.number += 1
        return CompletedRequest(self, self.number)

    def cancel_all_and_flush(self) -> None:
        self.is_flushed = True

    def close(self) -> None:
        # The real one waits for the jobs in its queue, and a capture that timed out is still there.
        assert Picamera2.frames is None or Picamera2.frames or self.is_flushed
        self.is_closed = True


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Picamera2]:
    """Return the stand-in, which is found in picamera2's place: a USB camera and one on the board; no /dev/video*."""
    modules: dict[str, dict[str, Any]] = {"picamera2": {"Picamera2": Picamera2}, "libcamera": {"Transform": Transform}}
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    cameras = [{"Id": "/base/soc/usb@1/1-1", "Num": 1}, {"Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0}]
    for attribute, value in {
        "cameras": cameras,
        "opened": [],
        "failure": "",
        "tells_time": True,
        "frames": None,
    }.items():
        monkeypatch.setattr(Picamera2, attribute, value)
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    return Picamera2


def test_a_frame_has_the_picture_its_luma_and_the_sensors_time(pi: type[Picamera2]) -> None:
    with open_source("picamera", Config(size="640x480", detect_side=304)) as source:
        frame = next(iter(source))
        before_s, unix_s = time.monotonic(), time.time()
    assert source.is_live
    assert frame.image.shape == (480, 640, 3)
    assert frame.luma is not None
    assert frame.luma.shape == (228, 304)
    assert frame.luma.strides == (320, 1)  # a view into the planes: nothing was copied
    assert (frame.luma == np.arange(304).astype(np.uint8)).all()
    # The sensor says 40 ms before the capture; both clocks are read within the 0.5 s that this may take.
    assert 0.04 <= before_s - frame.taken_s < 0.54
    assert 0.04 <= unix_s - frame.time_s < 0.54


def test_without_the_sensors_time_a_frame_was_taken_when_it_came(pi: type[Picamera2]) -> None:
    pi.tells_time = False
    started_s = time.monotonic()
    with open_source("picamera") as source:
        frame = next(iter(source))
    assert started_s <= frame.taken_s <= time.monotonic()


def test_the_camera_is_asked_for_what_was_configured(pi: type[Picamera2]) -> None:
    with open_source("picamera", Config(size="1281x721", frame_rate=15.0, detect_side=320)) as source:
        assert source.frame_rate == 15.0
        (opened,) = pi.opened
        configuration = opened.configuration
        assert opened.camera_num == 1  # the one on the board; the other is a USB camera
    assert configuration is not None
    assert configuration["main"] == {"size": (1280, 720), "format": "RGB888"}
    assert configuration["lores"] == {"size": (320, 180), "format": "YUV420"}
    assert configuration["controls"] == {"FrameRate": 15.0}


@pytest.mark.parametrize(
    ("size", "detect_side", "expected"), [("320x240", 640, (320, 240)), ("480x640", 320, (240, 320))]
)
def test_the_small_picture_is_never_larger_and_keeps_the_view(
    pi: type[Picamera2], size: str, detect_side: int, expected: tuple[int, int]
) -> None:
    with open_source("picamera", Config(size=size, detect_side=detect_side)):
        configuration = pi.opened[0].configuration
    assert configuration is not None
    assert configuration["lores"]["size"] == expected


@pytest.mark.parametrize(
    ("rotate", "mirror", "hflip", "vflip", "shape"),
    [
        (0, False, False, False, (480, 640, 3)),
        (0, True, True, False, (480, 640, 3)),
        (180, False, True, True, (480, 640, 3)),
        (180, True, False, True, (480, 640, 3)),
        (90, True, False, False, (640, 480, 3)),  # which a sensor cannot do
    ],
)
def test_the_sensor_turns_the_picture_if_it_can(
    pi: type[Picamera2], rotate: int, mirror: bool, hflip: bool, vflip: bool, shape: tuple[int, ...]
) -> None:
    with open_source("picamera", Config(rotate=rotate, mirror=mirror)) as source:
        frame = next(iter(source))
        configuration = pi.opened[0].configuration
    assert configuration is not None
    transform = configuration["transform"]
    assert (transform.hflip, transform.vflip) == (hflip, vflip)
    assert frame.image.shape == shape
    assert frame.luma is not None
    assert frame.luma.shape == ((320, 240) if rotate == 90 else (240, 320))


def test_every_request_goes_back_to_the_camera(pi: type[Picamera2]) -> None:
    with PiCameraSource(Config()) as source:
        for frame in source:
            assert pi.opened[0].held == 0  # a camera has a few buffers only
            if frame.index == 9:
                break
    assert pi.opened[0].is_closed


def test_a_capture_that_hangs_is_a_lost_camera_which_can_be_closed(pi: type[Picamera2]) -> None:
    pi.frames = deque(range(3))
    source, frames = PiCameraSource(Config(frame_rate=100.0), timeout_s=0.05), []
    with pytest.raises(SourceLostError, match=r"the Pi camera gave no picture for 0\.05 s"):
        for frame in source:
            frames.append(frame.index)
    source.close()  # the stand-in refuses it while the capture waits
    assert frames == [0, 1, 2]
    assert pi.opened[0].is_closed


def test_a_slow_camera_is_waited_for(pi: type[Picamera2]) -> None:
    pi.frames = deque(range(1))
    with (
        PiCameraSource(Config(frame_rate=10.0), timeout_s=0.01) as source,
        pytest.raises(SourceLostError, match=r"0\.3 s"),
    ):
        list(source)


def test_a_camera_without_a_picture_is_told_at_the_start_and_let_go(pi: type[Picamera2]) -> None:
    pi.frames = deque()
    with pytest.raises(OSError, match="gave no picture"):
        PiCameraSource(Config(), timeout_s=0.01)
    assert pi.opened[0].is_closed


def test_closing_from_another_thread_ends_the_frames(pi: type[Picamera2]) -> None:
    source = PiCameraSource(Config())
    thread = threading.Thread(target=lambda: list(source), daemon=True)
    thread.start()
    source.close()
    thread.join(2)
    assert not thread.is_alive()


def test_a_camera_that_another_program_uses_is_told_with_the_first_cause(pi: type[Picamera2]) -> None:
    pi.failure = "open"
    with pytest.raises(OSError, match="the Pi camera does not open: Device busy; is another program using it"):
        open_source("picamera")


def test_a_board_without_its_own_camera_is_told(pi: type[Picamera2]) -> None:
    pi.cameras = pi.cameras[:1]
    with pytest.raises(FileNotFoundError, match=r"no Pi camera: .*rpicam-hello --list-cameras"):
        open_source("picamera")


def test_auto_takes_the_pi_camera_where_there_is_one(pi: type[Picamera2]) -> None:
    with open_source("auto") as source:
        assert next(iter(source)).luma is not None


def test_auto_says_all_that_it_looked_for(pi: type[Picamera2]) -> None:
    pi.cameras = []
    with pytest.raises(
        FileNotFoundError, match=r"found no camera: there is no Pi camera: .*; there is no USB camera: no "
    ):
        open_source("auto")


def test_a_missing_picamera2_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    with pytest.raises(ImportError, match=r"sudo apt install python3-picamera2, .* --system-site-packages"):
        open_source("picamera")
    with pytest.raises(FileNotFoundError, match=r"found no camera: picamera2 cannot .*; there is no USB camera"):
        open_source("auto")


def test_a_picamera2_that_numpy_2_has_broken_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What apt's simplejpeg does on Bookworm when pip brings numpy 2.
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"does not fit the installed numpy .*: pip install 'mien\[pi\]'"):
        open_source("picamera")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the source files of the newest picamera2, which cannot be imported without libcamera."""
    folder = tmp_path_factory.mktemp("picamera2")
    run(
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        folder,
        "picamera2",
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}


def methods(source: str, name: str) -> dict[str, ast.arguments]:
    """Return the methods of a class in a file; of overloaded ones the last, which is the real one."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.name == name]
    return {node.name: node.args for node in classes[0].body if isinstance(node, ast.FunctionDef)}


def calls(source: str, receivers: dict[str, str]) -> set[tuple[str, str, int, tuple[str, ...]]]:
    """Return (class, method, number of positional arguments, names of the others) of all calls on the receivers."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        names = tuple(str(keyword.arg) for keyword in node.keywords)
        text = ast.unparse(node.func)
        owner, _, method = text.rpartition(".")
        if owner in receivers:
            found.add((receivers[owner], method, len(node.args), names))
        elif text in receivers:
            found.add((receivers[text], "__init__", len(node.args), names))
    return found


@pytest.mark.install
def test_each_call_fits_the_picamera2_of_the_package_index(real: dict[str, str]) -> None:
    signatures = {
        "Picamera2": methods(real["picamera2/picamera2.py"], "Picamera2"),
        "CompletedRequest": methods(real["picamera2/request.py"], "CompletedRequest"),
    }
    receivers = {"Picamera2": "Picamera2", "self._camera": "Picamera2", "camera": "Picamera2"}
    ours = calls(Path(picamera.__file__).read_text(), receivers | {"request": "CompletedRequest"})
    assert {(owner, method) for owner, method, _, _ in ours} == {
        *(("Picamera2", method) for method in methods(Path(__file__).read_text(), "Picamera2")),
        *(("CompletedRequest", method) for method in ("make_array", "get_metadata", "release")),
    }
    for owner, method, count, keywords in ours:
        arguments = [argument.arg for argument in signatures[owner][method].args if argument.arg != "self"]
        assert set(keywords) <= set(arguments[count:]), (owner, method, keywords, arguments)
        assert count <= len(arguments), (owner, method)
    for owner, stand_in in (("Picamera2", Picamera2), ("CompletedRequest", CompletedRequest)):
        for method, signature in methods(Path(__file__).read_text(), stand_in.__name__).items():
            if (owner, method) != ("CompletedRequest", "__init__"):
                known = {argument.arg for argument in signatures[owner][method].args}
                assert {argument.arg for argument in signature.args} <= known, (owner, method)


@pytest.mark.install
def test_what_we_know_of_picamera2_is_still_so(real: dict[str, str]) -> None:
    request, main = real["picamera2/request.py"], real["picamera2/picamera2.py"]
    assert '"RGB888": "BGR"' in request  # its RGB888 is BGR in memory
    assert "image = array.reshape((h * 3 // 2, stride))" in request  # YUV420 keeps its padding
    assert '"/usb" not in cam' in main  # how USB cameras are told from the board's own
    assert '"FrameRate": ("FrameDurationLimits"' in real["picamera2/controls.py"]
    assert "self._future.result(timeout=timeout)" in real["picamera2/job.py"]  # so TimeoutError it is
