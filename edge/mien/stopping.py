"""Ctrl-C, SIGTERM and a closed terminal end a run in its own way, at the second time at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
