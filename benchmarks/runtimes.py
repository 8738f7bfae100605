"""The runtimes that are installed, and models run in them, each in a process of its own.

`tflite-runtime` needs numpy 1, so that it has an environment of its own inside this one (`script/setup train` makes
it); and what crashes native code loses no other model's answers.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from benchmarks.predict import KERAS_RUNTIME, Array, version_of
from mien.faces import Image
from mien.interpreter import RUNTIMES
from mien.progress import ProgressBar

REPOSITORY = Path(__file__).resolve().parent.parent

SLOWEST_RUNTIME = "tflite-runtime"
"""Its work on int8 is begun first, so that no processor idles at the end: it has no fast kernels for x86-64."""

PRECISIONS = ("float32", "float16", "dynamic", "int8")
"""How names of `.tflite` files end that `python -m convert` wrote."""


class RunError(ValueError):
    """A model could not be loaded or run; the message is its reason, in one line."""


@dataclass(frozen=True)
class Runtime:
    """A runtime and the Python that has it."""

    name: str
    version: str
    python: Path


@dataclass(frozen=True)
class Job:
    """A model in a runtime; `name` tells it apart from the other models."""

    model: Path
    name: str
    runtime: Runtime

    def __str__(self) -> str:
        return f"{self.name} on {self.runtime.name}"

    @property
    def network(self) -> str:
        """The model's name without its precision."""
        if self.precision == "Keras":
            return self.model.parent.name
        return self.model.stem.removesuffix(f"_{self.precision}")

    @property
    def precision(self) -> str:
        """One of `PRECISIONS`, "Keras", or "" where the name does not say."""
        if self.model.suffix == ".keras":
            return "Keras"
        return next((name for name in PRECISIONS if self.model.stem.endswith(f"_{name}")), "")


def find_runtimes(names: Iterable[str] = RUNTIMES) -> tuple[list[Runtime], dict[str, str]]:
    """Look for the TFLite runtimes in this Python and in the environments inside it.

    Args:
        names: keys of `RUNTIMES`.

    Returns:
        (those that work, in the order of `names`; why not, for each of the others).

    Raises:
        ImportError: none works.
    """
    with ThreadPoolExecutor() as pool:
        looks = {name: pool.submit(_find_runtime, name) for name in names}
    answers = {name: look.result() for name, look in looks.items()}
    found = [answer for answer in answers.values() if isinstance(answer, Runtime)]
    missing = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    if not found:
        reasons = ", ".join(f"{name}: {why}" for name, why in missing.items())
        raise ImportError(f"no TFLite runtime works here ({reasons}): pip install 'mien[edge]' brings one")
    return found, missing


def keras_runtime() -> Runtime:
    """Return what runs `.keras` files: TensorFlow, in this Python."""
    return Runtime(KERAS_RUNTIME, version_of(KERAS_RUNTIME), Path(sys.executable))


def answer_all(jobs: list[Job], images: Image) -> tuple[dict[Job, Array], dict[Job, str]]:
    """Run models on (N, 48, 48) uint8, as many at once as there are processors, and show progress on stderr.

    Returns:
        (each model's (N, 7) probabilities, why there are none), both in the order of `jobs`.
    """
    cores = os.cpu_count() or 1
    workers = max(1, min(cores, len(jobs)))
    with tempfile.TemporaryDirectory() as folder, ProgressBar("accuracy", len(jobs) * len(images)) as bar:
        file, progress = Path(folder, "images.npy"), _Progress(bar)
        np.save(file, images)
        slowest_first = sorted(jobs, key=_haste)
        with ThreadPoolExecutor(workers) as pool:
            try:
                futures = {job: pool.submit(_answer, job, file, cores // workers, progress) for job in slowest_first}
                answers = {job: futures[job].result() for job in jobs}
            except BaseException:
                progress.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return (
        {job: answer for job, answer in answers.items() if not isinstance(answer, str)},
        {job: answer for job, answer in answers.items() if isinstance(answer, str)},
    )


def predict_apart(
    model: Path, runtime: Runtime, images: Path, num_threads: int, on_progress: Callable[[int], None]
) -> Array:
    """Run a model in a process of its own.

    Args:
        model: a `.keras` file, or a `.tflite` file with its card.
        images: `.npy` file with (N, 48, 48) uint8.
        num_threads: of the runtime.
        on_progress: is called with the number of images that were done since; what it raises ends the process.

    Returns:
        (N, 7) probabilities.

    Raises:
        RunError: the model cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+", errors="replace") as log:
        out = Path(folder, "probabilities.npy")
        words = ["--runtime", runtime.name, "--threads", num_threads, model.resolve(), images, out]
        command = [*_command(runtime.python), *map(str, words)]
        variables = {**environment(), "TF_NUM_INTRAOP_THREADS": str(num_threads)}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": log, "text": True, "errors": "replace"}
        with subprocess.Popen(command, env=variables, **pipes) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.strip().isdigit():  # and no chatter of a library
                        on_progress(int(line))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            log.seek(0)
            raise RunError(_reason(process.returncode, log.read()))
        probabilities: Array = np.load(out)
        return probabilities


def environment() -> dict[str, str]:
    """Return the variables with which this checkout's modules are found in another environment."""
    return {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'edge'}"}


class _Progress:
    """Adds up what several threads did: a bar on a terminal, elsewhere a line for each model.

    Args:
        bar: is shown on a terminal.
    """

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._done, self._is_stopped, self._lock = bar, 0, False, Lock()

    def add(self, images: int) -> None:
        """Count images; raise InterruptedError after `stop`."""
        if self._is_stopped:
            raise InterruptedError("stopped")
        with self._lock:
            self._done += images
            self._bar.update(self._done)

    def say(self, line: str) -> None:
        """Tell how a model ended."""
        if not self._is_stopped and not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """End what runs."""
        self._is_stopped = True


def _haste(job: Job) -> tuple[bool, int]:
    """Return a key that sorts the work that takes longest to the front."""
    return (job.runtime.name, job.precision) != (SLOWEST_RUNTIME, "int8"), -job.model.stat().st_size


def _answer(job: Job, images: Path, num_threads: int, progress: _Progress) -> Array | str:
    """Return probabilities, or why there are none."""
    started_s = time.perf_counter()
    try:
        answer = predict_apart(job.model, job.runtime, images, num_threads, progress.add)
    except RunError as error:
        progress.say(f"{job}: failed: {error}")
        return str(error)
    progress.say(f"{job}: {len(answer):,} images in {time.perf_counter() - started_s:.0f} s")
    return answer


def _find_runtime(name: str) -> Runtime | str:
    """Return a runtime of this Python, or of the environment of its own; else why there is none."""
    own = Path(sys.prefix) / name / "bin" / "python"
    is_here = find_spec(RUNTIMES[name].split(".")[0]) is not None
    why = "it is not installed"
    for python in [Path(sys.executable)] * is_here + [own] * own.exists():
        command = [*_command(python), "--runtime", name]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment())
        versions = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("version ")]
        if done.returncode == 0 and versions:
            return Runtime(name, versions[-1], python)
        why = f"it does not work here: {_reason(done.returncode, done.stderr)}"
    return why


def _command(python: Path) -> list[str]:
    return [str(python), "-m", "benchmarks.predict"]


def _reason(returncode: int, log: str) -> str:
    """Return why a process failed: its own error line, else the last of its log."""
    if returncode < 0:
        return f"it crashed with signal {-returncode}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [f"exit code {returncode}"])[-1].removeprefix("error: ")[:500]
