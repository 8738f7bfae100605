"""`mien doctor` on machines that are ill in one way each; docs/troubleshooting.md knows all that it says."""

import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.card import MODELS_DIR
from mien.cli import main
from mien.config import Config, MqttConfig
from mien.doctor import camera, check, child, examine, outputs, problems, report, runtime, system
from mien.doctor.check import Check, Problem
from mien.outputs.base import OutputContext
from mien.outputs.web import WebOutput
from mien.published import PUBLISHED
from mien.sources import camera as usb
from tests.conftest import REPOSITORY, require_program
from tests.edge.mosquitto import Mosquitto, free_port

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
PROBLEMS = {name: problem for name, problem in vars(problems).items() if isinstance(problem, Problem)}


def is_in_page(found: Check) -> bool:
    """Return whether the page has a message like this, with CAPITALS in place of what differs."""
    for message in re.findall(r"`([^`]+)`\\\n", PAGE):
        for text in (message, message.rpartition("; ")[0], message.rpartition(": ")[0]):  # without its fix
            pattern = re.sub(r"\b[A-Z]+\b", ".+", re.escape(text))
            if re.search("[a-z]{3}", text) and re.fullmatch(pattern, found.found):
                return True
    return False


def only(checks: Iterable[Check]) -> Check:
    """Return the one check that there is; what is wrong has a fix, and an entry in the page."""
    (found,) = checks
    if found.state != "ok":
        assert found.fix
        assert is_in_page(found), found
    return found


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def put_program(folder: Path, name: str, script: str) -> None:
    put(folder, name, f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Return what puts a module in the place of an installed one, here and in the processes that are started."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    return lambda path, code: put(tmp_path / "modules", path, code)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_page_has_an_entry_for_each_problem(name: str) -> None:
    message = re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), PROBLEMS[name].found)
    assert f" `{message}`\\\n" in PAGE


def test_each_message_of_the_page_is_one_that_mien_can_print() -> None:
    sources = "".join(file.read_text() for file in sorted((REPOSITORY / "edge").rglob("*.py")))
    printed = re.sub(r'"\s*\n\s*f?"', "", sources)  # texts that go on in the next line
    messages = re.findall(r"`([^`]+)`\\\n", PAGE)
    assert len(messages) > len(PROBLEMS)
    for message in messages:
        for part in re.split(r"\b[A-Z]+(?![\w=])|[:;] ", message):
            assert part.strip("() ") in printed, message


def run_doctor(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mien", "doctor", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)


def test_a_healthy_machine_gets_a_line_each_and_exit_code_0() -> None:
    started_s = time.monotonic()
    result = run_doctor("--source", "demo")
    assert time.monotonic() - started_s < 15
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    names = [line[9:21].strip() for line in lines[:-1] if not line.startswith(" ")]
    assert names[:7] == ["settings", "Python", "system", "runtime", "OpenCV", "models", "YuNet"]
    assert names[7:10] == ["recognition", "cameras", "picture"]
    assert names[-5:] == ["disk", "memory", "temperature", "power", "governor"]
    assert "480x360 from" in result.stdout
    assert "failure" not in lines[-1] or "no failure" in lines[-1]
    assert "\033" not in result.stdout


def test_programs_get_json_and_exit_code_1_for_what_cannot_work() -> None:
    result = run_doctor("--source", "demo", "--model", "no_such", "--output", "/nowhere/faces.csv", "--json")
    content = json.loads(result.stdout)
    assert result.returncode == 1
    assert content["is_well"] is False
    failures = {found["name"]: Check(**found) for found in content["checks"] if found["state"] == "failure"}
    assert set(failures) == {"recognition", "faces.csv"}
    assert failures["recognition"].found == "unknown model 'no_such'"
    assert failures["recognition"].fix.startswith("allowed are ")
    assert "the folder /nowhere does not exist" in failures["faces.csv"].found
    assert all(is_in_page(found) for found in failures.values())


def test_a_mistake_in_the_settings_is_a_failure_and_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    put(tmp_path, "mien.toml", "max_facse = 2\n")
    result = run_doctor("--config", str(tmp_path / "mien.toml"), "--json")
    checks = {found["name"]: found for found in json.loads(result.stdout)["checks"]}
    assert result.returncode == 1
    assert result.stderr == ""
    assert "did you mean max_faces?" in checks["settings"]["found"]
    assert checks["runtime"]["state"] == "ok"


def test_no_camera_at_all_is_a_warning_and_a_missing_one_that_was_named_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = only(camera.check_frame(Config(), tmp_path))
    assert (found.state, found.found) == ("warning", problems.NO_CAMERA.found)
    found = only(camera.check_frame(Config(source="/dev/video77"), tmp_path))
    assert (found.state, found.fix) == ("failure", "plug one in")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "has_color"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (None, {"TERM": "xterm"}, False),  # `mien doctor >&-`
    ],
)
def test_a_terminal_gets_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None, variables: dict[str, str], has_color: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert report.is_colored(stream) is has_color
    line = report.describe(Check("disk", "failure", "full", "make room"), has_color=True)
    assert line == "\033[31mfailure \033[0m disk         full\n         fix: make room"


