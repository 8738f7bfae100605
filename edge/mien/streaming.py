"""A run in threads: a source captures, a recognizer recognises, every output writes, none of them waits for another.

    source --(newest frame)--> recognizer --(results)--> a thread for each output

A camera does not wait, so the newest frame wins and the others are counted as dropped. A file does wait, so every
frame of it is recognised and every record of it is complete.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mien.channel import Channel
from mien.config import Config, load_settings
from mien.detectors import identify, open_detector
from mien.faces import FrameResult, Image
from mien.health import Health, OutputHealth
from mien.neutral import load_calibration
from mien.outputs.base import Output
from mien.pace.pacer import Pacer, make_pacer
from mien.recognizer import EmotionRecognizer
from mien.sources import Frame, Source, open_source
from mien.watchdog import Watchdog

logger = logging.getLogger(__name__)

FINISH_S = 1.5
"""Outputs have so long to write what waits and to close; a run ends within two seconds of Ctrl-C."""

IDLE_S = 0.03
"""How often a window is looked after while no frame comes."""


MOST_TRACKED = 100
"""Where faces are to be hidden, all are followed, however few are shown."""


class Recognition:
    """Captures and recognises in two threads; iterating gives (image, result) as they come.

    Args:
        source: where frames come from; closed by `stop`.
        recognizer: used by one thread only.
        health: counts what happens.
        pacer: says which frames are left out, and what the others may cost; None: each as configured.
    """

    def __init__(
        self, source: Source, recognizer: EmotionRecognizer, health: Health, pacer: Pacer | None = None
    ) -> None:
        self._source, self._recognizer, self._health = source, recognizer, health
        health.detector, health.detector_problem = identify(recognizer.detector)
        self._pacer, self._pace = pacer, pacer and pacer.pace
        is_patient = not source.is_live
        self._frames: Channel[Frame] = Channel(2 if is_patient else 1, is_patient)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        self._closer = threading.Thread(target=source.close, name="close", daemon=True)
        self._is_stopped, self._stopping = False, threading.Lock()

    def __iter__(self) -> Iterator[tuple[Image, FrameResult]]:
        """Recognise in the calling thread what the capturing thread brings.

        Raises:
            OSError, ValueError: what ended the source.
        """
        self._thread.start()
        if self._pacer is not None:
            self._pacer.start()
        while (frame := self._frames.get()) is not None and not self._is_stopped:
            yield frame.image, self._recognize(frame)
        if self._error is not None and not self._is_stopped:
            raise self._error

    def stop(self) -> None:
        """Close the source and end the iteration after the frame that is being recognised; from any thread.

        Waits for nothing: a read that is under way, and so closing, may hang in a driver or a network.
        """
        with self._stopping:
            is_first, self._is_stopped = not self._is_stopped, True
        if is_first:
            self._frames.close(is_emptied=True)
            self._closer.start()
            if self._pacer is not None:
                self._pacer.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until the source is closed and nothing reads from it any more; return whether that is so."""
        deadline_s = time.monotonic() + timeout_s
        threads = [thread for thread in (self._closer, self._thread) if thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _capture(self) -> None:
        try:
            for frame in self._source:
                self._health.captured += 1
                if self._health.state == "starting":
                    self._health.set_source("running")
                if self._pacer is None or self._pacer.takes(time.monotonic()):
                    self._health.dropped += self._frames.put(frame)
                else:
                    self._health.skipped += 1
                if self._is_stopped:
                    break
        except BaseException as error:  # raised again in the thread that recognises
            self._error = error
        finally:
            self._frames.close()

    def _recognize(self, frame: Frame) -> FrameResult:
        if not self._source.is_continuous:
            self._recognizer.reset()
        # Unix time may be set while a camera runs: a Pi without a clock starts in the past.
        taken_s = frame.taken_s if self._source.is_live else None
        started_s = time.monotonic()
        if self._pacer is not None and self._pacer.pace is not self._pace:
            self._pace = pace = self._pacer.pace
            self._recognizer.set_effort(pace.detect_interval_s, pace.detect_side)
        faces = self._recognizer.recognize(frame.image, frame.time_s if taken_s is None else taken_s, frame.luma)
        now_s = time.monotonic()
        if self._pacer is not None:
            self._pacer.busy_s += now_s - started_s
        latency_s = now_s - frame.taken_s
        self._health.add_result(latency_s)
        seen = self._recognizer.seen
        return FrameResult(frame.time_s, frame.index, faces, frame.name, latency_s, taken_s, seen)


def make_recognizer(config: Config) -> EmotionRecognizer:
    """Return the recognizer that the settings describe; OpenCV's threads are set, too."""
    import cv2

    cv2.setNumThreads(config.threads)
    return EmotionRecognizer(
        config.model,
        open_detector(config.detector, config.detect_side, config.min_face, num_threads=config.threads),
        num_threads=config.threads,
        max_faces=config.max_faces,
        max_classified=config.max_classified,
        smoothing_s=config.smoothing_s,
        detect_interval_s=config.detect_interval_s,
        max_tracked=MOST_TRACKED if config.blur_faces else None,
    )


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


class OutputWorker:
    """Gives results to one output in a thread of its own, or from the main thread where it must be.

    Args:
        name: the text that `--output` was given.
        output: closed here, after its last result.
        health: counts what becomes of the results.
        source_waits: whether the source waits for those outputs that are records.
        ended: set when this or another output has ended.
    """

    def __init__(
        self, name: str, output: Output, health: OutputHealth, source_waits: bool, ended: threading.Event
    ) -> None:
        self.name, self.output, self._health, self._ended = name, output, health, ended
        is_lossless = source_waits and output.is_record
        size = max(output.queue_size, 4) if is_lossless else output.queue_size
        self._results: Channel[tuple[Image, FrameResult]] = Channel(size, is_lossless)
        self._missed, self._counting = 0, threading.Lock()
        self.error: BaseException | None = None
        self.is_done = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, if the output may have one."""
        if not self.output.needs_main_thread:
            self._thread.start()

    def offer(self, image: Image, result: FrameResult) -> None:
        """Hand over a result; waits only for a record of a source that can wait."""
        if not self.is_done:
            self._count_dropped(self._results.put((image, result)))

    def end_waiting(self) -> None:
        """Let `offer` wait no more."""
        self._results.end_waiting()

    def finish(self) -> None:
        """Let nothing more in; what waits is written, then the output is closed."""
        self._results.close()

    def step(self, timeout_s: float | None) -> None:
        """Write one result, if one comes in time; close the output after the last one, or when it fails."""
        try:
            thing = self._results.get(timeout_s)
            if thing is not None:
                self.output.write(*thing)
                self._health.written += 1
            else:
                self.output.idle()
        except BaseException as error:  # told, or raised again, in the main thread
            self.error = error
            self._results.close(is_emptied=True)
        if self.error is not None or self._results.is_finished or self.output.wants_to_stop:
            self._close()

    def _work(self) -> None:
        while not self.is_done:
            self.step(None)

    def _close(self) -> None:
        self._results.close(is_emptied=True)
        try:
            self.output.close()
        except BaseException as error:  # as above
            self.error = self.error or error
        if self.error is not None:
            self._health.error = str(self.error) or type(self.error).__name__
        self._count_dropped(0)
        self.is_done = True
        self._ended.set()

    def _count_dropped(self, missed: int) -> None:
        """Add what the output was too slow for; what it has lost itself is counted with it."""
        with self._counting:
            self._missed += missed
            self._health.dropped = self._missed + self.output.dropped


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
    stop: "StopRequest",
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


class StopRequest:
    """Whether the user, or the system, has asked the run to end."""

    is_made = False


@contextmanager
def stop_on_signals(wake: threading.Event) -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request, which sets `wake`; the next one has its usual effect."""
    stop = StopRequest()
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def request(number: int, frame: object) -> None:
        stop.is_made = True
        wake.set()
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
