"""From which score on a box is a face: chosen on validation photographs, by what int8 itself answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.finder.pictures import PictureSet
from convert.finder.probe import MIN_SCORE
from convert.finder.proof import FinderAnswers
from mien.detection_metrics import MIN_WIDTH, Truth, judge
from mien.face_maps import Found

FALSE_BOXES_PER_PICTURE = 0.01

STEP = 0.001
"""Thresholds are multiples of it."""


@dataclass(frozen=True)
class Rates:
    """How good boxes from a threshold on are: shares of the boxes that are right, and of the faces that are found."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Thresholds:
    """What was chosen.

    Attributes:
        score, known: the card's thresholds.
        photographs: how many there were.
        empty: how many of them without faces.
        false_boxes: on those at `score`, in the runtime with most of them.
        rates: at `score`.
    """

    score: float
    known: float
    photographs: int
    empty: int
    false_boxes: int
    rates: Rates


def choose_thresholds(answers: Sequence[FinderAnswers], pictures: PictureSet) -> Thresholds:
    """Choose by what each runtime answers.

    Known faces are looked at once, and need half the odds that one look would need for as few false boxes: that a face
    was there a moment ago makes one there at least twice as likely, and odds multiply (Bayes).

    Raises:
        ValueError: there are no pictures with or without faces to choose on.
    """
    check_choice(pictures)
    is_empty = pictures.is_empty()
    false = [false_scores(one.faces, is_empty) for one in answers]
    allowed = math.floor(FALSE_BOXES_PER_PICTURE * is_empty.sum())
    score = max(_least_threshold(scores, allowed) for scores in false)
    looks = [[look for look, empty in zip(one.looks, is_empty, strict=True) if empty] for one in answers]
    one_look = max(_least_threshold(np.sort(np.concatenate(scores))[::-1], allowed) for scores in looks)
    known = max(MIN_SCORE, round(one_look / (2 - one_look), 3))
    return Thresholds(
        score=score,
        known=known,
        photographs=len(pictures.truths),
        empty=int(is_empty.sum()),
        false_boxes=max(int((scores >= score).sum()) for scores in false),
        rates=measure_rates(answers[0].faces, pictures.truths, score),
    )


def check_choice(pictures: PictureSet) -> None:
    """Raise ValueError where there are no pictures with or without faces to choose a threshold on."""
    if not pictures.is_empty().any() or not pictures.count_faces(MIN_WIDTH):
        raise ValueError(
            "the photographs have no validation pictures with and without faces, so no threshold can be chosen: "
            "bring more rows for faces.csv and negatives.csv"
        )


def false_scores(faces: Sequence[Found], is_empty: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the scores of all boxes in pictures without faces, (N,) descending."""
    scores = [one.scores for one, empty in zip(faces, is_empty, strict=True) if empty]
    found = np.concatenate(scores) if scores else np.empty(0, np.float32)
    return np.sort(found)[::-1]


def measure_rates(faces: Sequence[Found], truths: Sequence[Truth], score: float) -> Rates:
    """Return precision and recall from a score on, of faces and boxes that count; NaN where there are none."""
    kept = [one.take(one.scores >= score) for one in faces]
    judged = [judge(one, truth) for one, truth in zip(kept, truths, strict=True)]
    right = sum(int(is_right.sum()) for _, is_right in judged)
    boxes = sum(int(counted.sum()) for counted, _ in judged)
    total = sum(int((truth.boxes[:, 2] >= MIN_WIDTH * truth.width).sum()) for truth in truths)
    return Rates(right / boxes if boxes else math.nan, right / total if total else math.nan)


def _least_threshold(false: npt.NDArray[np.float32], allowed: int) -> float:
    """Return the least threshold that at most so many of the scores, (N,) descending, reach."""
    if len(false) <= allowed:
        return MIN_SCORE
    above = (math.floor(float(false[allowed]) / STEP) + 1) * STEP
    return round(min(max(above, MIN_SCORE), 1 - STEP), 3)
