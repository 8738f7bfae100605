"""The connection to a broker, which is made again whenever it is lost."""

import logging
import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from mien.config import MqttConfig
from mien.outputs.mqtt.client import make_client

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger(__name__)

BUFFER_SIZE = 1000
"""Results that wait at most for a broker that is away; then the oldest is dropped."""

KEEPALIVE_S = 30
"""A broker that has vanished without a word is noticed after twice as long at most; that we have, it notices after
one and a half times as long."""

PAUSES_S = (1, 60)
"""Between two attempts to connect, doubling from the first to the second."""

DISCONNECT_S = 0.1
"""What disconnecting may take."""


class Broker:
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
        self._client = make_client(config, client_id, host)
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
        if was_connected and self._is_disconnected.wait(DISCONNECT_S):
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
        # Who was told of a problem wants to know that it is over; that all is well from the start is no news.
        logger.log(logging.INFO if self._told else logging.DEBUG, "%s: connected", self)
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
