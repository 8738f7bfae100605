"""The files of the service: its unit, and its settings as `mien service install` was given them.

Secrets are kept apart from the other settings, in a file that only root may read; systemd hands them over.
"""

import hashlib
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mien
from mien.config import ENVIRONMENT_PREFIX, Config, Settings, all_settings, load_settings, to_toml, variable_of
from mien.device import ROOT
from mien.files import write_whole
from mien.outputs import VIDEO_SUFFIXES
from mien.sources.network import hide_secrets, is_url

NO_FILES = ("auto", "camera", "picamera", "demo")
"""Sources that are not called by a path, whatever lies in the current folder."""

LEAST_FPS = 0.1
"""The unit's watchdog wants a result in 30 s."""

LOG_SIZE_MB = 100.0
"""Where nobody said how large a .jsonl or .csv may become: a service is not to fill the disk."""

HOMES = ("/home", "/root", "/run/user")
"""What the unit hides, but for the installation (systemd.exec(5), ProtectHome=)."""

TEMPORARY = ("/tmp", "/var/tmp")
"""What a service has of its own (PrivateTmp=)."""

TOML_HEAD = (
    "# The settings of the service mien. Change what you like, then: sudo systemctl restart mien\n"
    "# Secrets are in secrets.env beside this file. A line that begins with # is a default.\n\n"
)


@dataclass(frozen=True)
class Files:
    """Where the service has its files.

    Attributes:
        root: of the system.
    """

    root: Path = ROOT

    @property
    def unit(self) -> Path:
        """What systemd runs."""
        return self.root / "etc/systemd/system/mien.service"

    @property
    def config(self) -> Path:
        """The settings but for secrets."""
        return self.root / "etc/mien/mien.toml"

    @property
    def secrets(self) -> Path:
        """Environment variables, for root alone."""
        return self.root / "etc/mien/secrets.env"


SYSTEM = Files()
"""The files of this machine."""


def service_settings(
    flags: Mapping[str, Any], config_file: str | None, environment: Mapping[str, str], files: Files
) -> Settings:
    """Return what the service is to run with: what it has already, changed by what is given.

    Args:
        flags: dotted name -> value or its text.
        config_file: in place of the settings that it has; None: those, if there are some.
        environment: `MIEN_*` are taken.
        files: of the service.

    Raises:
        OSError, ValueError: as `load_settings`; or a service cannot do that.
    """
    own = str(files.config) if files.config.exists() else None
    given = {name: value for name, value in environment.items() if name.startswith(ENVIRONMENT_PREFIX)}
    settings = load_settings(flags, config_file or own, {**read_secrets(files.secrets), **given})
    config = settings.config
    changed: dict[str, Any] = {}
    is_camera = config.source.startswith("/dev/")  # a link in /dev/v4l/by-id stays when the camera's number changes
    if config.source not in NO_FILES and not is_camera and Path(config.source).exists():
        changed["source"] = str(Path(config.source).resolve())
    if config.model.endswith(".tflite"):
        changed["model"] = str(Path(config.model).resolve())
    if any(Path(text).suffix in (".jsonl", ".csv") for text in config.output) and not config.log_size_mb:
        changed["log_size_mb"] = LOG_SIZE_MB
    if 0 < config.target_fps < LEAST_FPS:
        raise ValueError(
            f"target_fps is {config.target_fps:g}: a service is taken for one that hangs if it is so slow; "
            f"allowed is {LEAST_FPS:g} or more"
        )
    _check_outputs(config)
    mqtt, origins = config.mqtt, settings.origins | dict.fromkeys(changed, "the service")
    if mqtt.ca_file:
        mqtt = replace(mqtt, ca_file=str(Path(mqtt.ca_file).resolve()))
    if mqtt.password_file and not mqtt.password:  # the file belongs to somebody else than the service
        password = _read(Path(mqtt.password_file)).partition("\n")[0]
        mqtt = replace(mqtt, password=password, password_file="")
        origins |= {"mqtt.password": "mqtt.password_file", "mqtt.password_file": "default"}
    return Settings(replace(config, mqtt=mqtt, **changed), origins)


def _check_outputs(config: Config) -> None:
    for text in config.output:
        if text == "window":
            raise ValueError("output window: a service has no screen; allowed are text, jsonl, web, mqtt or a file")
        path = Path(text)
        is_file = path.suffix.lower() in (*VIDEO_SUFFIXES, ".jsonl", ".csv", ".png") and ":" not in text
        if is_file and len(path.parts) > 1 and path.parent != Path("/var/lib/mien"):
            raise ValueError(
                f"output {text}: a service may write in /var/lib/mien only; without a folder, {path.name} lands there"
            )


