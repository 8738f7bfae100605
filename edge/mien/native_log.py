"""Keeps the start-up chatter of native libraries off the terminal, unless something goes wrong.

TFLite and TensorFlow write lines like "Created TensorFlow Lite XNNPACK delegate" past Python,
straight to the file descriptors; no log level stops all of them. For commands and the workshop only:
it holds back what the whole process writes, so what others import must not do it.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def prepare_tensorflow() -> None:
    """Set what TensorFlow reads when it is imported, unless the user has: call it before.

    It shall be quiet, and use its fast kernels (oneDNN) on older processors, too, where it would leave
    them out (docs/training.md, "Speed").
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextmanager
def quiet_native_log() -> Iterator[None]:
    """Hold back what is written to stdout and stderr; show it if something unforeseen passes through.

    OSError, ValueError, ImportError and KeyboardInterrupt are what commands tell in one line of their own.
    """
    _flush()
    terminals = {}
    for descriptor in (1, 2):
        with suppress(OSError):  # started with it closed, as `mien run >&-`
            terminals[descriptor] = os.dup(descriptor)
    with tempfile.TemporaryFile() as log:
        for descriptor in terminals:
            os.dup2(log.fileno(), descriptor)
        is_unforeseen = True
        try:
            yield
            is_unforeseen = False
        except (OSError, ValueError, ImportError, KeyboardInterrupt):
            is_unforeseen = False
            raise
        finally:
            _flush()
            for descriptor, terminal in terminals.items():
                os.dup2(terminal, descriptor)
                os.close(terminal)
            if is_unforeseen and 2 in terminals:
                log.seek(0)
                os.write(2, log.read())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