def test_the_pip_of_a_fix_is_the_one_of_this_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = Check("web", "failure", "needs aiohttp", "pip install 'mien[web]'")
    put_program(tmp_path, "bin/pip", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert check.with_own_pip(broken).fix == f"{tmp_path}/bin/pip install 'mien[web]'"
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin")
    assert check.with_own_pip(broken) == broken
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere
    assert check.with_own_pip(broken).fix == f"sudo {tmp_path}/bin/pip install 'mien[web]'"


# The runtime, OpenCV and the models.


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", r"ai-edge-litert \S+ crashes when it runs a model \(SIGABRT; numpy \S+\)"),
        ("raise SystemExit(3)", r"ai-edge-litert \S+ crashes when it runs a model \(exit code 3; numpy \S+\)"),
        ("import time; time.sleep(60)", r"ai-edge-litert \S+ gives no answer within 2 s"),
    ],
)
def test_a_runtime_that_is_imported_and_then_crashes_is_told_with_the_command_that_mends_it(
    stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(runtime, "RUNTIME_LIMIT_S", 2.0)
    body = f"class Interpreter:\n    def __init__(self, **arguments):\n        {code}\n"
    stand_in("ai_edge_litert/__init__.py", "")
    stand_in("ai_edge_litert/interpreter.py", body)
    found = only(runtime.check_runtime())
    assert re.fullmatch(message, found.found)
    assert found.fix == "pip install --force-reinstall ai-edge-litert"


def test_a_runtime_for_numpy_1_beside_numpy_2_is_told(stand_in: Callable[[str, str], None]) -> None:
    stand_in("ai_edge_litert/__init__.py", "raise ModuleNotFoundError('gone')")
    stand_in("tflite_runtime/__init__.py", "")
    stand_in("tflite_runtime/interpreter.py", "class Interpreter: pass")
    found = only(runtime.check_runtime())
    assert found.found == f"tflite-runtime cannot work with numpy {np.__version__}"
    assert found.fix == "pip install 'numpy<2', or pip install ai-edge-litert instead"


def test_no_runtime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "RUNTIMES", {"ai-edge-litert": "no_such_package.interpreter"})
    assert only(runtime.check_runtime()).fix == "pip install 'mien[edge]'"
    monkeypatch.setattr(runtime, "IS_32_BIT", True)  # on a 64-bit kernel pip would take wheels for 64 bits
    assert only(runtime.check_runtime()).fix.startswith("pip install tflite-runtime==2.14.0 'numpy<2'")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("__version__ = '5.0.0'", "OpenCV 5.0.0 has no Haar cascades"),
        ("raise ImportError('libGL.so.1: cannot open')", "OpenCV cannot be imported (libGL.so.1: cannot open)"),
        ("import os; os.abort()", "OpenCV crashes when it is used (SIGABRT)"),
    ],
)
def test_an_opencv_that_cannot_find_faces_is_told(
    stand_in: Callable[[str, str], None], code: str, message: str
) -> None:
    stand_in("cv2.py", code)
    found = only(runtime.check_opencv())
    assert (found.state, found.found) == ("failure", message)
    assert found.fix.startswith("pip install ")


