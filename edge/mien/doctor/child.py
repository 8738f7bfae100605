"""Asks in a process of its own what native code and drivers may answer with a crash, or never."""

import builtins
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

TOLD = (FileNotFoundError, PermissionError, ModuleNotFoundError, ImportError, OSError, ValueError)
"""Errors with a line for people; they come back as what they are."""

KILL_S = 1.0


class CrashedError(OSError):
    """The process has ended without an answer.

    Attributes:
        how: "SIGABRT", "exit code 3".
    """

    def __init__(self, code: int) -> None:
        self.how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        super().__init__(self.how)


class HungError(OSError):
    """The process has given no answer in time.

    Attributes:
        limit_s: how long it was waited for.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"no answer within {limit_s:g} s")


def ask(function: Callable[..., Any], *arguments: Any, limit_s: float) -> Any:
    """Return what a function answers in a new process, with the same `sys.path`.

    Args:
        function: of a module; its answer must fit into JSON.
        arguments: what pickle can carry.
        limit_s: then the process is killed.

    Raises:
        CrashedError, HungError: there is no answer.
        OSError, ValueError, ImportError: raised by the function.
        RuntimeError: any other error of the function's.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from mien.doctor.child import main; main({limit_s + KILL_S})"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        output, _ = process.communicate(pickle.dumps((function, arguments)), limit_s)
    except subprocess.TimeoutExpired as error:
        raise HungError(limit_s) from error
    finally:
        _end(process)
    if not output:
        raise CrashedError(process.returncode)
    answer = json.loads(output)
    if "error" in answer:
        kind: type[Exception] = getattr(builtins, answer["error"])
        raise kind(answer["text"])
    return answer["value"]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and what it has started; one that hangs in the kernel is left behind."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def main(limit_s: float) -> None:
    """Answer, in the new process; what libraries print goes elsewhere."""
    signal.setitimer(signal.ITIMER_REAL, limit_s)  # else one that hangs would outlive a parent that was killed
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        function, arguments = pickle.load(sys.stdin.buffer)  # from our own parent
        try:
            said = {"value": function(*arguments)}
        except TOLD as error:
            kind = next(kind for kind in TOLD if isinstance(error, kind))
            said = {"error": kind.__name__, "text": str(error)}
        except Exception as error:  # told by the parent, which is to go on
            said = {"error": "RuntimeError", "text": f"{type(error).__name__}: {error}"}
        json.dump(said, answer)
    os._exit(0)  # threads of drivers and networks are not waited for
