"""Haar boxes sit on faces, whatever the size of the frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.detector import CASCADES, HaarDetector
from mien.faces import Box, Image
from mien.preprocess import to_gray

FACE = Box(208, 32, 116, 116)  # in the demo clip's first frame, by eye


@pytest.mark.parametrize("cascade", CASCADES)
def test_the_face_of_a_portrait_is_found(portrait: Image, cascade: str) -> None:
    (box,) = HaarDetector(cascade).detect(to_gray(portrait))
    assert box.overlap(FACE) > 0.6


@pytest.mark.parametrize("scale", [0.5, 1.7, 4.0])
def test_boxes_are_in_pixels_of_the_frame(portrait: Image, scale: float) -> None:
    frame = cv2.resize(to_gray(portrait), None, fx=scale, fy=scale)
    (box,) = HaarDetector().detect(frame)
    assert box.overlap(Box(*(round(value * scale) for value in FACE))) > 0.6


def test_the_largest_face_comes_first(portrait: Image) -> None:
    gray = to_gray(portrait)
    frame = np.full((360, 960), 90, np.uint8)
    frame[:180, :240] = cv2.resize(gray, None, fx=0.5, fy=0.5)
    frame[:, 480:] = gray
    boxes = HaarDetector(max_side=640).detect(frame)
    assert [box.x >= 480 for box in boxes] == [True, False]


@pytest.mark.parametrize("shape", [(360, 480), (1, 1), (2000, 3)])
def test_an_empty_wall_has_no_face(shape: tuple[int, int]) -> None:
    assert HaarDetector().detect(np.full(shape, 127, np.uint8)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("cascade", "profile"), ("max_side", 10), ("scale_factor", 1.0), ("min_neighbors", -1), ("min_face", 0)],
)
def test_an_argument_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"allowed are"):
        HaarDetector(**{name: value})  # type: ignore[arg-type]


def test_an_opencv_without_cascades_names_the_one_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(ImportError, match="opencv-python<5"):
        HaarDetector()


def test_few_boxes_where_there_is_no_face(media: Path) -> None:
    files = sorted((media / "no_faces").glob("*.jpg"))
    detector = HaarDetector()
    false_boxes = sum(len(detector.detect(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))) for file in files)
    assert len(files) >= 70
    assert false_boxes <= 3
