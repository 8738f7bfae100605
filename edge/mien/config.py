"""The settings of a run: defaults < TOML file < environment (`MIEN_*`) < flags.

Each setting is one field of a frozen dataclass; its metadata says what it is and what is allowed, and flags, checks
and `mien config show` all read it there.
"""

import difflib
import math
import os
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from mien.card import DEFAULT_MODEL

ENVIRONMENT_PREFIX = "MIEN_"
CONFIG_VARIABLE = "MIEN_CONFIG"
DETECTORS = ("auto", "finder", "haar", "yunet")
HIDDEN = "***"
"""What is shown in place of a secret."""


def setting(
    default: Any,
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[Any, ...] = (),
    is_secret: bool = False,
) -> Any:
    """Return a dataclass field with what flags, checks and help need of it."""
    metadata = {"text": text, "least": least, "most": most, "choices": choices, "is_secret": is_secret}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MqttConfig:
    """`[mqtt]`: of `--output mqtt`."""

    host: str = setting("localhost", "name or address of the broker")
    port: int = setting(0, "its port; 0: 1883, or 8883 with TLS", least=0, most=65535)
    topic: str = setting("mien", "first part of every topic; the device's name follows")
    device: str = setting("", 'name of this device in topics; "": the host\'s name')
    username: str = setting("", 'who logs in; "": nobody')
    password: str = setting("", "better in MIEN_MQTT_PASSWORD or password_file than here", is_secret=True)
    password_file: str = setting("", "file whose first line is the password")
    tls: bool = setting(False, "encrypt, and check the broker's certificate")
    ca_file: str = setting("", 'PEM file of the authority that signed it; "": the system\'s own')
    qos: int = setting(0, "quality of service of results", choices=(0, 1, 2))
    interval_s: float = setting(0.5, "seconds between two results at least; changes go at once", least=0, most=3600)
    discovery: str = setting("homeassistant", 'prefix of Home Assistant\'s discovery; "": none')


@dataclass(frozen=True)
class WebConfig:
    """`[web]`: of `--output web`."""

    host: str = setting("127.0.0.1", "address to listen on; another than loopback needs a token or no_auth")
    port: int = setting(8080, "port to listen on; 0 takes a free one", least=0, most=65535)
    token: str = setting("", "what a browser must give (?token=...)", is_secret=True)
    no_auth: bool = setting(False, "let everybody in the network look, with no token")
    picture_rate: float = setting(10.0, "pictures/s of the live picture at most", least=0.1, most=60)
    picture_side: int = setting(960, "its longer side in pixels at most", least=64, most=4096)


@dataclass(frozen=True)
class Config:
    """What `mien run` can be told."""

    source: str = setting("auto", "auto, picamera, camera, /dev/video0, demo, a URL, a file or a folder")
    output: tuple[str, ...] = setting(
        ("text",), "text, jsonl, window, web, mqtt or a file (.jsonl, .csv, .mp4, .png); may be repeated"
    )
    detector: str = setting(
        "auto", "finder, haar, yunet or auto: the finder, or haar where it cannot run", choices=DETECTORS
    )
    model: str = setting(DEFAULT_MODEL, "one of `mien models`, or a .tflite file")
    threads: int = setting(2, "threads of detector and classifier", least=1, most=64)
    max_faces: int = setting(8, "faces followed at once, largest first", least=1, most=100)
    max_classified: int = setting(
        4, "faces classified in one frame, in turns if there are more; all in the first frame", least=1, most=100
    )
    min_face: float = setting(0.03, "smallest face, as a share of the frame's shorter side", least=0.02, most=1)
    detect_side: int = setting(320, "longer side of the picture that is searched, in pixels", least=80, most=2000)
    detect_interval_s: float = setting(0.5, "seconds in which the whole frame is searched once", least=0, most=60)
    target_fps: float = setting(
        0.0, "frames/s of a camera to recognise, no more, and if need be with less search; 0: all", least=0, most=240
    )
    max_cpu: float = setting(
        0.0, "most processor time that a camera may cost, in per cent of all cores together; 0: all", least=0, most=100
    )
    smoothing_s: float = setting(
        0.5, "time constant of each face's probabilities; 0: none, inf: mean over all frames", least=0, most=math.inf
    )
    size: str = setting("640x480", "width x height that a camera is asked for")
    frame_rate: float = setting(30.0, "frames/s that a camera is asked for", least=0.1, most=240)
    rotate: int = setting(0, "turn the picture clockwise, in degrees", choices=(0, 90, 180, 270))
    mirror: bool = setting(False, "swap left and right")
    realtime: bool = setting(False, "play a video file at its own speed, as a camera would")
    blur_faces: bool = setting(False, "make faces unrecognisable in all pictures that leave the device")
    log_size_mb: float = setting(
        0.0, "size at which a .jsonl or .csv becomes NAME.1 and a new one begins; 0: never", least=0, most=1e6
    )
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    web: WebConfig = field(default_factory=WebConfig)

    def __post_init__(self) -> None:
        _check_size(self.size, f"size is {self.size!r}")

    @property
    def camera_size(self) -> tuple[int, int]:
        """Width and height that a camera is asked for, in pixels."""
        width, height = self.size.split("x")
        return int(width), int(height)


