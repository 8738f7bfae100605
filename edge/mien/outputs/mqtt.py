"""Results, availability and health for an MQTT broker; Home Assistant finds the device by itself.

    mien run --output mqtt:broker.local

docs/mqtt.md says which topics there are and what is in them. Beside the stream's thread there are two: paho's keeps
the connection, and ours sends what waits, one message after the other.
"""

import ipaddress
import json
import logging
import math
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.config import MqttConfig
from mien.emotions import EMOTIONS, UNSURE
from mien.faces import FrameResult, Image
from mien.outputs.base import Output, OutputContext

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger(__name__)

BUFFER_SIZE = 1000
"""Results that wait for the broker at most; then the oldest is dropped."""

HEALTH_INTERVAL_S = 30.0
KEEPALIVE_S = 30
"""A broker that has vanished without a word is noticed after twice as long at most; that we have, it notices after
one and a half times as long."""

PAUSES_S = (1, 60)
"""Between two attempts to connect, doubling from the first to the second."""

FLUSH_S, GOODBYE_S = 0.6, 0.2
"""What closing may take: to send what waits, and then to say that we are offline; in all less than a second."""


class MqttOutput(Output):
    """Publishes to a broker, from when it is made until it is closed; while the broker is away, results wait.

    Args:
        context: whose `config.mqtt` and `health` are used.
        host_port: "HOST" or "HOST:PORT" instead of the configured ones; "" for these.

    Attributes:
        dropped: results that were lost because too many waited, or still waited at the end.

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
        self.dropped = 0
        self._waiting: deque[str] = deque()
        self._shown: set[tuple[int, str]] = set()  # ids and labels of the last result that was sent
        self._next_result_s = self._next_health_s = 0.0
        self._told_state = ("", "")
        self._is_closing = False
        host, port = _address(host_port, config)
        client_id = f"mien-{device}-{secrets.token_hex(3)}"  # a second one with the same id would throw us out
        self._broker = _Broker(host, port, config, client_id, self._availability_topic, birth_topic)
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
        if self._waiting:
            self.dropped += len(self._waiting)
            logger.warning("%s: results not sent: %d", self._broker, len(self._waiting))

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
        self._broker.end_by(time.monotonic() + GOODBYE_S)
        self._broker.send(self._availability_topic, "offline")

    def _has_news(self) -> bool:
        return self._is_closing or (self._broker.is_connected and (self._broker.is_new or bool(self._waiting)))

    def _send_news(self) -> None:
        """Send what a new connection needs, health if it is due, and the oldest result."""
        if self._broker.is_new:
            self._broker.is_new = False
            self._told_state = ("", "")
            self._broker.send(self._availability_topic, "online")
            for topic, payload in self._discovery.items():
                self._broker.send(topic, json.dumps(payload))
        state = (self._health.state, self._health.problem)
        if state != self._told_state or time.monotonic() >= self._next_health_s:
            self._told_state, self._next_health_s = state, time.monotonic() + HEALTH_INTERVAL_S
            self._broker.send(self._health_topic, json.dumps(self._health.to_dict()))
        with self._changed:
            message = self._waiting.popleft() if self._waiting else None
        if message is not None and not self._broker.send(self._faces_topic, message, self._qos, is_retained=False):
            with self._changed:
                self._waiting.appendleft(message)
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        if len(self._waiting) > BUFFER_SIZE:
            self._waiting.popleft()
            self.dropped += 1


class _Broker:
    """A connection that is made again whenever it is lost, and takes one message at a time.

    paho has a queue of its own, but when it is full it refuses the newest message, and after a lost connection it
    would send new ones before old ones. So it is given the next message only when the broker has the last one: order
    and memory are then right whatever happens, and what is lost with the connection paho sends again.

    Attributes:
        changed: held while one of the others changes, and told of it; never held while paho is called, which has
            locks of its own.
        is_connected: whether the broker has accepted us.
        is_new: whether we, or Home Assistant, have connected anew, so that all retained messages are due.
    """

    def __init__(
        self, host: str, port: int, config: MqttConfig, client_id: str, will_topic: str, birth_topic: str
    ) -> None:
        self._name, self._config, self._birth_topic = f"MQTT broker {host}:{port}", config, birth_topic
        self.changed = threading.Condition()
        self.is_connected = self.is_new = False
        self._losses = 0
        self._acknowledged = 0  # id of the message that the broker had last
        self._told: set[str] = set()  # problems since the last connection
        self._is_asking = False
        self._end_s = math.inf
        self._is_closed = False
        self._is_disconnected = threading.Event()
        self._client = _make_client(config, client_id, host)
        self._client.will_set(will_topic, "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(*PAUSES_S)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.connect_async(host, port, KEEPALIVE_S)
        self._client.loop_start()

    def __str__(self) -> str:
        return self._name

    @property
    def is_usable(self) -> bool:
        """Whether it is connected and there is time left."""
        return self.is_connected and time.monotonic() < self._end_s

    def end_by(self, end_s: float) -> None:
        """Wait for nothing beyond this `time.monotonic()`."""
        with self.changed:
            self._end_s = end_s
            self.changed.notify_all()

    def wait_for_answer(self) -> None:
        """Wait until it is connected, or has failed to be."""
        with self.changed:
            timeout_s = self._end_s - time.monotonic()
            self.changed.wait_for(lambda: self.is_connected or bool(self._told), timeout_s)

    def send(self, topic: str, payload: str, qos: int = 1, is_retained: bool = True) -> bool:
        """Publish a message and wait until the broker has it, through lost connections if `qos` is 1 or 2.

        Returns:
            False if it was not published, or with `qos` 0 if the connection was lost before it was on its way.
        """
        losses = self._losses
        if not self.is_connected:
            return False
        info = self._client.publish(topic, payload, qos, is_retained)

        with self.changed:
            while (left_s := self._end_s - time.monotonic()) > 0 and self._acknowledged != info.mid:
                if qos == 0 and self._losses != losses:
                    break
                self.changed.wait(None if left_s == math.inf else left_s)
            return self._acknowledged == info.mid

    def close(self) -> None:
        """Disconnect; the thread of a client that tries to connect just now ends by itself a little later."""
        was_connected, self._is_closed = self.is_connected, True
        self._client.disconnect()
        if was_connected and self._is_disconnected.wait(GOODBYE_S / 2):
            self._client.loop_stop()

    def _warn(self, problem: str) -> None:
        """Tell each problem once until the connection stands."""
        if problem not in self._told and not self._is_closed:
            logger.warning("%s: %s; trying again, up to %d results wait", self, problem, BUFFER_SIZE)
        with self.changed:
            self._told.add(problem)
            self.changed.notify_all()

    # What follows is called by paho, in its thread.

    def _on_socket_open(self, *rest: Any) -> None:
        self._is_asking = True

    def _on_connect(self, client: "Client", data: Any, flags: Any, reason: "ReasonCode", *rest: Any) -> None:
        if self._is_closed:  # while the connection was being made
            client.disconnect()
            return
        self._is_asking = False
        if reason.is_failure:
            who = f"user {self._config.username!r}" if self._config.username else "clients without a user"
            self._warn(f"refuses {who} ({reason}): check username and password of [mqtt]")
            return
        logger.info("%s: connected", self)
        self._told.clear()
        self._is_disconnected.clear()
        if self._birth_topic:
            client.subscribe(self._birth_topic)
        with self.changed:
            self.is_connected = self.is_new = True
            self.changed.notify_all()

    def _on_connect_fail(self, client: "Client", data: Any) -> None:
        if self._is_closed:
            client.disconnect()
            return
        error = sys.exception()  # paho calls this where it handles the error, and gives it to nobody
        self._warn(getattr(error, "strerror", None) or str(error or "no connection"))

    def _on_disconnect(self, *reasons: Any) -> None:
        if self.is_connected:
            self._warn("connection lost")
        elif self._is_asking:
            self._warn("no answer" if self._config.tls else "no answer; if it wants TLS, set tls = true in [mqtt]")
        self._is_asking = False
        with self.changed:
            self.is_connected = False
            self._losses += 1
            self.changed.notify_all()
        self._is_disconnected.set()

    def _on_publish(self, client: "Client", data: Any, number: int, *rest: Any) -> None:
        with self.changed:
            self._acknowledged = number
            self.changed.notify_all()

    def _on_message(self, client: "Client", data: Any, message: "MQTTMessage") -> None:
        """Take Home Assistant's birth message."""
        if message.payload == b"online":
            with self.changed:
                self.is_new = True
                self.changed.notify_all()


