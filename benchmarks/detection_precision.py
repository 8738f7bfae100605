"""Average precision of face finders on photographs that were held back from training, by their own boxes and scores."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.candidates import RawCandidate
from mien.detection_metrics import MIN_WIDTH, Truth, average_precision, judge
from mien.face_maps import Found
from mien.photographs import Photograph
from mien.progress import ProgressBar

LOWEST_SCORE = 0.02
"""So low that the whole of the curve is there."""


def measure_precision(candidates: Sequence[RawCandidate], photographs: Sequence[Photograph]) -> dict[str, Any]:
    """Judge detectors by the same photographs.

    Returns:
        {"photographs": number of them, "faces": those that count, "without_faces": photographs without any,
        "detectors": [{"detector", "average_precision", "min_score": from which on it takes something for a face,
        "recall": share of the faces found then, "false_boxes_per_100": photographs without faces}]}; shares and the
        last one are None where there is nothing to count.

    Raises:
        FileNotFoundError: a picture is missing.
        ValueError: a picture cannot be read.
    """
    truths: list[Truth] = []
    found: dict[str, list[Found]] = {one.name: [] for one in candidates}
    if not sys.stderr.isatty():  # where the bar is not seen
        print(f"{len(photographs)} photographs that were held back ...", file=sys.stderr, flush=True)
    with ProgressBar("held back", len(photographs)) as bar:
        for done, photograph in enumerate(photographs, 1):
            picture = photograph.read()
            truths.append(Truth(picture.shape[1], photograph.boxes, photograph.ignored))
            for one in candidates:
                found[one.name].append(one.detector.find(picture, LOWEST_SCORE))
            bar.update(done)
    faces = sum(int((truth.boxes[:, 2] >= MIN_WIDTH * truth.width).sum()) for truth in truths)
    return {
        "photographs": len(truths),
        "faces": faces,
        "without_faces": sum(_is_empty(truth) for truth in truths),
        "detectors": [_figures(one, found[one.name], truths, faces) for one in candidates],
    }


def _figures(candidate: RawCandidate, found: Sequence[Found], truths: Sequence[Truth], faces: int) -> dict[str, Any]:
    sure = [one.take(one.scores >= candidate.min_score) for one in found]
    right = sum(int(judge(one, truth)[1].sum()) for one, truth in zip(sure, truths, strict=True))
    false = [len(one.scores) for one, truth in zip(sure, truths, strict=True) if _is_empty(truth)]
    return {
        "detector": candidate.name,
        "average_precision": round(average_precision(found, truths), 4) if faces else None,
        "min_score": candidate.min_score,
        "recall": round(right / faces, 4) if faces else None,
        "false_boxes_per_100": round(100 * float(np.mean(false)), 2) if false else None,
    }


def _is_empty(truth: Truth) -> bool:
    return not len(truth.boxes) and not len(truth.ignored)
