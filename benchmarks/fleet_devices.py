"""The devices of `python -m benchmarks fleet`: many MQTT outputs in a process of their own, fed with made-up faces.

They are mien's own outputs with its usual settings, each with its threads and its connection, as on so many boards;
only the camera and the networks are missing. It is told what to do on stdin, in JSON, and answers on stdout.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.machine import resident_mb
from mien.config import Config, MqttConfig
from mien.emotions import EMOTIONS
from mien.faces import Box, Face, FrameResult, Image
from mien.outputs import Output, OutputContext, open_output

IMAGE: Image = np.zeros((48, 64, 3), np.uint8)
"""It is never sent."""


class Reconnections(logging.Handler):
    """Keeps when an output told that it is connected again, in Unix time, and no line on the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.times_s: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line of an output."""
        if record.getMessage().endswith(": connected"):
            self.times_s.append(record.created)


def device_name(index: int) -> str:
    """Return a device's name in topics, as device-007."""
    return f"device-{index:03d}"


def make_result(device: int, frame: int) -> FrameResult:
    """Return one or two faces whose labels differ from those of the frame before, so that the result goes at once."""
    faces = []
    for place in range(1 + (device + frame // 10) % 2):
        probabilities = np.full(len(EMOTIONS), 0.04, np.float32)
        probabilities[(device + frame + place) % len(EMOTIONS)] = 0.76
        faces.append(Face(Box(40 + 200 * place, 60, 120 - place, 120 - place), probabilities, place + 1))
    return FrameResult(time.time(), frame, faces)


def feed(outputs: Sequence[Output], per_device: int, rate: float) -> float:
    """Give each output `rate` results/s, one output after the other; return the seconds that it took."""
    begin_s = time.monotonic()
    for number in range(per_device * len(outputs)):
        frame, device = divmod(number, len(outputs))
        time.sleep(max(0.0, begin_s + number / (rate * len(outputs)) - time.monotonic()))
        outputs[device].write(IMAGE, make_result(device, frame))
    return time.monotonic() - begin_s


def main() -> None:
    """Open the outputs, feed them on a line from stdin, close them on another, and tell what it took."""
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    reconnections = Reconnections()
    logger = logging.getLogger("mien")
    logger.handlers, logger.propagate = [reconnections], False
    logger.setLevel(logging.INFO)
    with ExitStack() as stack:
        outputs = [
            stack.enter_context(open_output(f"mqtt:127.0.0.1:{request['port']}", OutputContext(Config(mqtt=settings))))
            for settings in (MqttConfig(device=device_name(index), qos=1) for index in range(request["devices"]))
        ]
        sys.stdin.readline()  # all are connected
        cpu_s = time.process_time()
        took_s = feed(outputs, request["per_device"], request["rate"])
        cpu_s = time.process_time() - cpu_s
        figures = {"memory_mb": round(resident_mb(), 1), "threads": threading.active_count()}
        print("fed", flush=True)
        sys.stdin.readline()  # all that waited has arrived; closing would not wait for a broker that is away
    dropped = sum(output.dropped for output in outputs)
    figures |= {"seconds": round(took_s, 2), "cpu": round(cpu_s / took_s, 3), "dropped": dropped}
    print(json.dumps(figures | {"reconnected_s": reconnections.times_s}))


if __name__ == "__main__":
    main()
