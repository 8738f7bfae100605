"""Face finder files in the device's runtimes: what they find in pictures, and how long they take."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.finder.probe import PROGRAM
from convert.proof import Progress
from convert.runtimes import Probes, RunError
from mien.face_maps import Found

LATENCY_SECONDS = 1.0


@dataclass(frozen=True)
class FinderAnswers:
    """What a file found in a runtime.

    Attributes:
        version: of the runtime's package.
        faces: in each picture, the likeliest first.
        looks: the scores that they had in the first look, in each picture, descending.
        scores: of all cells of all whole pictures, 0 to 1.
    """

    version: str
    faces: list[Found]
    looks: list[npt.NDArray[np.float32]]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One file, one runtime, one set of pictures: `count` of them in a file of `save_pictures`."""

    file: Path
    runtime: str
    pictures: Path
    count: int


def answer_all(jobs: Sequence[Job], runtimes: dict[str, Path], progress: Progress) -> list[FinderAnswers]:
    """Do jobs, each in a process of its own, several at once; return what was found, in their order.

    Raises:
        ValueError: a file cannot be run in a runtime.
    """
    progress.expect(sum(job.count for job in jobs))
    probes = {job.pictures: Probes(runtimes, job.pictures, PROGRAM) for job in jobs}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            waiting = [pool.submit(_answer, probes[job.pictures], job, progress) for job in jobs]
            return [one.result() for one in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for one in probes.values():
                one.stop()
            raise


def time_files(files: Mapping[str, Path], runtimes: dict[str, Path], picture: Path) -> dict[str, dict[str, float]]:
    """Return runtime -> variant -> median milliseconds of the first picture of a file, on one thread."""
    probes, options = Probes(runtimes, picture, PROGRAM), ["--seconds", str(LATENCY_SECONDS)]
    return {
        runtime: {
            variant: float(probes.run(runtime, file, options, lambda _: None)["latency_ms"])
            for variant, file in files.items()
        }
        for runtime in runtimes
    }


def _answer(probes: Probes, job: Job, progress: Progress) -> FinderAnswers:
    try:
        result = probes.run(job.runtime, job.file, [], progress.advance)
    except RunError as error:
        raise ValueError(f"{job.file.stem} fails in {job.runtime}, so nothing is written: {error}") from error
    ends = np.cumsum(result["counts"].astype(int))
    parts = [np.split(result[name], ends[:-1]) for name in Found._fields]
    scores = (1 / (1 + np.exp(-np.clip(result["logits"], -60, 60)))).astype(np.float32)
    faces, looks = [Found(*one) for one in zip(*parts, strict=True)], np.split(result["looks"], ends[:-1])
    return FinderAnswers(str(result["version"]), faces, looks, scores)
