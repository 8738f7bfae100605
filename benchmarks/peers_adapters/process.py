"""A peer at work: a long-living process in its environment, asked in JSON lines (`serve.py` has the questions)."""

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from benchmarks.peers_adapters.environment import last_line

SERVER = Path(__file__).parent / "serve.py"

ANSWER_S = 900
"""No answer takes so long: Keras' loop on a Raspberry Pi takes seconds a frame."""


class PeerProcess:
    """Loads a peer and asks it, until `close`.

    Args:
        python: of its environment.
        adapter: its file.
        threads: for its libraries.

    Attributes:
        how: what the peer says of itself.

    Raises:
        OSError: it cannot be loaded, or fails at an answer; the message is its error in one line.
    """

    def __init__(self, python: Path, adapter: Path, threads: int) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        command = [str(python), "-I", str(SERVER), str(adapter)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment_variables(threads),
        )
        try:
            self.how: str = self.ask("load", threads=threads)["how"]
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            OSError: the peer fails, has ended or does not answer in time.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        alarm = threading.Timer(ANSWER_S, self._process.kill)
        alarm.start()
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        if not line:
            raise OSError(self._end())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise OSError(f"{do} fails: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _end(self) -> str:
        """Return why the process is gone."""
        code = self._process.wait()
        self._log.seek(0)
        return f"ended by signal {-code}" if code < 0 else last_line(self._log.read())


def environment_variables(threads: int) -> dict[str, str]:
    """Return the variables of a peer: the same number of threads for all, and no graphics processor, which a Pi lacks.

    Settings of the user's own (`MIEN_*`) are left out, so that mien runs with its defaults.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(threads))
    return {**kept, **numbers, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
