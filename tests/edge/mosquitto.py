"""A real MQTT broker for tests, on a free loopback port, and a subscriber that keeps what it gets."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import require_program


class Message(NamedTuple):
    """What a subscriber got; `is_retained`: it was there before the subscription."""

    topic: str
    payload: str
    qos: int
    is_retained: bool


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Mosquitto:
    """The broker; can be stopped and started again on the same port, and then knows its sessions and retained messages.

    Args:
        folder: for its configuration and what it remembers.
        settings: lines of mosquitto.conf.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self._program = require_program("mosquitto", "mosquitto")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        lines = (
            "user root",  # it drops its rights if it is started by root, and could not read this folder then
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",  # no limit, for a subscriber that is away
            "queue_qos0_messages true",
            "log_dest stderr",
            *(settings or ("allow_anonymous true",)),
        )
        self._config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, "mosquitto does not start"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.resume()
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def save(self) -> None:
        """Let it write down what it knows, which it otherwise does when it is stopped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + 10
        while not (self._config.parent / "mosquitto.db").exists():
            assert time.monotonic() < deadline_s, "mosquitto does not save"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would; it forgets what it has not saved."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """Let it hang: connections stay, but nothing is read or answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Subscriber:
    """Gets all messages of a broker, also those that come while one of the two is away.

    Args:
        port: of the broker.
        login: user and password.
        ca_file: of a broker with TLS.
    """

    def __init__(self, port: int, login: tuple[str, str] | None = None, ca_file: Path | None = None) -> None:
        self.messages: list[Message] = []
        self._changed = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2, f"test-{port}-{id(self)}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *rest: client.subscribe("#", qos=2)
        is_subscribed = threading.Event()
        self._client.on_subscribe = lambda *rest: is_subscribed.set()
        if login is not None:
            self._client.username_pw_set(*login)
        if ca_file is not None:
            self._client.tls_set(str(ca_file))
        self._client.connect("localhost" if ca_file else "127.0.0.1", port)
        self._client.loop_start()
        assert is_subscribed.wait(10)

    def payloads(self, end: str) -> list[str]:
        """Return what came under topics that end so."""
        return [message.payload for message in self.messages if message.topic.endswith(end)]

    def results(self) -> list[dict[str, Any]]:
        """Return the results of all devices."""
        return [json.loads(payload) for payload in self.payloads("/faces")]

    def wait_for(self, is_there: Callable[[], object], timeout_s: float = 10) -> None:
        """Wait until it is so, or fail."""
        with self._changed:
            is_here = self._changed.wait_for(lambda: bool(is_there()), timeout_s)
        newest = [(message.topic, message.payload[:60]) for message in self.messages[-10:]]
        assert is_here, f"after {timeout_s} s there are {len(self.messages)} messages, at last {newest}"

    def publish(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self.messages.append(Message(message.topic, message.payload.decode(), message.qos, message.retain))
            self._changed.notify_all()