def discovery_messages(prefix: str, topic: str, device: str, interval_s: float) -> dict[str, dict[str, Any]]:
    """Return what tells Home Assistant about this device, by topic.

    The form is that of https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: one message a sensor, which
    all share the device.

    Args:
        prefix: of Home Assistant's discovery, usually "homeassistant".
        topic: of this device, without the last part.
        device: its name, of letters, digits, "-" and "_".
        interval_s: seconds between two results at least.
    """
    identifier = f"mien_{device}"
    shared = {
        "availability_topic": f"{topic}/availability",
        "device": {"identifiers": [identifier], "name": f"mien {device}", "model": "mien", "sw_version": __version__},
        "origin": {"name": "mien", "sw_version": __version__},
    }
    largest = "value_json.faces[0]"
    details = f"{{'confidence': {largest}.confidence, 'probabilities': {largest}.probabilities}}"
    # The camera may be lost while the device is online: a face of long ago is not to be shown as one of now.
    expiry = {"expire_after": 30 + 2 * math.ceil(interval_s)}
    sensors: dict[str, dict[str, Any]] = {
        "emotion": expiry
        | {
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": [*EMOTIONS, UNSURE, "none"],
            "state_topic": f"{topic}/faces",
            "value_template": f"{{{{ {largest}.label if value_json.faces else 'none' }}}}",
            "json_attributes_topic": f"{topic}/faces",
            "json_attributes_template": f"{{{{ ({details} if value_json.faces else {{}}) | tojson }}}}",
        },
        "faces": expiry
        | {
            "name": "Faces",
            "icon": "mdi:account-multiple",
            "state_class": "measurement",
            "state_topic": f"{topic}/faces",
            "value_template": "{{ value_json.faces | count }}",
        },
        "frame_rate": {
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "entity_category": "diagnostic",
            "state_class": "measurement",
            "unit_of_measurement": "frames/s",
            "state_topic": f"{topic}/health",
            "value_template": "{{ value_json.frames_per_s }}",
        },
    }
    return {
        f"{prefix}/sensor/{identifier}/{key}/config": {"unique_id": f"{identifier}_{key}"} | sensor | shared
        for key, sensor in sensors.items()
    }