@dataclass(frozen=True)
class Settings:
    """A configuration, and for each setting where its value came from.

    Attributes:
        config: the values.
        origins: dotted name, as "web.port" -> "default", the file's name, "MIEN_WEB_PORT" or "--output".
    """

    config: Config
    origins: dict[str, str]


def flag_of(name: str) -> str:
    """Return the flag of a setting: --web-port of "web.port"."""
    return f"--{name.replace('.', '-').replace('_', '-')}"


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: MIEN_WEB_PORT of "web.port"."""
    return ENVIRONMENT_PREFIX + name.replace(".", "_").upper()


def load_settings(
    flags: Mapping[str, Any] | None = None,
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Gather the settings of a run.

    Args:
        flags: dotted name -> value or its text, of what was given on the command line or by a program.
        path: of the TOML file; None: the one that MIEN_CONFIG names, or none.
        environment: None: that of the process.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no TOML, a key is unknown, or a value is not allowed; the message names the key.
    """
    environment = os.environ if environment is None else environment
    path = path or environment.get(CONFIG_VARIABLE) or None
    values: dict[str, tuple[Any, str]] = {}
    if path is not None:
        values.update(_from_file(Path(path)))
    values.update(_from_environment(environment))
    kinds = {name: kind for name, _, kind in all_settings()}
    for name, value in (flags or {}).items():
        if name not in kinds:
            raise ValueError(f"unknown setting {name}: {_hint(name, kinds)}")
        value = _parse(value, kinds[name]) if isinstance(value, str) else value
        values[name] = (value, flag_of(f"no_{name}" if value is False else name))
    checked = {name: (_check(name, value, origin), origin) for name, (value, origin) in values.items()}
    return Settings(_build(checked), {name: checked.get(name, (None, "default"))[1] for name, _, _ in all_settings()})


def all_settings(of: Any = Config, prefix: str = "") -> Iterator[tuple[str, "Field[Any]", Any]]:
    """Yield (dotted name, field, type) of every setting, those of the sections last."""
    hints = typing.get_type_hints(of)
    sections = []
    for entry in fields(of):
        kind = hints[entry.name]
        if is_dataclass(kind):
            sections.append((entry.name, kind))
        else:
            yield f"{prefix}{entry.name}", entry, kind
    for name, kind in sections:
        yield from all_settings(kind, f"{prefix}{name}.")


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}: `mien config show` prints one to begin with")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    flat: dict[str, tuple[Any, str]] = {}
    sections = {entry.name for entry in fields(Config) if is_dataclass(typing.get_type_hints(Config)[entry.name])}
    for key, value in content.items():
        if key in sections and isinstance(value, dict):
            flat.update({f"{key}.{inner}": (inner_value, str(path)) for inner, inner_value in value.items()})
        elif isinstance(value, dict):
            near = difflib.get_close_matches(key, sections, n=1, cutoff=0.5)
            hint = f"did you mean [{near[0]}]?" if near else f"allowed are [{'], ['.join(sorted(sections))}]"
            raise ValueError(f"unknown section [{key}] in {path}: {hint}")
        else:
            flat[key] = (value, str(path))
    return flat


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Take the settings' own variables; another MIEN_* may belong to somebody else, unless it is spelt like ours."""
    ours = {variable_of(name): (name, kind) for name, _, kind in all_settings()}
    found: dict[str, tuple[Any, str]] = {}
    for variable, text in environment.items():
        if variable in ours:
            name, kind = ours[variable]
            found[name] = (_parse(text, kind), variable)
        elif (
            variable.startswith(ENVIRONMENT_PREFIX)
            and variable != CONFIG_VARIABLE
            and (near := difflib.get_close_matches(variable, ours, n=1, cutoff=0.85))
        ):
            raise ValueError(f"unknown variable {variable}: did you mean {near[0]}?")
    return found


