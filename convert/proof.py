"""What each file does in each runtime, compared with Keras on the same images."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from convert.confidence import Confidence
from convert.runtimes import OLD_RUNTIME, Answers, Probes, RunError
from mien.card import ModelCard
from mien.metrics import Metrics, measure

MAX_DIFFERENCE = 0.1
"""A file whose probabilities are off by more, in the mean of each image's worst class, is broken.

Quantization alone costs far less (docs/experiments.md). The first class would be a poor judge: a
network that has hardly been trained has seven equal ones.
"""

MAX_IMAGES = {"float32": 2000, "float16": 2000, "dynamic": 2000, "int8": None, "int16x8": 200}
OLD_RUNTIME_IMAGES = {"float32": 1000, "float16": 1000, "dynamic": 1000, "int8": None, "int16x8": 200}
"""What keeps the whole proof of the paper's CNN under three minutes; int8, which devices run, answers all."""

LATENCY_SECONDS = 1.0

ADVICE = ": --debug shows which layer of int8 hurts, --keep-float leaves it in floating point"


class Progress(Protocol):
    """What a person is told meanwhile."""

    def stage(self, name: str) -> None:
        """Say what begins."""

    def expect(self, images: int) -> None:
        """Say how many images there are to answer, by all runtimes and variants together."""

    def advance(self, images: int) -> None:
        """Say that so many are done."""


@dataclass(frozen=True)
class Proof:
    """What a variant did in a runtime; on its images of the validation ones.

    Attributes:
        runtime: package.
        version: of the package.
        metrics: at temperature 1.
        drop: points of accuracy less than Keras, on the same images.
        drop_interval: half the width of the drop's 95 % interval, in points.
        agreement: share of images with the same first class as Keras.
        difference: largest difference of a probability from Keras'.
        mean_difference: mean over the images, of the worst class.
        latency_ms: median of one image on one thread.
        is_partial: whether it answered only some of the images.
    """

    runtime: str
    version: str
    metrics: Metrics
    drop: float
    drop_interval: float
    agreement: float
    difference: float
    mean_difference: float
    latency_ms: float
    is_partial: bool


