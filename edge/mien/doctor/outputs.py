"""Where results go: files, the web page's port, the MQTT broker."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.config import Config, MqttConfig
from mien.device import ROOT
from mien.doctor import problems
from mien.doctor.check import OK, Check, from_error
from mien.doctor.child import HungError, ask
from mien.doctor.system import other_run
from mien.outputs import VIDEO_SUFFIXES, OutputContext, open_output
from mien.outputs.files import check_writable
from mien.outputs.hosts import is_loopback

FILE_SUFFIXES = (*VIDEO_SUFFIXES, ".jsonl", ".csv", ".png")

CONNECT_S = 3.0
"""For a broker to take the connection, and again for its answer."""

BROKER_LIMIT_S, PORT_LIMIT_S, WINDOW_LIMIT_S = 20.0, 20.0, 20.0


def result_files(config: Config) -> list[Path]:
    """Return the outputs that are files."""
    return [Path(text) for text in config.output if _is_file(text)]


def check_output(text: str, config: Config, root: Path = ROOT) -> Iterator[Check]:
    """Look whether an output could be opened; nothing is written, sent or shown, but for a window for a moment."""
    name = text if text in ("text", "jsonl", "window") else Path(text).name
    kind = text.partition(":")[0]
    if kind == "mqtt":
        yield from check_broker(text, config)
    elif kind == "web":
        yield from check_port(text, config, root)
    elif _is_file(text):
        try:
            check_writable(Path(text))
        except OSError as error:
            yield from_error(name, error, "give --output a file in a folder that you may write to")
        else:
            yield Check(name, OK, f"{text} can be written")
    elif text not in ("text", "jsonl"):
        try:
            ask(open_and_close, text, config, limit_s=WINDOW_LIMIT_S)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            yield from_error(name, error, "use another --output: text, jsonl, web or a file")
        else:
            yield Check(name, OK, "can be opened")


def _is_file(text: str) -> bool:
    return Path(text).suffix.lower() in FILE_SUFFIXES and not text.startswith(("mqtt:", "web:"))


def open_and_close(text: str, config: Config) -> None:
    """Open an output as `mien run` would, and close it; in a process of its own."""
    open_output(text, OutputContext(config)).close()


def check_port(text: str, config: Config, root: Path = ROOT) -> Iterator[Check]:
    """Serve the web page for a moment."""
    try:
        url = ask(serve_page, text.removeprefix("web").removeprefix(":"), config, limit_s=PORT_LIMIT_S)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        process = other_run(root) if "it is in use" in str(error) else None
        if process is not None:
            port = str(error).partition("port ")[2].partition(" ")[0]
            yield problems.PORT_TAKEN.about("web", port=port, process=process)
        else:
            yield from_error("web", error, "give another port: --output web:9000")
    else:
        yield Check("web", OK, f"the page can be served at {url}")


def serve_page(host_port: str, config: Config) -> str:
    """Return the address of the web page, when it was served; in a process of its own."""
    from mien.outputs.web import WebOutput

    with WebOutput(OutputContext(config), host_port) as page:
        return page.url


def check_broker(text: str, config: Config) -> Iterator[Check]:
    """Log in at the MQTT broker; nothing is published."""
    from mien.outputs.mqtt.output import address_of

    settings = config.mqtt
    try:
        host, port = address_of(text.removeprefix("mqtt").removeprefix(":"), settings)
        answer = ask(log_in, settings, host, port, CONNECT_S, limit_s=BROKER_LIMIT_S)
    except HungError:  # in looking for its address: the rest has limits of its own
        answer = {"away": "no connection"}
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        yield from_error("MQTT", error, "docs/mqtt.md tells of the settings of [mqtt]")
        return
    facts: dict[str, Any] = {"host": host, "port": port}
    who = f"user {settings.username!r}" if settings.username else "clients without a user"
    has_password = bool(settings.password or settings.password_file)
    match answer:
        case {"refused": reason}:
            yield problems.BROKER_REFUSES.about("MQTT", who=who, reason=reason, **facts)
        case {"distrusted": reason}:
            yield problems.BROKER_DISTRUSTED.about("MQTT", reason=reason, **facts)
        case {"away": reason}:
            yield problems.BROKER_AWAY.about("MQTT", reason=reason, **facts)
        case {"is_silent": True}:
            yield problems.BROKER_SILENT.about("MQTT", **facts)
        case _ if has_password and not settings.tls and not is_loopback(host):
            yield problems.PASSWORD_OPEN.about("MQTT", **facts)
        case _:
            yield Check("MQTT", OK, f"broker {host}:{port} accepts {who}{' over TLS' if settings.tls else ''}")


def log_in(config: MqttConfig, host: str, port: int, wait_s: float) -> dict[str, Any]:
    """Return how a broker answers; in a process of its own.

    Args:
        config: `[mqtt]`.
        host, port: of the broker.
        wait_s: for the connection, and again for the answer.

    Returns:
        One of "refused", "distrusted" and "away" with the reason, or "is_silent", or nothing: it accepts.
    """
    import secrets

    from mien.outputs.mqtt.client import make_client

    client = make_client(config, f"mien-doctor-{secrets.token_hex(3)}", host)
    answers: list[Any] = []
    client.on_connect = lambda client, data, flags, reason, properties: answers.append(reason)
    client.connect_timeout = wait_s
    try:
        client.connect(host, port)
    except ssl.SSLCertVerificationError as error:
        return {"distrusted": error.verify_message}
    except (ssl.SSLError, ConnectionResetError):  # what answers there knows no TLS
        return {"is_silent": True}
    except TimeoutError:
        return {"away": "no connection"}
    except OSError as error:
        return {"away": error.strerror or str(error)}
    deadline_s = time.monotonic() + wait_s
    while not answers and time.monotonic() < deadline_s:
        if client.loop(0.1):  # it has hung up
            break
    if not answers:
        return {"is_silent": True}
    client.disconnect()
    return {"refused": str(answers[0])} if answers[0].is_failure else {}
