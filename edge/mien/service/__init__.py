"""`mien service`: mien as a systemd service, which starts with the machine and is started again whatever happens.

The unit is the file mien.service beside this one; docs/service.md says why it is as it is.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from mien.config import Config, Settings, load_settings
from mien.device import ROOT
from mien.files import write_text_whole
from mien.outputs.hosts import reachable
from mien.service.files import (
    SYSTEM,
    Files,
    config_text,
    read_secrets,
    secrets_of,
    service_settings,
    sha256_of,
    unit_text,
    write_secrets,
    written_sha256,
)
from mien.service.systemd import check_systemd, last_line, systemctl

HEALTH_S = 3.0


def install(
    flags: Mapping[str, Any], config_file: str | None, environment: Mapping[str, str], files: Files = SYSTEM
) -> Iterator[str]:
    """Write settings and unit and start the service, or start it anew with what has changed; yield what was done.

    Args:
        flags: dotted name -> value or its text, as `mien run` has them.
        config_file: TOML file to begin with; None: the settings that the service has.
        environment: `MIEN_*` are taken.
        files: of the service.

    Raises:
        OSError: no systemd, no root, the service could not read something, or it does not start.
        ValueError: a setting is not allowed.
    """
    check_systemd(files.root)
    _check_root(files, environment)
    _check_installed()
    settings = service_settings(flags, config_file, environment, files)
    unit_text(settings, "", files)  # whatever is wrong is told before anything is written
    yield from _write_settings(settings, files)
    sha256 = _sha256_to_keep(settings, files)
    files.unit.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(files.unit, unit_text(settings, sha256, files))
    files.unit.chmod(0o644)
    yield f"unit: {files.unit}"
    systemctl("daemon-reload")
    systemctl("enable", "mien")
    yield "starting: the camera's first picture is waited for"
    try:
        systemctl("restart", "mien")
    except OSError as error:
        reason = last_line("mien") or str(error)
        raise OSError(
            f"it does not start ({reason}), and is tried again for ever: `mien service logs` has all"
        ) from error
    yield "mien runs now, and from each start of the machine on: mien service status"


def print_unit(flags: Mapping[str, Any], config_file: str | None, environment: Mapping[str, str], files: Files) -> str:
    """Return the unit that `install` would write; changes nothing.

    Raises:
        OSError, ValueError: as `install`.
    """
    settings = service_settings(flags, config_file, environment, files)
    return unit_text(settings, sha256_of(config_text(settings)), files)


def uninstall(files: Files = SYSTEM) -> Iterator[str]:
    """Stop the service and remove what `install` made; yield what was done, and what is left.

    Raises:
        OSError: no systemd, no root, or no such service.
    """
    _check_root(files, {})
    if not files.unit.exists():
        raise FileNotFoundError(f"there is no service to uninstall: {files.unit} does not exist")
    check_systemd(files.root)
    systemctl("disable", "--now", "mien")
    is_ours = files.config.exists() and _is_ours(files)
    files.unit.unlink()
    systemctl("daemon-reload")
    yield "the service is gone"
    files.secrets.unlink(missing_ok=True)
    if files.config.exists():
        if is_ours:
            files.config.unlink()
        else:
            yield f"{files.config} stays: it was changed by hand"
    if files.config.parent.is_dir() and not any(files.config.parent.iterdir()):
        files.config.parent.rmdir()
    state = files.root / "var/lib/private/mien"
    if state.exists():
        yield f"{state} stays, with what the service kept (calibration, models, results): sudo rm -r {state}"


def status(files: Files = SYSTEM) -> tuple[list[str], bool]:
    """Return a few lines on how the service is doing, and whether it runs.

    Raises:
        OSError: no systemd, or no such service.
    """
    check_systemd(files.root)
    _check_there(files)
    names = ("ActiveState", "SubState", "ActiveEnterTimestamp", "NRestarts", "StatusText", "Result")
    answer = systemctl("show", "mien", *(f"--property={name}" for name in names))
    facts = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    is_active = facts.get("ActiveState") == "active"
    restarts = f"restarts: {facts.get('NRestarts', '?')}"
    if is_active:
        lines = [f"mien runs since {facts.get('ActiveEnterTimestamp', '?')}; {restarts}"]
    else:
        why = f", {facts['Result']}" if facts.get("Result", "success") != "success" else ""
        lines = [f"mien does not run ({facts.get('ActiveState')}, {facts.get('SubState')}{why}); {restarts}"]
    if is_active and facts.get("StatusText"):
        lines.append(f"doing: {facts['StatusText']}")
    if is_active and (health := _web_health(files)):
        lines.append(health)
    lines.append("log: " + (last_line("mien") or "nothing that you may read (sudo?)"))
    return lines, is_active


def logs(follow: bool, count: int, files: Files = SYSTEM) -> int:
    """Show the service's log, newest last; return the exit code of journalctl.

    Args:
        follow: whether to go on with what comes.
        count: lines of the past.
        files: of the service.

    Raises:
        OSError: no systemd, or no such service.
    """
    check_systemd(files.root)
    _check_there(files)
    command = ["journalctl", "--unit=mien", f"--lines={count}", *(["--follow"] if follow else ["--no-pager"])]
    return subprocess.call(command)


def _write_settings(settings: Settings, files: Files) -> Iterator[str]:
    """Write the files that differ from what is wanted; one that was changed by hand is kept under another name."""
    files.config.parent.mkdir(parents=True, exist_ok=True)
    files.config.parent.chmod(0o755)
    secrets = secrets_of(settings)
    if secrets != read_secrets(files.secrets):
        if secrets:
            write_secrets(files.secrets, secrets)
            yield f"secrets: {files.secrets}, for root alone: {', '.join(secrets)}"
        else:
            files.secrets.unlink()
    if not _is_up_to_date(settings, files):
        if files.config.exists() and not _is_ours(files):
            former = files.config.with_name(f"{files.config.name}.old")
            files.config.replace(former)
            former.chmod(0o600)  # a password may be in it, which is a secret from now on
            yield f"settings that were changed by hand: {former}"
        write_text_whole(files.config, config_text(settings))
    files.config.chmod(0o644)
    yield f"settings: {files.config}"


def _is_ours(files: Files) -> bool:
    """Whether the settings' file is as `install` wrote it."""
    return sha256_of(files.config.read_text(encoding="utf-8")) == written_sha256(files.unit)