def config_text(settings: Settings) -> str:
    """Return the settings as TOML in which defaults are comments, so that a newer mien may have others."""
    lines, section = [], ""
    for line in to_toml(settings).splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        name = section + line.partition(" = ")[0]
        lines.append(f"# {line}" if settings.origins.get(name) == "default" else line)
    return TOML_HEAD + "\n".join(lines) + "\n"


def secrets_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables of those settings that others must not read.

    Raises:
        ValueError: one of them has two lines.
    """
    secrets = {}
    for name, entry, _ in all_settings():
        value: Any = settings.config
        for part in name.split("."):
            value = getattr(value, part)
        if (entry.metadata["is_secret"] and value) or (name == "source" and hide_secrets(value) != value):
            if "\n" in value:
                raise ValueError(f"{name} has more than one line: a service takes one only")
            secrets[variable_of(name)] = value
    return secrets


def read_secrets(path: Path) -> dict[str, str]:
    """Return the variables of an environment file; none where there is no such file.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no assignment.
    """
    if not path.exists():
        return {}
    try:
        text = _read(path)
    except PermissionError as error:
        raise PermissionError(f"{error}; root may: use sudo") from error
    found = {}
    for line in text.splitlines():
        if line.strip() and line.strip()[0] not in "#;":
            name, equals, value = line.partition("=")
            try:
                (word,) = shlex.split(value) or [""]
            except ValueError:
                equals = ""
            if not equals:
                raise ValueError(f'{path}: {name.strip()} is no assignment: allowed are lines NAME="value"')
            found[name.strip()] = word
    return found


def write_secrets(path: Path, secrets: Mapping[str, str]) -> None:
    """Write an environment file for root alone."""

    def write(unfinished: Path) -> None:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(0o600)
        escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in secrets.items()}
        unfinished.write_text("".join(f'{name}="{value}"\n' for name, value in escaped.items()), encoding="utf-8")

    write_whole(path, write)


def unit_text(settings: Settings, config_sha256: str = "", files: Files = SYSTEM) -> str:
    """Return the unit that runs this installation with these settings.

    Raises:
        OSError: the service would have no right to read this installation, or a file of the settings.
    """
    binds = needed_of_homes(settings.config)
    source = settings.config.source
    is_endless = is_url(source) or source.startswith("/dev/") or source in ("auto", "camera", "picamera")
    return (Path(__file__).with_name("mien.service").read_text(encoding="utf-8")).format(
        python=_quoted(sys.executable),
        config=_quoted(str(files.config)),
        secrets=files.secrets,
        restart="always" if is_endless else "on-failure",
        protect_home="tmpfs" if binds else "yes",
        binds="".join(f"BindReadOnlyPaths={_quoted(str(path))}\n" for path in binds),
        config_sha256=config_sha256,
    )


def written_sha256(unit: Path) -> str:
    """Return the hash of the settings' file as it was written, from the unit; "" if there is none."""
    lines = _read(unit).splitlines() if unit.exists() else []
    return next((line.partition("=")[2] for line in lines if line.startswith("ConfigSha256=")), "")


def sha256_of(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def needed_of_homes(config: Config) -> list[Path]:
    """Return what lies in people's homes of all that a run reads.

    Raises:
        OSError: others than its owner may not read it, or it lies in a folder for temporary files.
    """
    named = [Path(text) for text in (config.source, config.model, config.mqtt.ca_file) if text and Path(text).is_file()]
    installed = [Path(sys.prefix), Path(sys.base_prefix), Path(mien.__file__).parent]
    of_homes: list[Path] = []
    for path in (*installed, *(path.resolve() for path in named)):
        if _is_in(path, TEMPORARY):
            raise OSError(f"{path} is a place for temporary files, which a service does not see: move it, as to /opt")
        is_of_home = _is_in(path, HOMES)
        for folder in [path] if is_of_home else [*path.parents, path]:
            wanted = 0o005 if folder == path and path.is_dir() else 0o004 if folder == path else 0o001
            if folder.stat().st_mode & wanted != wanted:
                raise PermissionError(f"the service could not read {path}: sudo chmod o+rX {shlex.quote(str(folder))}")
        if is_of_home and not _is_in(path, map(str, of_homes)):
            of_homes.append(path)
    return of_homes


def _is_in(path: Path, folders: Iterable[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _quoted(text: str) -> str:
    """Return a text as one word of a unit file (systemd.syntax(7), systemd.service(5))."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text or '"' in text or "'" in text else text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise type(error)(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