@dataclass(frozen=True)
class Variant:
    """One file, or why there is none.

    Attributes:
        name: of `convert.settings.VARIANTS`.
        stem: of the file's name.
        content: of the file; empty where it could not be made.
        card: complete once the file is proven; None where it could not be made.
        proofs: one for each runtime that runs it.
        failures: runtime, or "conversion" -> why it fails.
        float_operators: operator -> how many compute in floating point.
        confidence: what the card got; None without a run's own validation images.
    """

    name: str
    stem: str
    content: bytes = b""
    card: ModelCard | None = None
    proofs: tuple[Proof, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    float_operators: dict[str, int] = field(default_factory=dict)
    confidence: Confidence | None = None

    @property
    def is_proven(self) -> bool:
        """Whether every runtime runs it."""
        return not self.failures


def prove(
    variants: Sequence[Variant],
    folder: Path,
    expected: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    runtimes: dict[str, Path],
    progress: Progress,
) -> list[Variant]:
    """Run every file in every runtime; answers stay in the folder as VARIANT.npy, of the first runtime."""
    order = [variant.name for variant in variants]
    unmade = [variant for variant in variants if variant.failures]
    variants = [variant for variant in variants if not variant.failures]
    for variant in variants:
        (folder / f"{variant.stem}.tflite").write_bytes(variant.content)
    probes = Probes(runtimes, folder / "images.npy")
    limits = _limits(variants, runtimes, len(labels))
    progress.expect(sum(limits.values()))
    progress.stage("running the files")

    def run(variant: Variant, runtime: str) -> Answers | str:
        file, count = folder / f"{variant.stem}.tflite", limits[variant.name, runtime]
        try:
            return probes.answer(runtime, file, count, progress.advance)
        except RunError as error:
            return str(error)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            jobs = {(v.name, runtime): pool.submit(run, v, runtime) for v in variants for runtime in runtimes}
            answers = {key: job.result() for key, job in jobs.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            probes.stop()
            raise
    progress.stage("timing them")
    proven = []
    for variant in variants:
        assert variant.card is not None
        proofs: list[Proof] = []
        failures: dict[str, str] = {}
        for runtime in runtimes:
            found = answers[variant.name, runtime]
            if not isinstance(found, str):
                found = _check_sums(variant, found)
            if isinstance(found, str):
                failures[runtime] = found
                continue
            if not proofs:
                np.save(folder / f"{variant.name}.npy", found.probabilities)
            latency_ms = probes.time_one(runtime, folder / f"{variant.stem}.tflite", LATENCY_SECONDS)
            proofs.append(compare(runtime, found, expected, labels, variant.card.labels, latency_ms))
        proven.append(_complete_card(replace(variant, proofs=tuple(proofs), failures=failures)))
    return sorted([*unmade, *proven], key=lambda variant: order.index(variant.name))


def _limits(variants: Sequence[Variant], runtimes: dict[str, Path], count: int) -> dict[tuple[str, str], int]:
    """Return how many of the images each variant answers in each runtime."""
    limits = {}
    for variant in variants:
        for runtime in runtimes:
            limit = (OLD_RUNTIME_IMAGES if runtime == OLD_RUNTIME else MAX_IMAGES)[variant.name]
            limits[variant.name, runtime] = count if limit is None else min(limit, count)
    return limits


def compare(
    runtime: str,
    answers: Answers,
    expected: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    classes: tuple[str, ...],
    latency_ms: float,
) -> Proof:
    """Compare a runtime's answers with Keras' answers to the same images, which may be more: the first ones count."""
    found = answers.probabilities
    is_partial = len(found) < len(labels)
    expected, labels = expected[: len(found)], labels[: len(found)]
    worst = np.abs(found - expected).max(axis=1)
    was_right, is_right = expected.argmax(axis=1) == labels, found.argmax(axis=1) == labels
    lost, gained, count = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum()), len(found)
    drop = (lost - gained) / count
    return Proof(
        runtime=runtime,
        version=answers.version,
        metrics=measure(labels, found, classes),
        drop=100 * drop,
        # Of a difference of paired shares (Fleiss et al. 2003, Statistical Methods for Rates and Proportions, 13.2).
        drop_interval=100 * 1.96 * np.sqrt(max(0.0, lost + gained - count * drop**2)) / count,
        agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        difference=float(worst.max()),
        mean_difference=float(worst.mean()),
        latency_ms=latency_ms,
        is_partial=is_partial,
    )


def _check_sums(variant: Variant, answers: Answers) -> Answers | str:
    """Return the answers, or what is wrong with their sums."""
    assert variant.card is not None
    output, classes = variant.card.output, len(variant.card.labels)
    # Each output is off by half a step of its rounding; one step more, because a runtime's softmax looks
    # exponentials up in a table. float32 has 24 bits, and the exponential of some kernels 12.
    tolerance = 1e-3 if output.scale is None else (classes / 2 + 1) * output.scale
    off = np.abs(answers.probabilities.sum(axis=1) - 1).max()
    return answers if off <= tolerance else f"probabilities sum to 1 within {off:.3g}, allowed is {tolerance:.3g}"


def _complete_card(variant: Variant) -> Variant:
    assert variant.card is not None
    validation = {
        proof.runtime: {
            **proof.metrics.to_dict(),
            "points_lost": round(proof.drop, 2),
            "points_lost_interval_95": round(proof.drop_interval, 2),
            "same_first_class_as_keras": round(proof.agreement, 4),
            "largest_difference_from_keras": round(proof.difference, 4),
        }
        for proof in variant.proofs
    }
    versions = {proof.runtime: proof.version for proof in variant.proofs}
    return replace(variant, card=replace(variant.card, runtimes=versions, metrics={"validation": validation}))


def refusal(variants: Sequence[Variant], max_drop: float) -> str:
    """Return why none of the files gets its name, "" if they do."""
    for variant in (variant for variant in variants if variant.is_proven):
        for proof in variant.proofs:
            if not proof.mean_difference <= MAX_DIFFERENCE:
                return (
                    f"{variant.stem} differs from Keras by {proof.mean_difference:.2f} in probability in "
                    f"{proof.runtime}, allowed is {MAX_DIFFERENCE} or less{ADVICE}"
                )
            # A part of the images says too little to refuse for what may be chance.
            if not proof.drop - (proof.drop_interval if proof.is_partial else 0) <= max_drop:
                return (
                    f"{variant.stem} loses {proof.drop:.2f} points of accuracy in {proof.runtime}, allowed is "
                    f"{max_drop}{ADVICE}"
                )
    if not any(variant.is_proven for variant in variants):
        name, reason = next(iter(variants[0].failures.items()))
        return f"no variant passes its proof, {variants[0].stem} not in {name}: {reason}"
    return ""
