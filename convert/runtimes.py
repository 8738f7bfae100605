"""The runtimes that devices have, each in a process of its own.

`tflite-runtime` needs numpy 1 and TensorFlow's tools here need numpy 2, so the former has an environment
of its own inside the one that runs this: `script/setup train` makes it where its wheels exist (Python 3.11).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.interpreter import RUNTIMES, load_runtime

REPOSITORY = Path(__file__).resolve().parent.parent
OLD_RUNTIME = "tflite-runtime"


@dataclass(frozen=True)
class Answers:
    """What a runtime answered to some images: (N, classes) float32."""

    version: str
    probabilities: npt.NDArray[np.float32]


class RunError(Exception):
    """A runtime could not load or run a file; the message is its reason, in one line."""


def find_runtimes() -> dict[str, Path]:
    """Return the device's runtimes that work here, each with the Python that runs it.

    Raises:
        ImportError: there is none.
    """
    found = {}
    for name in ("ai-edge-litert", OLD_RUNTIME):
        try:
            load_runtime(name)
        except ImportError:
            python = Path(sys.prefix) / name / "bin" / "python"
            if _can_import(python, RUNTIMES[name]):
                found[name] = python
        else:
            found[name] = Path(sys.executable)
    if not found:
        raise ImportError("no TFLite runtime to prove the files with: pip install ai-edge-litert")
    return found


def _can_import(python: Path, module: str) -> bool:
    command = [str(python), "-c", f"import numpy, {module}"]
    return python.exists() and subprocess.run(command, capture_output=True).returncode == 0


class Probes:
    """Runs files in the runtimes that were found; several threads may ask at once.

    Args:
        runtimes: from `find_runtimes`.
        images: `.npy` file of (N, height, width, channels) uint8 that all questions are about.
        program: the module that runs a file; `convert.probe` is for classifiers.
    """

    def __init__(self, runtimes: dict[str, Path], images: Path, program: str = "convert.probe") -> None:
        self._runtimes, self._images, self._program = runtimes, images, program
        self._running: set[subprocess.Popen[str]] = set()
        self._is_stopped = False

    def answer(self, runtime: str, model: Path, count: int, on_progress: Callable[[int], None]) -> Answers:
        """Let a runtime answer images.

        Args:
            runtime: its name.
            model: the `.tflite` file.
            count: how many of the images, from the first on.
            on_progress: is called with the number of images that were done since.

        Raises:
            RunError: it cannot load or run the file.
        """
        result = self.run(runtime, model, ["--count", str(count)], on_progress)
        return Answers(str(result["version"]), result["answers"])

    def time_one(self, runtime: str, model: Path, seconds: float) -> float:
        """Return the median milliseconds of one image on one thread; arguments and errors as those of `answer`."""
        return float(self.run(runtime, model, ["--seconds", str(seconds)], lambda _: None)["latency_ms"])

    def stop(self) -> None:
        """End what runs, and what is about to."""
        self._is_stopped = True
        for process in list(self._running):
            process.kill()

    def run(
        self, runtime: str, model: Path, options: list[str], on_progress: Callable[[int], None]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the arrays that the program writes, given options of its own; errors as those of `answer`."""
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'edge'}"}
        with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+", encoding="utf-8") as log:
            out = Path(folder) / "out.npz"
            files = [str(path) for path in (model, self._images, out)]
            command = [str(self._runtimes[runtime]), "-m", self._program, runtime, *files, *options]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process:
                self._running.add(process)
                if self._is_stopped:
                    process.kill()
                assert process.stdout is not None
                for line in process.stdout:
                    if line.strip().isdigit():  # and no chatter of a library
                        on_progress(int(line))
            self._running.discard(process)
            if process.returncode < 0:
                raise RunError(f"it crashed with signal {-process.returncode}")
            if process.returncode:
                log.seek(0)
                lines = [line for line in log.read().splitlines() if line.strip()]
                raise RunError(lines[-1][:300] if lines else f"exit code {process.returncode}")
            with np.load(out) as content:
                return dict(content)
