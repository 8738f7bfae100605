"""A run in threads: a source captures, a recognizer recognises, every output writes, none of them waits for another.

    source --(newest frame)--> recognizer --(results)--> a thread for each output

A camera does not wait, so the newest frame wins and the others are counted as dropped. A file does wait, so every
frame of it is recognised and every record of it is complete.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mien.config import load_settings
from mien.faces import FrameResult
from mien.health import Health, OutputHealth
from mien.neutral import load_calibration
from mien.outputs.base import Output
from mien.outputs.worker import OutputWorker
from mien.pace.pacer import Pacer, make_pacer
from mien.recognition import Recognition, make_recognizer
from mien.recognizer import EmotionRecognizer
from mien.sources import Source, open_source
from mien.stopping import StopRequest, stop_on_signals
from mien.watchdog import Watchdog

logger = logging.getLogger(__name__)

FINISH_S = 1.5
"""Outputs have so long to write what waits and to close; a run ends within two seconds of Ctrl-C."""

IDLE_S = 0.03
"""How often a window is looked after while no frame comes."""


def stream(source: str = "auto", **settings: Any) -> Iterator[FrameResult]:
    """Yield what is seen in each frame of a source, with its image: `for result in mien.stream("demo"): ...`.

    Of a camera the newest frame is taken, however long the loop's body takes; of a file every frame. Leaving the loop
    closes the source.

    Args:
        source: as `--source`.
        settings: as in the TOML file, such as `max_faces=2`.

    Raises:
        OSError, ValueError, ImportError: as `mien run` tells them.
    """
    config = load_settings({"source": source, **settings}, environment={}).config
    recognizer, health = make_recognizer(config), Health()
    opened = open_source(config.source, config, health)
    recognition = Recognition(opened, recognizer, health, make_pacer(config, opened, health))
    try:
        recognizer.calibration = load_calibration(opened.name, recognizer.classifier.card)
        for image, result in recognition:
            yield replace(result, image=image)
    finally:
        recognition.stop()
        recognition.join(FINISH_S)


def run_stream(
    source: Source,
    recognizer: EmotionRecognizer,
    outputs: Mapping[str, Output],
    health: Health | None = None,
    pacer: Pacer | None = None,
) -> None:
    """Recognise the frames of a source and give the results to all outputs, until it ends or a stop is asked for.

    Ctrl-C, SIGTERM, a closed terminal and an output's `wants_to_stop` end the run after the frame that is being
    recognised; a second Ctrl-C interrupts at once. An output that fails is told and left behind, as long as there are
    others. Outputs are closed here, each by the thread that writes it, and so is the source. A `pacer` tells its
    `health` why the stream is slowed, so that should be the same.

    Raises:
        OSError, ValueError: what ended the source or, after the run, what ended an output; an output that hangs is
            a TimeoutError.
    """
    health = health or Health()
    ended = threading.Event()
    recognition = Recognition(source, recognizer, health, pacer)
    workers = []
    for name, output in outputs.items():
        health.outputs[name] = OutputHealth()
        workers.append(OutputWorker(name, output, health.outputs[name], not source.is_live, ended))
    pump = _Pump(recognition, workers, health)
    with stop_on_signals(ended) as stop:
        for worker in workers:
            worker.start()
        pump.start()
        deadline_s = _look_after(workers, recognition, stop, ended, Watchdog(health))
    recognition.stop()
    # Python should not end while a thread is inside native code; but one that hangs there is not waited for.
    recognition.join(deadline_s - time.monotonic())
    pump.join(max(0.0, deadline_s - time.monotonic()))
    late = ", ".join(worker.name for worker in workers if not worker.is_done)
    hung = TimeoutError(f"output {late} did not finish within {FINISH_S:g} s") if late else None
    for error in (hung, pump.error, *(worker.error for worker in workers)):
        if error is not None:
            raise error


class _Pump(threading.Thread):
    """The thread that recognises, and hands the results to the outputs."""

    def __init__(self, recognition: Recognition, workers: list[OutputWorker], health: Health) -> None:
        super().__init__(name="recognize", daemon=True)
        self._recognition, self._workers, self._health = recognition, workers, health
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for image, result in self._recognition:
                for worker in self._workers:
                    worker.offer(image, result)
        except BaseException as error:  # raised again in the main thread
            self.error = error
        finally:
            self._health.set_source("stopped")  # before outputs close, for some tell it
            for worker in self._workers:
                worker.finish()


def _look_after(
    workers: list[OutputWorker],
    recognition: Recognition,
    stop: StopRequest,
    ended: threading.Event,
    watchdog: Watchdog,
) -> float:
    """Wait until all outputs are closed, or a stop was asked for and its time is over; return when all must be over."""
    deadline_s, told = float("inf"), set()
    while True:
        ended.clear()
        alive = [worker for worker in workers if not worker.is_done]
        if not alive or time.monotonic() >= deadline_s:
            break
        if (stop.is_made or any(worker.output.wants_to_stop for worker in workers)) and deadline_s == float("inf"):
            deadline_s = time.monotonic() + FINISH_S
            recognition.stop()
            for worker in workers:
                worker.end_waiting()  # else one that hangs would keep the others from being finished
        here = [worker for worker in alive if worker.output.needs_main_thread]
        for worker in here:
            worker.step(IDLE_S)
        if not here:
            ended.wait(min(1.0, max(0.0, deadline_s - time.monotonic())))
        for worker in workers:
            if worker.error is not None and worker.name not in told and len(workers) > 1:
                told.add(worker.name)
                if not isinstance(worker.error, BrokenPipeError):  # a reader that has seen enough
                    logger.warning("output %s ended (%s): the run goes on without it", worker.name, worker.error)
        watchdog.look()
    watchdog.stop()
    return min(deadline_s, time.monotonic() + FINISH_S)
