"""Capturing and recognising, in a thread each."""

import threading
import time
from collections.abc import Iterator

from mien.channel import Channel
from mien.config import Config
from mien.detectors import identify, open_detector
from mien.faces import FrameResult, Image
from mien.health import Health
from mien.pace.pacer import Pacer
from mien.recognizer import EmotionRecognizer
from mien.sources import Frame, Source

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
