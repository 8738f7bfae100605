"""`mien service`, in a folder like / with stand-ins for systemctl and journalctl; the unit is judged by systemd."""

import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest

import mien
from mien import service
from mien.cli import main
from mien.config import load_settings
from mien.faces import Image
from mien.service import files as service_files
from mien.service.files import Files, read_secrets, unit_text, write_secrets
from tests.conftest import require_program

SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> "$LOG"
case $1 in
    show) cat "$SHOW" ;;
    restart) [ ! -e "$FAILS" ] || { echo 'Job for mien.service failed because of a timeout.' >&2; exit 1; } ;;
esac
"""

JOURNALCTL = """#!/bin/sh
echo "journalctl $*" >> "$LOG"
case $* in *json*) cat "$JOURNAL" ;; *) echo 'Nov 26 12:00:00 pi mien[1]: face 1 happy' ;; esac
"""

ENTRIES = (
    {"MESSAGE": "error: found no camera: plug one in", "SYSLOG_IDENTIFIER": "python"},
    {"MESSAGE": "Failed to start mien.service.", "SYSLOG_IDENTIFIER": "systemd"},
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Return a system with systemd, of which only the commands' stand-ins are run, and no mien in people's homes."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, script in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (bin_dir / name).write_text(script)
        (bin_dir / name).chmod(0o755)
    (tmp_path / "journal").write_text("".join(json.dumps(entry) + "\n" for entry in ENTRIES))
    (tmp_path / "root/run/systemd/system").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
    for name in ("LOG", "SHOW", "FAILS", "JOURNAL"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setattr(service_files, "HOMES", ())
    monkeypatch.setattr(service_files, "TEMPORARY", ())
    monkeypatch.setattr(service_files, "needed_of_homes", lambda config: [])
    return Files(tmp_path / "root")


def install(
    files: Files, config_file: str | None = None, environment: dict[str, str] | None = None, **flags: Any
) -> str:
    names = {name.replace("__", "."): value for name, value in flags.items()}
    return "\n".join(service.install(names, config_file, environment or {}, files))


def commands(tmp_path: Path) -> list[str]:
    """Return what was run since the last time."""
    log = tmp_path / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def loaded(files: Files) -> Any:
    """Return the settings with which the service runs, as systemd gives them."""
    return load_settings({}, files.config, read_secrets(files.secrets)).config


def test_install_writes_settings_and_unit_and_starts_it(files: Files, tmp_path: Path) -> None:
    told = install(files, source="/dev/video3", output=["web", "jsonl"], web__port="9000")
    config = loaded(files)
    assert (config.source, config.output, config.web.port) == ("/dev/video3", ("web", "jsonl"), 9000)
    assert config.threads == 2
    assert "# threads = 2" in files.config.read_text()  # a default of today is none for ever
    assert f"ExecStart={sys.executable} -I -m mien run --config {files.config}\n" in files.unit.read_text()
    assert commands(tmp_path) == ["systemctl daemon-reload", "systemctl enable mien", "systemctl restart mien"]
    assert str(files.config) in told
    assert not files.secrets.exists()


def test_installing_again_changes_what_is_given_and_keeps_the_rest(files: Files) -> None:
    install(files, source="camera", output=["web"])
    told = install(files, web__port="9000")
    config = loaded(files)
    assert (config.source, config.output, config.web.port) == ("camera", ("web",), 9000)
    assert "by hand" not in told
    before = files.config.read_text()
    install(files)
    assert files.config.read_text() == before
    assert sorted(path.name for path in files.config.parent.iterdir()) == ["mien.toml"]


def test_settings_changed_by_hand_are_kept_by_install_and_uninstall(files: Files) -> None:
    install(files, source="camera")
    by_hand = "# mine\n" + files.config.read_text().replace("# mirror = false", "mirror = true # ")
    files.config.write_text(by_hand)
    assert "by hand" not in install(files)
    assert files.config.read_text() == by_hand
    assert loaded(files).mirror
    told = "\n".join(service.uninstall(files))
    assert f"{files.config} stays: it was changed by hand" in told
    assert files.config.read_text() == by_hand
    assert not files.unit.exists()


def test_a_former_file_is_kept_when_flags_change_one_that_was_changed_by_hand(files: Files) -> None:
    install(files, source="camera")
    files.config.write_text("mirror = true\n")
    assert f"settings that were changed by hand: {files.config}.old" in install(files, rotate="90")
    former = files.config.with_name("mien.toml.old")
    assert former.read_text() == "mirror = true\n"
    assert stat.S_IMODE(former.stat().st_mode) == 0o600  # a password may be in it
    assert (loaded(files).mirror, loaded(files).rotate) == (True, 90)


def test_secrets_are_kept_from_the_settings_file_and_from_other_users(files: Files, tmp_path: Path) -> None:
    (tmp_path / "password").write_text('pass $HOME `x` "y" \\z\n')
    environment = {"MIEN_WEB_TOKEN": "t0ken", "HOME": "/home/pi"}
    told = install(
        files, environment=environment, source="rtsp://me:gehe1m@camera/live", output=["mqtt:broker"],
        mqtt__username="pi", mqtt__password_file=str(tmp_path / "password"),
    )  # fmt: skip
    public = files.config.read_text() + files.unit.read_text() + told
    assert not any(secret in public for secret in ("t0ken", "gehe1m", "pass $HOME"))
    assert stat.S_IMODE(files.secrets.stat().st_mode) == 0o600
    config = loaded(files)
    assert config.source == "rtsp://me:gehe1m@camera/live"
    assert config.web.token == "t0ken"
    assert (config.mqtt.password, config.mqtt.password_file) == ('pass $HOME `x` "y" \\z', "")
    install(files, source="camera")  # the others stay
    assert (loaded(files).source, loaded(files).web.token) == ("camera", "t0ken")


def test_secrets_that_only_root_may_read_are_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.env"
    path.touch()

    def refuse(*_: object, **__: object) -> str:  # root may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(PermissionError, match=r"cannot read .*secrets\.env: Permission denied; root may: use sudo"):
        read_secrets(path)


def test_an_environment_file_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text('# mine\nMIEN_WEB_TOKEN="a b"\n')
    assert read_secrets(path) == {"MIEN_WEB_TOKEN": "a b"}
    path.write_text("MIEN_WEB_TOKEN: t0ken\n")
    with pytest.raises(ValueError, match="MIEN_WEB_TOKEN: t0ken is no assignment"):
        read_secrets(path)
    write_secrets(path, {"A": ""})
    assert read_secrets(path) == {"A": ""}


def test_uninstall_removes_what_install_made_and_nothing_else(files: Files, tmp_path: Path) -> None:
    before = sorted((tmp_path / "root").rglob("*"))
    install(files, environment={"MIEN_WEB_TOKEN": "t0ken"}, source="camera")
    commands(tmp_path)
    assert list(service.uninstall(files)) == ["the service is gone"]
    assert commands(tmp_path) == ["systemctl disable --now mien", "systemctl daemon-reload"]
    left = sorted(path for path in (tmp_path / "root").rglob("*") if "system" not in path.parts[-1])
    assert [path for path in left if path not in before] == [files.root / "etc"]
    with pytest.raises(FileNotFoundError, match="there is no service to uninstall"):
        list(service.uninstall(files))


def test_uninstall_tells_of_what_the_service_kept(files: Files) -> None:
    install(files)
    state = files.root / "var/lib/private/mien"
    state.mkdir(parents=True)
    (state / "neutral.json").write_text("{}")
    assert f"sudo rm -r {state}" in "\n".join(service.uninstall(files))
    assert (state / "neutral.json").exists()


def test_a_service_that_does_not_start_tells_the_programs_own_last_line(files: Files, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(OSError, match=r"does not start \(error: found no camera: plug one in\)"):
        install(files)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"output": ["window"]}, "a service has no screen"),
        ({"output": ["/home/pi/faces.csv"]}, "without a folder, faces.csv lands there"),
        ({"threads": "many"}, "threads is 'many'"),
        ({"target_fps": "0.02"}, r"target_fps is 0\.02.*allowed is 0\.1 or more"),
    ],
)
def test_what_a_service_cannot_do_is_refused_before_anything_is_written(
    files: Files, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        install(files, **flags)
    assert not files.unit.exists()
    assert not files.config.exists()


def test_a_log_of_a_service_has_a_size_limit(files: Files) -> None:
    install(files, output=["faces.jsonl"])
    assert loaded(files).log_size_mb == 100
    install(files, log_size_mb="7")
    assert loaded(files).log_size_mb == 7


def test_names_of_files_are_made_absolute(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    install(files, source="clip.mp4")
    assert loaded(files).source == str(tmp_path / "clip.mp4")
    assert "Restart=on-failure" in files.unit.read_text()  # a file has an end
    install(files, source="auto")
    assert "Restart=always" in files.unit.read_text()


@pytest.mark.parametrize("source", ["/dev/fd", "demo"])
def test_a_link_to_a_camera_is_kept_and_what_is_no_file_stays_as_it_is(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    install(files, source=source)  # a camera's number changes, and its link in /dev/v4l/by-id leads to it
    assert loaded(files).source == source


def test_status_tells_in_a_few_lines_how_it_is_doing(files: Files, tmp_path: Path) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"state": "waiting", "frames_per_s": 0.0}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    install(files, output=[f"web:{server.server_port}"])
    (tmp_path / "show").write_text(
        "ActiveState=active\nSubState=running\nActiveEnterTimestamp=Thu 2026-11-26 12:00:00 UTC\nNRestarts=2\n"
        "StatusText=waiting (no picture for 5 s)\nResult=success\n"
    )
    lines, is_active = service.status(files)
    server.shutdown()
    server.server_close()
    assert is_active
    assert lines == [
        "mien runs since Thu 2026-11-26 12:00:00 UTC; restarts: 2",
        "doing: waiting (no picture for 5 s)",
        f"web: http://127.0.0.1:{server.server_port}/healthz says waiting, 0.0 frames/s",
        "log: error: found no camera: plug one in",
    ]
    lines, _ = service.status(files)
    assert "no answer from" in lines[2]


@pytest.mark.parametrize("body", [b"<h1>not found</h1>", b"[]"])
def test_status_tells_of_a_web_page_that_is_another_programs(files: Files, tmp_path: Path, body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        install(files, output=[f"web:{server.server_port}"])
        (tmp_path / "show").write_text("ActiveState=active\n")
        lines, is_active = service.status(files)
        server.shutdown()
    assert is_active
    assert (
        lines[1] == f"web: http://127.0.0.1:{server.server_port}/healthz is not mien's: is the port another program's?"
    )


def test_status_of_one_that_failed_says_so(files: Files, tmp_path: Path) -> None:
    install(files)
    (tmp_path / "show").write_text("ActiveState=activating\nSubState=auto-restart\nNRestarts=9\nResult=watchdog\n")
    lines, is_active = service.status(files)
    assert not is_active
    assert lines[0] == "mien does not run (activating, auto-restart, watchdog); restarts: 9"


def test_logs_are_those_of_the_journal(files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(files)
    commands(tmp_path)
    assert service.logs(True, 7, files) == 0
    assert "face 1 happy" in capfd.readouterr().out
    assert commands(tmp_path) == ["journalctl --unit=mien --lines=7 --follow"]


def test_without_a_service_there_is_nothing_to_tell(files: Files) -> None:
    with pytest.raises(FileNotFoundError, match="there is no service yet: `sudo mien service install`"):
        service.status(files)
    with pytest.raises(FileNotFoundError, match="there is no service yet"):
        service.logs(False, 7, files)


@pytest.mark.parametrize("action", ["install", "status", "logs", "uninstall"])
def test_where_no_systemd_runs_that_is_one_line(tmp_path: Path, action: str) -> None:
    files = Files(tmp_path)
    files.unit.parent.mkdir(parents=True)
    files.unit.touch()
    ask: dict[str, Callable[[], object]] = {
        "install": lambda: install(files),
        "status": lambda: service.status(files),
        "logs": lambda: service.logs(False, 1, files),
        "uninstall": lambda: list(service.uninstall(files)),
    }
    with pytest.raises(OSError, match="no systemd runs here, as in a container"):
        ask[action]()


def test_without_root_the_command_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["mien", "service", "install", "--source", "my camera"])
    mien_command = Path(sys.executable).with_name("mien")
    with pytest.raises(PermissionError) as refused:
        service._check_root(service_files.SYSTEM, {"MIEN_WEB_TOKEN": "t0ken", "HOME": "/home/pi"})
    assert str(refused.value) == (
        f"this needs root: sudo --preserve-env=MIEN_WEB_TOKEN {mien_command} service install --source 'my camera'"
    )


def test_the_unit_can_be_printed_anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_files, "needed_of_homes", lambda config: [])
    assert main(["service", "install", "--print", "--source", "camera"]) == 0
    assert "\nType=notify\n" in capsys.readouterr().out


def test_of_homes_a_service_sees_the_installation_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "pi/venv/lib/mien").mkdir(parents=True)
    (home / "pi").chmod(0o700)  # which does not matter: the unit shows what lies below it
    clip = home / "pi/100% fun.mp4"
    clip.touch()
    clip.chmod(0o644)
    monkeypatch.setattr(service_files, "HOMES", (str(home),))
    monkeypatch.setattr(service_files, "TEMPORARY", ())
    monkeypatch.setattr(sys, "prefix", str(home / "pi/venv"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(mien, "__file__", str(home / "pi/venv/lib/mien/__init__.py"))
    unit = unit_text(load_settings({"source": str(clip)}, environment={}))
    assert "ProtectHome=tmpfs\n" in unit
    assert re.findall("BindReadOnlyPaths=(.*)", unit) == [f"{home}/pi/venv", f'"{home}/pi/100%% fun.mp4"']
    clip.chmod(0o600)
    with pytest.raises(PermissionError, match=r"could not read .*: sudo chmod o\+rX '.*100% fun.mp4'"):
        unit_text(load_settings({"source": str(clip)}, environment={}))


def test_an_installation_among_temporary_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_files, "TEMPORARY", (str(tmp_path),))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(OSError, match="a place for temporary files"):
        unit_text(load_settings({}, environment={}))


@pytest.fixture
def unit(tmp_path: Path, files: Files) -> Path:
    """Return a unit as it is installed."""
    install(files, source="camera", output=["web"])
    path = tmp_path / "mien.service"
    path.write_text(files.unit.read_text())
    return path


def test_systemd_finds_no_mistake_in_the_unit(unit: Path) -> None:
    analyze = require_program("systemd-analyze", "systemd")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "mien.service" not in done.stderr, done.stderr  # it warns of keys that it does not know, and goes on


def test_systemd_calls_the_units_exposure_low(unit: Path) -> None:
    analyze = require_program("systemd-analyze", "systemd")
    # 1.8 of 10 as it is; the threshold is in tenths. Each of the locks that matter costs more than 0.1.
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=19", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    exposed = unit.with_name("exposed.service")
    exposed.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", ""))
    command = [analyze, "security", "--offline=true", "--threshold=19", "--no-pager", str(exposed)]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_a_run_needs_no_system_call_that_the_unit_forbids(tmp_path: Path, portrait: Image) -> None:
    strace, analyze = require_program("strace", "strace"), require_program("systemd-analyze", "systemd")
    trace = tmp_path / "trace"
    cv2.imwrite(str(tmp_path / "portrait.png"), portrait)
    run = [sys.executable, "-m", "mien", "run", "--source", str(tmp_path), "--output", "web:0", "--output", "jsonl"]
    run += ["--output", str(tmp_path / "faces.csv"), "--output", str(tmp_path / "annotated.avi")]
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "nobody")}
    done = subprocess.run(
        [strace, "-f", "-qq", "-o", str(trace), *run],
        env=environment,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    called = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    allowed = calls_in(analyze, "@system-service") - calls_in(analyze, "@privileged")
    assert {"openat", "sendto", "futex"} <= called
    assert called - allowed == set()


def calls_in(analyze: str, group: str) -> set[str]:
    """Return the system calls of a group, those of the groups in it, too."""
    done = subprocess.run([analyze, "syscall-filter", "--no-pager", group], capture_output=True, text=True, check=True)
    names = {line.strip() for line in done.stdout.splitlines() if re.fullmatch(r" +@?\w[\w-]*", line)}
    return names.union(*(calls_in(analyze, name) for name in names if name[0] == "@"))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("MIEN_") and name not in ("MIEN_NO_SKIP", "MIEN_TEST_DATA"):
            monkeypatch.delenv(name)
    yield