def _parse(text: str, kind: type) -> Any:
    """Turn a variable's text into what TOML would have; what cannot be turned is left for the check to refuse."""
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        return text
    return [part.strip() for part in text.split(",")] if kind == tuple[str, ...] else text


def _check(name: str, value: Any, origin: str) -> Any:
    """Return the value in its setting's own type, or raise ValueError."""
    known = {known_name: (entry, kind) for known_name, entry, kind in all_settings()}
    if name not in known:
        raise ValueError(f"unknown key {name!r} in {origin}: {_hint(name, known)}")
    entry, kind = known[name]
    allowed, least, most = entry.metadata["choices"], entry.metadata["least"], entry.metadata["most"]
    given = f"{name} is {value!r} ({origin})"
    if entry.metadata["is_secret"] and not isinstance(value, str):
        given = f"{name} ({origin})"
    is_hidden = value == HIDDEN if entry.metadata["is_secret"] else name == "source" and _is_hidden_url(value)
    if is_hidden:
        raise ValueError(f"{name} ({origin}) holds {HIDDEN}, which stands for a secret: give the secret, or no {name}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind == tuple[str, ...]:
        value = (value,) if isinstance(value, str) else value
        if not isinstance(value, list | tuple) or not value or not all(isinstance(part, str) for part in value):
            raise ValueError(f"{given}: allowed is a list of texts")
        return tuple(value)
    if allowed and value not in allowed:
        near = difflib.get_close_matches(str(value), map(str, allowed), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{given}: allowed are {', '.join(map(str, allowed))}{hint}")
    if type(value) is not kind or (kind is float and math.isnan(value)):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        limits = "" if least is None else f", {least:g} to {most:g}"
        raise ValueError(f"{given}: allowed is {kinds[kind]}{limits}")
    if least is not None and not least <= value <= most:
        raise ValueError(f"{given}: allowed is {least:g} to {most:g}")
    if name == "source" and not value:  # which would be the current folder
        raise ValueError(f"{given}: allowed is {entry.metadata['text']}")
    if name == "size":
        _check_size(value, given)
    return value


def _check_size(size: str, given: str) -> None:
    sides = size.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 16 <= int(side) <= 8192 for side in sides):
        raise ValueError(f"{given}: allowed is WIDTHxHEIGHT in pixels, such as 640x480")


def _is_hidden_url(value: Any) -> bool:
    return isinstance(value, str) and "://" in value and HIDDEN in value


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "`mien config show` lists all"


def _build(checked: dict[str, tuple[Any, str]]) -> Config:
    top = {name: value for name, (value, _) in checked.items() if "." not in name}
    for section, kind in (("mqtt", MqttConfig), ("web", WebConfig)):
        inner = {name.split(".", 1)[1]: value for name, (value, _) in checked.items() if name.startswith(f"{section}.")}
        top[section] = kind(**inner)
    return Config(**top)


def to_toml(settings: Settings) -> str:
    """Return the settings as TOML, each with where its value came from; of a secret, a comment tells only that."""
    from mien.sources.network import hide_secrets

    lines, section = [], ""
    for name, entry, _ in all_settings():
        value: Any = settings.config
        for part in name.split("."):
            value = getattr(value, part)
        prefix, _, last = name.rpartition(".")
        if prefix != section:
            lines += ["", f"[{prefix}]"]
            section = prefix
        origin, text = settings.origins[name], entry.metadata["text"]
        if name == "source" and (public := hide_secrets(value)) != value:
            lines.append(f"# source is set, by {origin}, to {public}: {text}")
        elif entry.metadata["is_secret"] and value:
            lines.append(f"# {last} is set, by {origin}: {text}")
        else:
            lines.append(f"{last} = {_toml_value(value)}".ljust(40) + f"  # {origin}: {text}")
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return str(value)
