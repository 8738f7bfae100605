"""What is published, and what waits while the broker is away.

Beside the stream's thread there are two: paho's keeps the connection, and ours sends what waits, one message after the
other.
"""

import json
import logging
import re
import secrets
import socket
import threading
import time
from collections import deque
from typing import Any

from mien.config import MqttConfig
from mien.faces import FrameResult, Image
from mien.health import WINDOW_S
from mien.outputs.base import Output, OutputContext
from mien.outputs.mqtt.broker import BUFFER_SIZE, Broker
from mien.outputs.mqtt.home_assistant import discovery_messages

logger = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 30.0

FLUSH_S, GOODBYE_S = 0.6, 0.2
"""What closing may take: to send what waits, and then to say that we are offline; less than a second, together with
the broker's `DISCONNECT_S`."""


class MqttOutput(Output):
    """Publishes to a broker, from when it is made until it is closed; while the broker is away, results wait.

    Args:
        context: whose `config.mqtt` and `health` are used.
        host_port: "HOST" or "HOST:PORT" instead of the configured ones; "" for these.

    Raises:
        ValueError: a setting is not allowed; the message names it.
        OSError: a file that a setting names cannot be read.
        ImportError: paho-mqtt is missing.
    """

    queue_size = 100

    def __init__(self, context: OutputContext, host_port: str = "") -> None:
        config = context.config.mqtt
        self._health, self._qos, self._interval_s = context.health, config.qos, config.interval_s
        device = _device(config.device)
        topic = f"{_checked_topic('topic', config.topic)}/{device}"
        self._faces_topic, self._health_topic = f"{topic}/faces", f"{topic}/health"
        self._availability_topic = f"{topic}/availability"
        self._discovery: dict[str, dict[str, Any]] = {}
        birth_topic = ""
        if config.discovery:
            prefix = _checked_topic("discovery", config.discovery)
            self._discovery = discovery_messages(prefix, topic, device, config.interval_s)
            birth_topic = f"{prefix}/status"
        self._waiting: deque[str] = deque()
        self._shown: set[tuple[int, str]] = set()  # ids and labels of the last result that was sent
        self._next_result_s = self._next_health_s = 0.0
        self._told_state = ("", "", "")
        self._is_closing = False
        host, port = address_of(host_port, config)
        client_id = f"mien-{device}-{secrets.token_hex(3)}"  # a second one with the same id would throw us out
        self._broker = Broker(host, port, config, client_id, self._availability_topic, birth_topic)
        self._changed = self._broker.changed
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)
        self._thread.start()

    def write(self, image: Image, result: FrameResult) -> None:
        """Let the result wait for the broker, if its faces are new or the interval is over; never the picture."""
        now_s = time.monotonic()
        shown = {(face.track_id, face.label) for face in result.faces}
        if shown == self._shown and now_s < self._next_result_s:
            return
        self._shown, self._next_result_s = shown, now_s + self._interval_s
        message = json.dumps(result.to_dict() | {"device_time": round(time.time(), 3)})
        with self._changed:
            self._waiting.append(message)
            self._drop_oldest()
            self._changed.notify_all()

    def close(self) -> None:
        """Send what waits, as far as that is possible in `FLUSH_S`, say that we are offline, and disconnect."""
        with self._changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._broker.end_by(time.monotonic() + FLUSH_S)
        self._thread.join(FLUSH_S + GOODBYE_S)
        self._broker.close()
        self.dropped += len(self._waiting)
        if self.dropped:
            logger.warning("%s: results not sent: %d", self._broker, self.dropped)

    def _work(self) -> None:
        """Send what is new until the output is closed; in its own thread, because the stream's may have nothing."""
        while not self._is_closing:
            if self._broker.is_connected:
                self._send_news()
            with self._changed:
                self._changed.wait_for(self._has_news, timeout=1.0)  # the state of the run may change without a frame
        self._broker.wait_for_answer()  # after a very short run the connection may be just being made
        while self._waiting and self._broker.is_usable:
            self._send_news()
        if self._broker.is_usable:
            self._send_health(HEALTH_INTERVAL_S)  # it is retained: the last word on this run
        self._broker.end_by(time.monotonic() + GOODBYE_S)
        self._broker.send(self._availability_topic, "offline")

    def _has_news(self) -> bool:
        return self._is_closing or (self._broker.is_connected and (self._broker.is_new or bool(self._waiting)))

    def _send_news(self) -> None:
        """Send what a new connection needs, health if it is due, and the oldest result."""
        if self._broker.is_new:
            self._broker.is_new = False
            self._told_state = ("", "", "")
            self._broker.send(self._availability_topic, "online")
            for topic, payload in self._discovery.items():
                self._broker.send(topic, json.dumps(payload))
        state = (self._health.state, self._health.problem, self._health.slowed)
        if state != self._told_state:
            self._told_state = state
            self._send_health(WINDOW_S)  # by then the rates are those of this state
        elif time.monotonic() >= self._next_health_s:
            self._send_health(HEALTH_INTERVAL_S)
        with self._changed:
            message = self._waiting.popleft() if self._waiting else None
        if message is not None and not self._broker.send(self._faces_topic, message, self._qos, is_retained=False):
            with self._changed:
                self._waiting.appendleft(message)
                self._drop_oldest()

    def _send_health(self, next_in_s: float) -> None:
        self._next_health_s = time.monotonic() + next_in_s
        self._broker.send(self._health_topic, json.dumps(self._health.to_dict()))

    def _drop_oldest(self) -> None:
        if len(self._waiting) > BUFFER_SIZE:
            self._waiting.popleft()
            self.dropped += 1


def _device(name: str) -> str:
    """Return a name that is allowed in topics and in Home Assistant's ids."""
    if not name:
        return re.sub(r"[^A-Za-z0-9_-]+", "_", socket.gethostname()) or "device"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"mqtt.device is {name!r}: allowed are letters (a-z), digits, - and _")
    return name


def _checked_topic(setting: str, topic: str) -> str:
    if not topic.strip("/") or topic != topic.strip("/") or re.search(r"[+#\x00]", topic) or topic[0] == "$":
        raise ValueError(
            f"mqtt.{setting} is {topic!r}: allowed is a topic as home/mien, with no + or # and no / outside"
        )
    return topic


def address_of(host_port: str, config: MqttConfig) -> tuple[str, int]:
    """Return host and port of "", "HOST", "HOST:PORT" or "[IPV6]:PORT"; what is not given is as configured."""
    host, port = config.host, config.port or (8883 if config.tls else 1883)
    if host_port:
        parts = re.fullmatch(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", host_port)
        if parts is None or parts[1].isdecimal() or int(parts[2] or port) not in range(1, 65536):
            raise ValueError(
                f"output 'mqtt:{host_port}': allowed are mqtt, mqtt:HOST, mqtt:HOST:PORT, mqtt:[IPV6]:PORT"
            )
        host, port = parts[1].strip("[]"), int(parts[2] or port)
    try:
        is_name = bool(host.encode("idna"))
    except UnicodeError:  # as of "a..b"; paho's thread would die of it
        is_name = False
    if not is_name:
        raise ValueError(f"mqtt.host is {host!r}: allowed is the name or address of a broker, as broker.local")
    return host, port
