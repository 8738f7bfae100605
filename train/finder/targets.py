"""What the network shall answer in each cell, and how wrong an answer is."""

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from mien.face_maps import GEOMETRY, SIZE_UNIT
from train.models.finder import STRIDES

Array = npt.NDArray[np.float32]

SIZES = {8: (0.0, 38.0), 16: (28.0, 86.0), 32: (64.0, np.inf)}
"""Stride -> the faces that it shall find: root of the area, in pixels. Those between two are for both."""

LEAST_QUALITY = 0.5
"""What a cell with a face shall score at least; above it, how well its box fits decides. Small faces, whose boxes never
fit to the pixel, would otherwise have to score as low as what only looks like a face."""

REACH = 1.2
"""A cell answers for a face whose centre is nearer than so many strides, in x and in y."""

COLUMNS = GEOMETRY + 3
"""Of a target: the geometry; whether the cell sees a face, has landmarks, and counts at all."""

FACE, HAS_LANDMARKS, COUNTS = GEOMETRY, GEOMETRY + 1, GEOMETRY + 2

BOX_WEIGHT, LANDMARK_WEIGHT = 2.0, 15.0
NEAR = 0.02
"""Nearer landmarks, in sizes of the face, are pulled less: labels are no better. With a fifteenth of the weight and a
wider zone, the network learnt where landmarks are on an upright face, and not how a head leans."""


def make_targets(boxes: Array, landmarks: Array, ignored: Array, side: int) -> dict[str, Array]:
    """Return "target8" and so on, (side / stride, side / stride, COLUMNS) float32 each.

    Args:
        boxes: (N, 4) left, top, width, height in pixels.
        landmarks: (N, 5, 2), NaN where there are none.
        ignored: (M, 4), where nothing counts.
        side: of the view.
    """
    return {f"target{stride}": _targets(boxes, landmarks, ignored, side, stride) for stride in STRIDES}


def _targets(boxes: Array, landmarks: Array, ignored: Array, side: int, stride: int) -> Array:
    count = side // stride
    target = np.zeros((count, count, COLUMNS), np.float32)
    target[..., COUNTS] = 1
    middles = (np.arange(count, dtype=np.float32) + 0.5) * stride
    for left, top, width, height in ignored:
        across, down = _within(middles, left, left + width), _within(middles, top, top + height)
        target[down, across, COUNTS] = 0
    least, most = SIZES[stride]
    areas = boxes[:, 2] * boxes[:, 3]
    # Large ones first: where two faces share a cell, the smaller one, which has fewer, gets it.
    for number in np.argsort(-areas):
        if not least <= np.sqrt(areas[number]) <= most:
            continue
        size = boxes[number, 2:]
        x, y = boxes[number, :2] + size / 2
        reach_x, reach_y = np.maximum(np.minimum(REACH * stride, size / 2), 0.501 * stride)
        columns = np.arange(count)[_within(middles, x - reach_x, x + reach_x)]
        rows = np.arange(count)[_within(middles, y - reach_y, y + reach_y)]
        for row in rows:
            for column in columns:
                centre = np.array([middles[column], middles[row]])
                cell = target[row, column]
                cell[:2] = ((x, y) - centre) / stride
                cell[2:4] = np.log(size / (SIZE_UNIT * stride))
                has_landmarks = np.isfinite(landmarks[number]).all()
                cell[4:GEOMETRY] = ((landmarks[number] - centre) / stride).ravel() if has_landmarks else 0
                cell[FACE:] = 1, has_landmarks, 1
    return target


def _within(middles: Array, start: float, end: float) -> slice:
    return slice(int(np.searchsorted(middles, start)), int(np.searchsorted(middles, end)))


def finder_loss(targets: dict[str, Any], answers: dict[str, Any]) -> Any:
    """Return the loss of a batch, one number.

    Scores learn how well the box fits that the same cell gives (quality focal loss: Li et al. 2020, *Generalized Focal
    Loss*, arXiv:2006.04388), boxes their intersection over union and their centres (Zheng et al. 2019, *Distance-IoU
    Loss*, arXiv:1911.08287), landmarks their distance in sizes of the face. All are divided by the number of cells
    with a face.
    """
    total, faces = 0.0, 1.0
    for stride in STRIDES:
        target = targets[f"target{stride}"]
        scores = ops.cast(answers[f"scores{stride}"], "float32")[..., 0]
        geometry = ops.cast(answers[f"geometry{stride}"], "float32")
        is_face, counts = target[..., FACE], target[..., COUNTS]
        box_loss, overlap = _compare_boxes(target, geometry)
        quality = ops.stop_gradient(is_face * (LEAST_QUALITY + (1 - LEAST_QUALITY) * ops.clip(overlap, 0.0, 1.0)))
        probability = ops.sigmoid(scores)
        crossentropy = ops.maximum(scores, 0) - scores * quality + ops.log1p(ops.exp(-ops.abs(scores)))
        score_loss = ops.square(quality - probability) * crossentropy
        landmark_loss = _compare_landmarks(target, geometry) * target[..., HAS_LANDMARKS]
        total += ops.sum(counts * score_loss)
        total += ops.sum(is_face * (BOX_WEIGHT * box_loss + LANDMARK_WEIGHT * landmark_loss))
        faces += ops.sum(is_face)
    return total / faces


def _compare_boxes(target: Any, geometry: Any) -> tuple[Any, Any]:
    """Return (loss, intersection over union) of each cell; both boxes are counted from its centre, in strides."""
    sizes, wanted = (SIZE_UNIT * ops.exp(ops.clip(each[..., 2:4], -4.0, 4.0)) for each in (geometry, target))
    distance = geometry[..., :2] - target[..., :2]
    start = ops.maximum(geometry[..., :2] - sizes / 2, target[..., :2] - wanted / 2)
    end = ops.minimum(geometry[..., :2] + sizes / 2, target[..., :2] + wanted / 2)
    common = ops.prod(ops.maximum(end - start, 0.0), axis=-1)
    union = ops.prod(sizes, axis=-1) + ops.prod(wanted, axis=-1) - common
    overlap = common / ops.maximum(union, 1e-6)
    around_start = ops.minimum(geometry[..., :2] - sizes / 2, target[..., :2] - wanted / 2)
    around_end = ops.maximum(geometry[..., :2] + sizes / 2, target[..., :2] + wanted / 2)
    diagonal = ops.sum(ops.square(around_end - around_start), axis=-1)
    return 1 - overlap + ops.sum(ops.square(distance), axis=-1) / ops.maximum(diagonal, 1e-6), overlap


def _compare_landmarks(target: Any, geometry: Any) -> Any:
    size = SIZE_UNIT * ops.exp(ops.mean(target[..., 2:4], axis=-1, keepdims=True))
    distance = ops.abs(geometry[..., 4:] - target[..., 4:GEOMETRY]) / size
    return ops.mean(ops.where(distance < NEAR, ops.square(distance) / (2 * NEAR), distance - NEAR / 2), axis=-1)