def _make_client(config: MqttConfig, client_id: str, host: str) -> "Client":
    """Return a client that knows its login and what to trust, but nothing of where to connect.

    Raises:
        ImportError, OSError, ValueError: as `MqttOutput`.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:  # of an old paho, as Debian's, too
        raise ImportError("--output mqtt needs paho-mqtt 2.1 or newer: pip install 'mien[mqtt]'") from error
    client = Client(CallbackAPIVersion.VERSION2, client_id)
    password = config.password or _first_line(config.password_file)
    if password and not config.username:
        raise ValueError("mqtt.password without mqtt.username: MQTT allows no such login, give the user's name too")
    if config.username:
        client.username_pw_set(config.username, password or None)
    if config.tls:
        client.tls_set_context(_tls_context(config.ca_file))
    elif config.ca_file:
        raise ValueError(f"mqtt.ca_file is {config.ca_file!r} but mqtt.tls is off: set tls = true, or no ca_file")
    elif password and not _is_loopback(host):
        logger.warning("MQTT broker %s: the password goes there unencrypted; set tls = true in [mqtt]", host)
    return client


def _tls_context(ca_file: str) -> ssl.SSLContext:
    # Not `create_default_context`: from Python 3.13 on that is too strict for what people sign at home.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not ca_file:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cadata=_read("ca_file", ca_file))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"mqtt.ca_file: {ca_file} has no certificate; allowed is PEM (BEGIN CERTIFICATE)") from error
    return context


def _first_line(password_file: str) -> str:
    password = _read("password_file", password_file).partition("\n")[0] if password_file else ""
    if password_file and not password:
        raise ValueError(f"mqtt.password_file: the first line of {password_file} is empty; write the password there")
    return password


def _read(setting: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise type(error)(f"mqtt.{setting}: cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"mqtt.{setting}: {path} is not UTF-8 text") from error


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


def _address(host_port: str, config: MqttConfig) -> tuple[str, int]:
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
