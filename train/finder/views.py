"""Random views of photographs: faces of all sizes and places, leaning, badly lit, half hidden.

What a camera in a room shows and the photographs lack is made here, by the seed that is given.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from mien.faces import Image
from mien.photographs import Photograph
from train.finder.damage import blur, cover_face, disturb, light, shade_face, wear_spectacles

Array = npt.NDArray[np.float32]
Rng = np.random.Generator

FACE_SHARES = (0.05, 0.95)
"""Least and greatest height of the face that a view is drawn around, of the view's side; equal ratios are equally
likely."""

MAX_GROWTH = 2.5
"""Pictures are magnified so much at most."""

MAX_LEAN_DEGREES = 30.0
JOINED_SHARE = 0.3
"""Share of the views that are joined from four."""

LEAST_FACE = 7.0
"""Narrower ones, in pixels of the view, are neither face nor background."""

LEAST_VISIBLE = 0.5
"""Of a face of which less lies in the view, nothing is demanded."""

CUT_OFF_SHARE = 0.15
"""Of the faces that views are drawn around, so many may lie across an edge."""

HARD_WEIGHT = 3
"""A hard face among others in a photograph is looked at so many times as often as one of them."""

PROFILE = 0.7
"""From here on a face counts as a profile: how far its nose is off the middle of the eyes, in halves of their
distance."""

MIRRORED = [1, 0, 2, 4, 3]
"""The landmarks of a mirrored face: right and left change places."""


@dataclass
class View:
    """What the network is shown, and what is in it; the fields are those of `mien.photographs.Photograph`."""

    image: Image
    boxes: Array
    landmarks: Array
    ignored: Array


@dataclass(frozen=True)
class Source:
    """A photograph with its pixels."""

    photograph: Photograph
    image: Image

    @cached_property
    def is_hard(self) -> npt.NDArray[np.bool_]:
        """Whether each face is seen from the side, or was labelled without landmarks: by a person alone, (N,)."""
        right, left, nose = (self.photograph.landmarks[:, number] for number in range(3))
        across = left - right
        along = ((nose - right) * across).sum(axis=1) / np.maximum((across**2).sum(axis=1), 1e-6)
        return ~(np.abs(2 * along - 1) < PROFILE)

    @cached_property
    def shares(self) -> npt.NDArray[np.float64]:
        """How likely a view is drawn around each face, (N,)."""
        weights = np.where(self.is_hard, HARD_WEIGHT, 1.0)
        return weights / weights.sum()


def draw_view(sources: list[Source], number: int, side: int, rng: Rng) -> View:
    """Return a random view of side x side pixels.

    Args:
        sources: all photographs; others than the one that is asked for are joined to it or cover its faces.
        number: the one.
        side: in pixels, even.
        rng: where all chance comes from.
    """
    if rng.random() < JOINED_SHARE:
        numbers = [number, *rng.integers(len(sources), size=3)]
        view = _join([_look(sources[other], sources, side // 2, rng) for other in rng.permutation(numbers)])
    else:
        view = _look(sources[number], sources, side, rng)
    for box, landmarks in zip(view.boxes, view.landmarks, strict=True):
        chance = rng.random()
        if chance < 0.15 and np.isfinite(landmarks).all():
            wear_spectacles(view.image, landmarks, rng)
        elif chance < 0.35:
            cover_face(view.image, box, sources[rng.integers(len(sources))].image, rng)
        if rng.random() < 0.1:
            shade_face(view.image, box, rng)
    if rng.random() < 0.5:
        view.image = light(view.image, rng)
    if rng.random() < 0.25:
        view.image = blur(view.image, rng, float(view.boxes[:, 3].min(initial=side)) if len(view.boxes) else 0.0)
    if rng.random() < 0.4:
        view.image = disturb(view.image, rng)
    return view


def _look(source: Source, sources: list[Source], side: int, rng: Rng) -> View:
    """Look at a photograph from a random distance, leaning, at a random place."""
    photograph, image = source.photograph, source.image
    height, width = image.shape
    if len(photograph.boxes):
        left, top, face_width, face_height = photograph.boxes[rng.choice(len(source.shares), p=source.shares)]
        share = math.exp(rng.uniform(*np.log(FACE_SHARES)))
        scale = share * side / face_height
        # The face lies anywhere in the view; a large one, where most of it is seen, or across an edge.
        room = 0.5 if rng.random() < CUT_OFF_SHARE else max(0.0, 0.5 - 0.3 * share)
        middle = (left + face_width / 2, top + face_height / 2)
        target = side * (0.5 + rng.uniform(-room, room, 2))
    else:
        scale = side / min(height, width) * math.exp(rng.uniform(math.log(0.5), math.log(2)))
        middle, target = (rng.uniform(0, width), rng.uniform(0, height)), np.array([side / 2, side / 2])
    scale = min(scale, MAX_GROWTH)
    if scale < 0.5:  # what is left between would be aliased
        image = cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
    lean = rng.uniform(-1, 1) * (MAX_LEAN_DEGREES if rng.random() < 0.6 else 6)
    is_mirrored = rng.random() < 0.5
    turn = _turn(middle, target, scale, lean, is_mirrored, rng)
    shrunk = np.array([width / image.shape[1], height / image.shape[0], 1])
    pixels = _draw(image, turn * shrunk, side, _background(sources, side, rng))
    boxes, landmarks = _turn_boxes(photograph.boxes, turn), _turn_points(photograph.landmarks, turn)
    if is_mirrored:
        landmarks = landmarks[:, MIRRORED]
    return _sort_out(View(pixels, boxes, landmarks, _turn_boxes(photograph.ignored, turn)), side)


def _background(sources: list[Source], side: int, rng: Rng) -> Image | None:
    """Return what lies beyond the picture: another one without faces, or one shade; None for more of the same."""
    chance = rng.random()
    if chance < 0.15:
        return None
    if chance < 0.8:
        for number in rng.integers(len(sources), size=20):
            if not len(sources[number].photograph.boxes) and not len(sources[number].photograph.ignored):
                return cv2.resize(sources[number].image, (side, side), interpolation=cv2.INTER_AREA)
    # Black as at the edge of a letterbox, above all.
    return np.full((side, side), 0 if chance < 0.95 else rng.integers(256), np.uint8)


def _draw(image: Image, turn: Array, side: int, background: Image | None) -> Image:
    if background is None:
        return cv2.warpAffine(image, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(image, turn, (side, side), dst=background, borderMode=cv2.BORDER_TRANSPARENT)


def _turn(
    middle: tuple[float, float], target: npt.NDArray[np.float64], scale: float, lean: float, is_mirrored: bool, rng: Rng
) -> Array:
    """Return the (2, 3) matrix that brings `middle` to `target`, scaled, leaning, and a little narrower or wider."""
    cos, sin = math.cos(math.radians(lean)), math.sin(math.radians(lean))
    stretch = math.exp(rng.uniform(-0.08, 0.08))
    turn = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([stretch * (-1 if is_mirrored else 1), 1 / stretch])
    return np.column_stack([turn, target - turn @ np.array(middle)]).astype(np.float32)


def _turn_points(points: Array, turn: Array) -> Array:
    return (points @ turn[:, :2].T + turn[:, 2]).astype(np.float32)


def _turn_boxes(boxes: Array, turn: Array) -> Array:
    """Return boxes around the ellipses in (N, 4) boxes, which look more like faces than the boxes do, after a turn."""
    centres = _turn_points(boxes[:, :2] + boxes[:, 2:] / np.float32(2), turn)
    axes = boxes[:, None, 2:] / 2 * turn[:, :2]
    sizes = 2 * np.sqrt((axes**2).sum(axis=2))
    return np.concatenate([centres - sizes / 2, sizes], axis=1).astype(np.float32)


def _sort_out(view: View, side: int) -> View:
    """Leave out faces beyond the view; of those that are small or cut off, nothing is demanded."""
    boxes = view.boxes
    start, end = np.clip(boxes[:, :2], 0, side), np.clip(boxes[:, :2] + boxes[:, 2:], 0, side)
    visible = (end - start).prod(axis=1) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-6)
    is_clear = (visible >= LEAST_VISIBLE) & (boxes[:, 2] >= LEAST_FACE)
    is_doubtful = ~is_clear & (visible > 0.1)
    ignored = np.concatenate([view.ignored, boxes[is_doubtful]])
    return View(view.image, boxes[is_clear], view.landmarks[is_clear], ignored)


def _join(parts: list[View]) -> View:
    side = len(parts[0].image)
    image = np.vstack([np.hstack([part.image for part in parts[row : row + 2]]) for row in (0, 2)])
    moved = []
    for number, part in enumerate(parts):
        corner = np.array([number % 2 * side, number // 2 * side], np.float32)
        shift = np.concatenate([corner, [0, 0]]).astype(np.float32)
        moved.append((part.boxes + shift, part.landmarks + corner, part.ignored + shift))
    boxes, landmarks, ignored = (np.concatenate(lists) for lists in zip(*moved, strict=True))
    return View(image, boxes, landmarks, ignored)
