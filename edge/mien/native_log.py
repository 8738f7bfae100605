"""Keeps the start-up chatter of native libraries off the terminal, unless something goes wrong.

TFLite and TensorFlow write lines like "Created TensorFlow Lite XNNPACK delegate" past Python,
straight to the file descriptors; no log level stops all of them. For commands only: it holds back
what the whole process writes, so a library must not do it to the program that uses it.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_native_log() -> Iterator[None]:
    """Hold back what is written to stdout and stderr; show it if an exception passes through."""
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    with tempfile.TemporaryFile() as log:
        for descriptor in terminals:
            os.dup2(log.fileno(), descriptor)
        is_failed = True
        try:
            yield
            is_failed = False
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, terminal in terminals.items():
                os.dup2(terminal, descriptor)
                os.close(terminal)
            if is_failed:
                log.seek(0)
                os.write(2, log.read())
