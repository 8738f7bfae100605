"""A Mosquitto of our own for `pipeline` and `fleet`, which can be restarted, and who listens to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from benchmarks.machine import resident_mb

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

PROGRAM = "mosquitto"
START_S = 10.0

SETTINGS = """user root
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_queued_messages 0
log_dest none
"""
"""A subscriber that is away loses nothing; `user` matters to root alone, who else could not write into the folder."""


class Broker:
    """A broker on a free port of this machine, which keeps what it knows in a folder.

    Attributes:
        port: where it listens.
        cpu_s: CPU seconds of all processes that it has had and that have ended.
        peak_mb: the most memory that any of them had.

    Raises:
        FileNotFoundError: there is none on this machine.
        OSError: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise FileNotFoundError(f"no broker to publish to: sudo apt install {PROGRAM}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(SETTINGS.format(port=self.port, folder=folder))
        self._database = folder / "mosquitto.db"
        self.cpu_s = self.peak_mb = 0.0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), START_S).close()
            except OSError:
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    self._process.kill()
                    raise OSError(f"{PROGRAM} did not start in {START_S:g} s") from None
                time.sleep(0.01)
            else:
                return

    def save(self) -> None:
        """Let it write down what it knows, as it does every half an hour."""
        self._process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + START_S
        while not self._database.exists():
            if time.monotonic() > deadline_s:
                raise OSError(f"{PROGRAM} saved nothing in {START_S:g} s")
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal; it may be started again."""
        if self._process.poll() is not None:
            return
        folder = Path(f"/proc/{self._process.pid}")
        if folder.exists():
            # After the name, in brackets, which may hold blanks: utime and stime are the 12th and 13th. See proc(5).
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            self.cpu_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            self.peak_mb = max(self.peak_mb, resident_mb(str(folder / "status"), "VmHWM"))
        self._process.send_signal(number)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Arrival(NamedTuple):
    """A result at the subscriber: whose it is, which, when it was ready and when it came, in Unix time."""

    device: str
    frame: int
    ready_s: float
    came_s: float


class Listener:
    """Subscribes with QoS 1 in a session that the broker keeps, to the results of all devices and who is online.

    Attributes:
        arrivals: results, in the order in which they came, twice if they came twice.
        online: devices that have said so.
        bytes: of all results.
    """

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.arrivals: list[Arrival] = []
        self.online: set[str] = set()
        self.bytes = 0
        self._client = Client(CallbackAPIVersion.VERSION2, "mien-benchmark", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *rest: client.subscribe(
            [("mien/+/faces", 1), ("mien/+/availability", 1)]
        )
        is_subscribed = threading.Event()
        self._client.on_subscribe = lambda *rest: is_subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not is_subscribed.wait(START_S):
            raise OSError(f"{PROGRAM} does not answer a subscriber")

    def count(self) -> int:
        """Return how many results have come, each counted once."""
        return len({arrival[:2] for arrival in self.arrivals.copy()})

    def _on_message(self, client: "Client", data: object, message: "MQTTMessage") -> None:
        _, device, kind = message.topic.split("/")
        if kind == "availability":
            if message.payload == b"online":
                self.online.add(device)
            return
        result = json.loads(message.payload)
        self.bytes += len(message.payload)
        self.arrivals.append(Arrival(device, result["frame"], result["device_time"], time.time()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
