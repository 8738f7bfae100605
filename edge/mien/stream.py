"""The loop of a run: every frame of a source through the recognizer to the outputs, and a clean stop."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mien.faces import FrameResult
from mien.outputs.base import Output
from mien.recognizer import EmotionRecognizer
from mien.sources.base import Source


class StopRequest:
    """Whether the user, or the system, has asked the run to end."""

    is_made = False


def run_stream(source: Source, recognizer: EmotionRecognizer, outputs: Sequence[Output]) -> None:
    """Recognise every frame and give the results to all outputs, until the source ends or a stop is asked for.

    Ctrl-C, SIGTERM, a closed terminal and an output's `wants_to_stop` end the run between two frames, so that every
    output has the same ones; a second Ctrl-C interrupts at once.
    """
    with stop_on_signals() as stop:
        for frame in source:
            if not source.is_continuous:
                recognizer.reset()
            faces = recognizer.recognize(frame.image, frame.time_s)
            result = FrameResult(frame.time_s, frame.index, faces, frame.name)
            for output in outputs:
                output.write(frame.image, result)
            if stop.is_made or any(output.wants_to_stop for output in outputs):
                return


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; the next one has its usual effect."""
    stop = StopRequest()
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def request(number: int, frame: object) -> None:
        stop.is_made = True
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
