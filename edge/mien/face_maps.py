"""What the face finder's maps mean: from one answer a cell to the boxes of faces.

The network answers at several strides. For each cell of a map it gives a score (a logit) and 14 numbers:
the centre of the face from the centre of the cell, in strides; the logarithm of its width and height over
`SIZE_UNIT` strides; and its five landmarks from the centre of the cell, in strides. Anchor-free, as FCOS
(Tian et al. 2019, arXiv:1904.01355). Training writes the same form that is read here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

GEOMETRY = 14
SIZE_UNIT = 4.0
MOST_CANDIDATES = 400
"""Of more, those with the highest scores count."""


class Map(NamedTuple):
    """What the network answers at one stride.

    Attributes:
        stride: pixels from cell to cell.
        scores: (h, w) float32, logits.
        geometry: (h, w, 14) float32.
    """

    stride: int
    scores: Array
    geometry: Array


class Found(NamedTuple):
    """Faces, the likeliest first.

    Attributes:
        boxes: (N, 4) float32: left, top, width, height in pixels of the network's input, brow to chin.
        landmarks: (N, 5, 2) float32: right eye, left eye, nose, right and left corner of the mouth.
        scores: (N,) float32, 0 to 1.
    """

    boxes: Array
    landmarks: Array
    scores: Array

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Found":
        """Return some of them."""
        return Found(self.boxes[rows], self.landmarks[rows], self.scores[rows])


def decode(maps: Sequence[Map], min_score: float) -> Found:
    """Return what reaches a score (0 to 1, both excluded); one face may be there several times."""
    least = np.log(min_score / (1 - min_score))
    boxes, landmarks, scores = [], [], []
    for stride, logits, geometry in maps:
        rows, columns = np.nonzero(logits >= least)
        picked = geometry[rows, columns]
        centres = (np.stack([columns, rows], axis=1).astype(np.float32) + 0.5) * stride
        sizes = SIZE_UNIT * stride * np.exp(np.clip(picked[:, 2:4], -6, 6))
        boxes.append(np.concatenate([centres + picked[:, :2] * stride - sizes / 2, sizes], axis=1))
        landmarks.append(centres[:, None] + picked[:, 4:].reshape(-1, 5, 2) * stride)
        scores.append(1 / (1 + np.exp(-logits[rows, columns])))
    found = Found(*(np.concatenate(part).astype(np.float32) for part in (boxes, landmarks, scores)))
    return found.take(np.argsort(-found.scores, kind="stable")[:MOST_CANDIDATES])


def suppress(found: Found, overlap: float) -> Found:
    """Keep the likeliest of boxes that overlap by more than so much: greedy non-maximum suppression."""
    remaining, kept = np.arange(len(found.scores)), []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        remaining = others[overlaps(found.boxes[best : best + 1], found.boxes[others])[0] <= overlap]
    return found.take(np.array(kept, np.intp))


def overlaps(boxes: Array, others: Array) -> Array:
    """Return the intersection over union of (N, 4) boxes with (M, 4) others, (N, M)."""
    common = intersections(boxes, others)
    areas, other_areas = boxes[:, 2] * boxes[:, 3], others[:, 2] * others[:, 3]
    return np.asarray(common / np.maximum(areas[:, None] + other_areas - common, 1e-9), np.float32)


def intersections(boxes: Array, others: Array) -> Array:
    """Return the area that (N, 4) boxes have in common with (M, 4) others, (N, M)."""
    start = np.maximum(boxes[:, None, :2], others[:, :2])
    end = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], others[:, :2] + others[:, 2:])
    sides = np.maximum(end - start, 0)
    return np.prod(sides, axis=-1, dtype=np.float32)
