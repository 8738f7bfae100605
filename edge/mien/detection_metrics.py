"""How good a face finder is: average precision, and false boxes at a threshold.

Everingham et al. 2010, *The Pascal Visual Object Classes Challenge*, section 4.2; all points of the curve count.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.face_maps import Array, Found, intersections, overlaps

SAME_FACE = 0.5
"""A found box that overlaps a labelled one by so much (intersection over union) is that face."""

MIN_WIDTH = 0.08
"""Faces narrower than this share of their picture neither count nor harm."""


BANDS = ((0.0, MIN_WIDTH), (MIN_WIDTH, 0.15), (0.15, 0.3), (0.3, math.inf))
"""Widths of faces, as shares of their picture's."""


@dataclass(frozen=True)
class Truth:
    """What is in a picture.

    Attributes:
        width: of the picture, in pixels.
        boxes: (N, 4) float32, faces: left, top, width, height.
        ignored: (M, 4) float32, neither face nor background.
    """

    width: int
    boxes: Array
    ignored: Array


def average_precision(found: Sequence[Found], truths: Sequence[Truth], min_width: float = MIN_WIDTH) -> float:
    """Return the area under precision against recall, 0 to 1; NaN if there is no face.

    Args:
        found: of each picture, in its pixels, with low scores, too.
        truths: the same pictures.
        min_width: as `MIN_WIDTH`.
    """
    scores, is_right, faces = [], [], 0
    for one, truth in zip(found, truths, strict=True):
        counted, right = judge(one, truth, min_width)
        scores.append(one.scores[counted])
        is_right.append(right[counted])
        faces += int((truth.boxes[:, 2] >= min_width * truth.width).sum())
    if not faces:
        return float("nan")
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.cumsum(np.concatenate(is_right)[order])
    precision = right / np.arange(1, len(right) + 1)
    recall = right / faces
    # At each recall the best precision from there on.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def judge(
    found: Found, truth: Truth, min_width: float = MIN_WIDTH
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which found boxes count, and which are right: (N,) each.

    Each face is found once, by the likeliest box; a second box of it is wrong. A box of a small face, or in an ignored
    place, does not count.
    """
    count = len(found.scores)
    counted, right = np.ones(count, np.bool_), np.zeros(count, np.bool_)
    is_small = truth.boxes[:, 2] < min_width * truth.width
    same = overlaps(found.boxes, truth.boxes)
    areas = found.boxes[:, 2] * found.boxes[:, 3]
    in_ignored = intersections(found.boxes, truth.ignored).max(axis=1, initial=0) > SAME_FACE * areas
    is_free = np.ones(len(truth.boxes), np.bool_)
    for row in range(count):  # the likeliest first
        candidates = np.where(is_free, same[row], 0)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= SAME_FACE:
            is_free[best] = False
            right[row], counted[row] = not is_small[best], not is_small[best]
        elif in_ignored[row] or found.boxes[row, 2] < min_width * truth.width:
            counted[row] = False
    return counted, right


def recall_by_width(found: Sequence[Found], truths: Sequence[Truth], score: float) -> dict[str, tuple[int, int]]:
    """Return for each of `BANDS` how many of its faces are found from a score on, and how many there are."""
    counts = {}
    for least, most in BANDS:
        right = total = 0
        for one, truth in zip(found, truths, strict=True):
            shares = truth.boxes[:, 2] / truth.width
            is_in = (shares >= least) & (shares < most)
            is_found = overlaps(truth.boxes, one.boxes[one.scores >= score]).max(axis=1, initial=0) >= SAME_FACE
            total += int(is_in.sum())
            right += int((is_in & is_found).sum())
        counts[f"{least:.0%} to {most:.0%}" if math.isfinite(most) else f"above {least:.0%}"] = right, total
    return counts