def _is_up_to_date(settings: Settings, files: Files) -> bool:
    """Whether the file says the same already, however it is written."""
    if not files.config.exists():
        return False
    try:
        present = load_settings({}, files.config, read_secrets(files.secrets))
    except ValueError:
        return False
    return present.config == settings.config


def _sha256_to_keep(settings: Settings, files: Files) -> str:
    """Return the hash of the settings' file if it is as we write it; else what the unit has, which tells a change."""
    text = files.config.read_text(encoding="utf-8")
    return sha256_of(text) if text == config_text(settings) else written_sha256(files.unit) or "changed by hand"


def _web_health(files: Files) -> str:
    """Return a line on what the web page says of the run; "" where none is configured."""
    try:
        config = load_settings({}, files.config, {}).config
    except (OSError, ValueError):
        return ""
    address = _web_address(config)
    if address is None:
        return ""
    url = f"http://{address}/healthz"
    try:
        # Not by way of a proxy for the internet.
        with _opened(build_opener(ProxyHandler({})), url) as answer:
            health = json.load(answer)
        return f"web: {url} says {health['state']}, {health['frames_per_s']} frames/s"
    except (OSError, HTTPException) as error:
        return f"web: no answer from {url} ({getattr(error, 'reason', error)})"
    except (ValueError, TypeError, KeyError):
        return f"web: {url} is not mien's: is the port another program's?"


def _opened(opener: OpenerDirector, url: str) -> Any:
    """Return the answer, also one that says that the camera is lost (503)."""
    try:
        return opener.open(url, timeout=HEALTH_S)
    except HTTPError as error:
        return error


def _web_address(config: Config) -> str | None:
    """Return HOST:PORT of the web page as this machine reaches it; None where there is none or its port is unknown."""
    for text in config.output:
        if text == "web" or text.startswith("web:"):
            host, _, port = text.removeprefix("web").removeprefix(":").rpartition(":")
            number = int(port or config.web.port)
            host = reachable(host.strip("[]") or config.web.host)
            return f"{host}:{number}" if number else None
    return None


def _check_there(files: Files) -> None:
    if not files.unit.exists():
        raise FileNotFoundError("there is no service yet: `sudo mien service install` makes one; --help tells more")


def _check_root(files: Files, environment: Mapping[str, str]) -> None:
    if os.geteuid() != 0 and files.root == ROOT:
        # sudo has another PATH, and drops the environment.
        kept = ",".join(sorted(name for name in environment if name.startswith("MIEN_")))
        sudo = ["sudo", *([f"--preserve-env={kept}"] if kept else [])]
        command = shlex.join([*sudo, str(Path(sys.executable).with_name("mien")), *sys.argv[1:]])
        raise PermissionError(f"this needs root: {command}")


def _check_installed() -> None:
    """Raise OSError if Python finds mien only because of where or how this process was started."""
    done = subprocess.run([sys.executable, "-I", "-c", "import mien"], capture_output=True, cwd="/")
    if done.returncode:
        raise OSError(f"mien is not installed in {sys.prefix}, so a service would not find it: pip install it there")