def test_without_opencv_no_camera_is_blamed(stand_in: Callable[[str, str], None]) -> None:
    stand_in("cv2.py", "raise ImportError('libGL.so.1: cannot open')")
    checks = {found.name: found for found in examine(lambda: Config(source="demo", output=()))}
    assert checks["OpenCV"].state == "failure"
    assert checks["picture"] == problems.NOT_TRIED.about("picture", what="OpenCV")


def test_a_damaged_model_is_told_beside_those_that_are_whole(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(MODELS_DIR, folder)
    (folder / "cnn_int8.tflite").write_bytes((folder / "cnn_int8.tflite").read_bytes()[:-1])
    damaged, whole = runtime.check_models(folder)
    assert (damaged.state, whole.state) == ("failure", "ok")
    assert only([damaged]).found.startswith(f"{folder}/cnn_int8.tflite has 1216351 bytes, its card says 1216352")
    assert whole.found == "finder_int8, mien_net_int8: each is the file of its card"
    (folder / "cnn_int8.tflite").unlink()
    assert [found.state for found in runtime.check_models(folder)] == ["failure", "ok"]
    assert only(runtime.check_models(tmp_path)).found == f"no model in {tmp_path}"


@pytest.mark.parametrize(
    ("detector", "is_whole_size", "state"),
    [("auto", False, "warning"), ("auto", True, "warning"), ("yunet", False, "failure"), ("haar", True, "warning")],
)
def test_a_damaged_yunet_fails_where_a_run_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detector: str, is_whole_size: bool, state: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    published = PUBLISHED["yunet"]
    put(tmp_path, f"mien/models/{published.file}", "x" * (published.size_bytes if is_whole_size else 5))
    found = only(runtime.check_yunet(Config(detector=detector)))
    assert (found.state, found.fix) == (state, "`mien models fetch yunet` brings it again")


# Cameras.


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a stand-in for /dev and /sys with one USB camera, which has two devices, and a codec of the board."""
    monkeypatch.setattr(usb, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(usb, "SYSTEM", tmp_path / "sys")
    for number, place, name in ((0, "usb1", "HD Cam"), (1, "usb1", "HD Cam"), (10, "platform", "codec")):
        put(tmp_path, f"dev/video{number}", "")
        put(tmp_path, f"devices/{place}/video{number}/name", f"{name}\n")
        (tmp_path / "sys").mkdir(exist_ok=True)
        (tmp_path / "sys" / f"video{number}").symlink_to(tmp_path / "devices" / place / f"video{number}")
    return tmp_path


def test_cameras_are_listed_by_name(devices: Path) -> None:
    assert only(camera.check_cameras(Config(), devices)).found == f"{devices}/dev/video0 (HD Cam)"


def test_a_camera_that_is_closed_to_the_user_is_told(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    closed, listed = camera.check_cameras(Config(), devices)
    assert closed.fix.startswith("sudo usermod -aG video $USER")
    assert only([closed]).found == f"no permission for {devices}/dev/video0"
    assert listed.state == "ok"


def test_a_picamera2_that_the_environment_does_not_see_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    monkeypatch.setattr(usb, "DEVICES", tmp_path / "dev")
    assert only(camera.check_cameras(Config(), tmp_path)).found == problems.PICAMERA2_MISSING.found
    assert only(camera.check_cameras(Config(source="demo"), tmp_path)).state == "ok"
    (tmp_path / "usr/lib/python3/dist-packages/picamera2").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", "/home/pi/.venv")
    found = only(camera.check_cameras(Config(), tmp_path))
    assert found.found == problems.PICAMERA2_HIDDEN.found
    assert found.fix == "/usr/bin/python3 -m venv --system-site-packages /home/pi/.venv"


def test_pi_cameras_are_listed_and_a_broken_picamera2_is_told(
    stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(usb, "DEVICES", tmp_path / "dev")
    cameras = [{"Id": "/base/soc/usb@1", "Model": "webcam"}, {"Id": "/base/soc/i2c@1/imx708", "Model": "imx708"}]
    body = f"class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        return {cameras}\n"
    stand_in("picamera2.py", body)
    assert only(camera.check_cameras(Config(), tmp_path)).found == "picamera (imx708)"
    stand_in("picamera2.py", "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')")
    found = only(camera.check_cameras(Config(), tmp_path))
    assert (found.state, found.fix) == ("warning", "pip install 'mien[pi]'")
    stand_in("picamera2.py", "import os; os.abort()")
    assert only(camera.check_cameras(Config(), tmp_path)).found == "picamera2 crashes or hangs (SIGABRT)"


@pytest.mark.parametrize(("code", "message"), [("os.abort()", "crashes the program"), ("time.sleep(60)", "no picture")])
def test_a_driver_that_crashes_or_hangs_ends_only_its_own_check(
    stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, message: str
) -> None:
    monkeypatch.setattr(camera, "FRAME_LIMIT_S", 2.0)
    stand_in("picamera2.py", f"import os, time\n{code}")
    started_s = time.monotonic()
    found = only(camera.check_frame(Config(source="picamera"), tmp_path))
    assert time.monotonic() - started_s < 5
    assert (found.state, message in found.found) == ("failure", True)


def test_a_camera_that_the_service_has_is_no_failure(stand_in: Callable[[str, str], None], tmp_path: Path) -> None:
    put(
        tmp_path,
        "proc/812/cmdline",
        "\0".join(["/opt/mien/bin/python", "/opt/mien/bin/mien", "run", "--source", "auto"]),
    )
    put(tmp_path, "proc/813/cmdline", "\0".join(["python", "/opt/mien/bin/mien", "doctor"]))
    stand_in(
        "picamera2.py",
        "class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        raise OSError('busy')",
    )
    found = only(camera.check_frame(Config(source="picamera"), tmp_path))
    assert (found.state, "process 812" in found.found) == ("warning", True)


def test_a_black_picture_is_a_warning(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "night.png"), np.full((48, 64, 3), 3, np.uint8))
    found = only(camera.check_frame(Config(source=str(tmp_path / "night.png")), tmp_path))
    assert (found.state, "is black" in found.found) == ("warning", True)


def test_a_stream_is_told_without_its_password(tmp_path: Path) -> None:
    found = only(camera.check_frame(Config(source=f"rtsp://me:secret@127.0.0.1:{free_port()}/x"), tmp_path))
    assert found.state == "failure"
    assert "secret" not in found.found + found.fix


# The system.


def states(found: Iterator[Check]) -> tuple[str, str]:
    checked = only(found)
    return checked.state, checked.found


def test_systems_without_a_runtime_are_told(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", 'NAME="Raspbian"\nPRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"\n')
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    expected = "Raspbian GNU/Linux 12 (bookworm), 32 bits, aarch64; Raspberry Pi 4 Model B Rev 1.4"
    assert states(system.check_system(tmp_path, "aarch64", 32, (3, 11))) == ("ok", expected)
    assert states(system.check_system(tmp_path, "armv7l", 32, (3, 13)))[0] == "failure"
    assert states(system.check_system(tmp_path, "armv6l", 32, (3, 11)))[0] == "failure"
    assert states(system.check_python((3, 14, 0)))[0] == "warning"
    assert states(system.check_python((3, 13, 5)))[0] == "ok"


@pytest.mark.parametrize(
    ("flags", "state", "words"),
    [
        ("0x0", "ok", "no under-voltage and no throttling"),
        ("0x50005", "failure", "now under-voltage, throttling; since the start under-voltage, throttling"),
        ("0x50000", "warning", "since the start under-voltage, throttling"),
        ("0xe0008", "warning", "now the soft temperature limit; since the start a capped clock, throttling, the soft"),
    ],
)
def test_the_firmwares_flags_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, state: str, words: str
) -> None:
    put_program(tmp_path, "vcgencmd", f"echo throttled={flags}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = only(system.check_power(tmp_path))
    assert (found.state, found.found.startswith(words)) == (state, True)


def test_a_raspberry_pi_whose_flags_are_closed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(system.check_power(tmp_path)).state == "ok"
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 3 Model B\0")
    assert only(system.check_power(tmp_path)).found == problems.FLAGS_CLOSED.found


@pytest.mark.parametrize(("celsius", "state"), [(45, "ok"), (79, "warning"), (86, "failure")])
def test_heat_is_told(tmp_path: Path, celsius: int, state: str) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", f"{celsius}000\n")
    assert states(system.check_temperature(tmp_path))[0] == "ok"  # others have other limits, and are not slowed
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B\0")
    assert states(system.check_temperature(tmp_path))[0] == state


@pytest.mark.parametrize(
    ("governor", "driver", "state"),
    [("powersave", "cpufreq-dt", "warning"), ("powersave", "intel_pstate", "ok"), ("ondemand", "cpufreq-dt", "ok")],
)
def test_a_governor_that_keeps_the_clock_low_is_told(tmp_path: Path, governor: str, driver: str, state: str) -> None:
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", f"{governor}\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", f"{driver}\n")
    assert states(system.check_governor(tmp_path))[0] == state


@pytest.mark.parametrize(
    ("available_mb", "swap_mb", "state"),
    [(400, 0, "ok"), (150, 0, "warning"), (60, 100, "warning"), (60, 0, "failure")],
)
def test_little_memory_is_told(tmp_path: Path, available_mb: int, swap_mb: int, state: str) -> None:
    text = f"MemTotal: 430000 kB\nMemAvailable: {available_mb}000 kB\nSwapFree:  {swap_mb}000 kB\nHugePages_Total: 0\n"
    put(tmp_path, "proc/meminfo", text)
    assert states(system.check_memory(tmp_path))[0] == state


@pytest.mark.parametrize(("megabytes", "state"), [(900, "ok"), (400, "warning"), (20, "failure")])
def test_a_full_disk_is_told_where_results_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, megabytes: int, state: str
) -> None:
    asked = []

    def usage(folder: Path) -> Any:
        asked.append(folder)
        return shutil._ntuple_diskusage(10**10, 0, megabytes * 1_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert states(system.check_disk([tmp_path / "new" / "faces.csv", tmp_path / "faces.mp4"]))[0] == state
    assert asked == [tmp_path]


# Outputs.


def test_a_port_in_use_is_told_and_a_free_one_is_free_afterwards(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = only(outputs.check_output(f"web:{port}", Config(), tmp_path))
        assert (found.state, found.found.endswith("it is in use")) == ("failure", True)
        put(tmp_path, "proc/7/cmdline", "\0".join(["python3", "-m", "mien", "run"]))
        assert only(outputs.check_output(f"web:{port}", Config(), tmp_path)).state == "warning"
    assert only(outputs.check_output(f"web:{port}", Config(), tmp_path)).state == "ok"
    WebOutput(OutputContext(), str(port)).close()
    assert "everybody" in only(outputs.check_output("web:0.0.0.0:0", Config(), tmp_path)).found


def broker_check(port: int, **settings: Any) -> Check:
    return only(outputs.check_output("mqtt", Config(mqtt=MqttConfig(host="127.0.0.1", port=port, **settings))))


def test_a_broker_that_accepts_refuses_is_silent_or_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = require_program("mosquitto_passwd", "mosquitto")
    subprocess.run([program, "-b", "-c", tmp_path / "users", "kitchen", "right"], check=True, capture_output=True)
    (tmp_path / "users").chmod(0o600)
    with Mosquitto(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'users'}") as broker:
        accepted = broker_check(broker.port, username="kitchen", password="right")
        assert (accepted.state, accepted.found.endswith("accepts user 'kitchen'")) == ("ok", True)
        refused = broker_check(broker.port, username="kitchen", password="wrong")
        assert refused.state == "failure"
        assert "refuses user 'kitchen' (Not authorized)" in refused.found
        assert "refuses clients without a user" in broker_check(broker.port).found
        assert "gives no answer" in broker_check(broker.port, tls=True).found
        broker.pause()
        monkeypatch.setattr(outputs, "CONNECT_S", 0.5)
        assert "gives no answer" in broker_check(broker.port, username="kitchen", password="right").found
    assert broker_check(broker.port).found.endswith("Connection refused")
    assert broker_check(broker.port, password_file="/nowhere").state == "failure"


def test_a_certificate_that_nobody_trusts_and_one_sided_tls_are_told(tmp_path: Path) -> None:
    program, files = require_program("openssl", "openssl"), [tmp_path / name for name in ("ca.key", "ca.crt")]
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [program, *command.split(), "-keyout", *files[:1], "-out", *files[1:]], check=True, capture_output=True
    )
    lines = ("allow_anonymous true", f"keyfile {files[0]}", f"certfile {files[1]}")
    with Mosquitto(tmp_path, *lines) as broker:
        accepted = broker_check(broker.port, tls=True, ca_file=str(files[1]))
        assert (accepted.state, accepted.found.endswith("over TLS")) == ("ok", True)
        assert "its certificate is not trusted (self-signed certificate)" in broker_check(broker.port, tls=True).found
        assert "gives no answer" in broker_check(broker.port).found


def test_a_password_that_others_can_read_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(outputs, "is_loopback", lambda host: False)
    with Mosquitto(tmp_path) as broker:
        found = broker_check(broker.port, username="kitchen", password="any")
    assert (found.state, "goes there unencrypted" in found.found) == ("warning", True)


def test_only_files_count_for_the_disk() -> None:
    texts = ("text", "mqtt:broker.local", "web:8080", "a.csv", "window", "b.mp4")
    assert outputs.result_files(Config(output=texts)) == [Path("a.csv"), Path("b.mp4")]


def test_a_missing_paho_and_a_missing_screen_are_told(
    stand_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert only(outputs.check_output("window", Config())).state == "failure"
    stand_in("paho/__init__.py", "")
    assert broker_check(1883).fix == "pip install 'mien[mqtt]'"


# What every check has in common.


def test_a_check_that_hangs_or_fails_does_not_end_the_others() -> None:
    def fail() -> list[Check]:
        raise KeyError("mistake")

    def hang() -> list[Check]:
        time.sleep(1)
        return []

    assert only(check.limited("disk", fail)).found == "the check itself failed (KeyError: 'mistake')"
    assert only(check.limited("disk", hang, 0.05)).found == "no answer within 0.05 s"


def test_what_a_hanging_child_has_started_is_ended_too(tmp_path: Path) -> None:
    with pytest.raises(child.HungError):
        child.ask(subprocess.run, ["sh", "-c", f"echo $$ > {tmp_path}/number; sleep 60"], limit_s=2.0)
    process = int((tmp_path / "number").read_text())
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{process}/stat").exists() and time.monotonic() < deadline_s:
        if Path(f"/proc/{process}/stat").read_text().split()[2] == "Z":  # ended, and not yet buried by init
            return
        time.sleep(0.02)
    assert not Path(f"/proc/{process}").exists()


def test_a_wrong_flag_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--sorce", "demo"]) == 2
    assert capsys.readouterr().err == "error: unknown flag --sorce: did you mean --source?\n"
