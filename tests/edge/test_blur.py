"""A blurred face is gone for detectors and people, and the rest of the picture stays as it was."""

import cv2
import numpy as np
import pytest

from mien import Box, Face
from mien.detectors import HaarDetector
from mien.faces import Image
from mien.outputs.blur import MARGIN, blur_faces
from mien.preprocess import to_gray


def make_face(box: Box) -> Face:
    return Face(box, np.full(7, 1 / 7, np.float32), 1)


def find_faces(image: Image) -> list[Box]:
    return HaarDetector().detect(to_gray(image))


def test_no_detector_finds_a_blurred_face(portrait: Image) -> None:
    (box,) = find_faces(portrait)
    blurred = blur_faces(portrait, [make_face(box)])
    assert find_faces(blurred) == []


def test_a_blurred_face_keeps_no_more_than_eight_by_eight_blocks(portrait: Image) -> None:
    (box,) = find_faces(portrait)
    blurred = blur_faces(portrait, [make_face(box)])
    area = blurred[box.y : box.y + box.height, box.x : box.x + box.width]
    assert len(np.unique(portrait[box.y : box.y + box.height, box.x : box.x + box.width].reshape(-1, 3), axis=0)) > 1000
    assert len(np.unique(area.reshape(-1, 3), axis=0)) <= 64


def test_the_margin_is_blurred_and_nothing_else(portrait: Image) -> None:
    before = portrait.copy()
    box = Box(200, 100, 100, 50)
    changed = (blur_faces(portrait, [make_face(box)]) != portrait).any(axis=2)
    np.testing.assert_array_equal(portrait, before)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    left, top, width, height = cv2.boundingRect(changed.astype(np.uint8))
    # Single pixels may have their block's colour by chance, whole edges hardly.
    assert abs(left - (200 - 100 * MARGIN)) <= 1
    assert abs(top - (100 - 50 * MARGIN)) <= 1
    assert abs(width - 140) <= 2
    assert abs(height - 70) <= 2
    assert len(rows) >= 68
    assert len(columns) >= 138


@pytest.mark.parametrize(
    "box", [Box(-50, -50, 100, 100), Box(450, 330, 100, 100), Box(-99, -99, 9, 9), Box(900, 900, 9, 9), Box(5, 5, 1, 1)]
)
def test_a_box_may_lie_at_or_beyond_the_edge(portrait: Image, box: Box) -> None:
    assert blur_faces(portrait, [make_face(box)]).shape == portrait.shape


def test_a_gray_picture_is_blurred_too(portrait: Image) -> None:
    gray = to_gray(portrait)
    (box,) = HaarDetector().detect(gray)
    assert find_faces(blur_faces(gray, [make_face(box)])) == []
