"""A blurred face is gone for detectors and people, and the rest of the picture stays as it was."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien import Box, FrameResult
from mien.cli import main
from mien.config import Config
from mien.detectors import HaarDetector
from mien.faces import Image
from mien.outputs.blur import MARGIN, blur_faces, places_of_faces
from mien.preprocess import to_gray
from mien.recognition import make_recognizer


def find_faces(image: Image) -> list[Box]:
    return HaarDetector().detect(to_gray(image))


def test_no_detector_finds_a_blurred_face(portrait: Image) -> None:
    (box,) = find_faces(portrait)
    blurred = blur_faces(portrait, [box])
    assert find_faces(blurred) == []


def test_a_blurred_face_keeps_no_more_than_eight_by_eight_blocks(portrait: Image) -> None:
    (box,) = find_faces(portrait)
    blurred = blur_faces(portrait, [box])
    area = blurred[box.y : box.y + box.height, box.x : box.x + box.width]
    assert len(np.unique(portrait[box.y : box.y + box.height, box.x : box.x + box.width].reshape(-1, 3), axis=0)) > 1000
    assert len(np.unique(area.reshape(-1, 3), axis=0)) <= 64


def test_the_margin_is_blurred_and_nothing_else(portrait: Image) -> None:
    before = portrait.copy()
    box = Box(200, 100, 100, 50)
    changed = (blur_faces(portrait, [box]) != portrait).any(axis=2)
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
    assert blur_faces(portrait, [box]).shape == portrait.shape


def test_a_gray_picture_is_blurred_too(portrait: Image) -> None:
    gray = to_gray(portrait)
    (box,) = HaarDetector().detect(gray)
    assert find_faces(blur_faces(gray, [box])) == []


def test_a_face_that_is_not_shown_is_hidden_too(portrait: Image, tmp_path: Path) -> None:
    crowd = tmp_path / "crowd.png"
    half = cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(crowd), np.tile(half, (2, 3, 1)))
    picture = cv2.imread(str(crowd))
    assert len(find_faces(picture)) == 6
    recognizer = make_recognizer(Config(max_faces=1, max_classified=1, blur_faces=True, detector="haar"))
    faces = recognizer.recognize(picture, 0.0)
    assert len(faces) == 1
    hidden = blur_faces(picture, places_of_faces(FrameResult(0.0, 0, faces, seen=recognizer.seen)))
    assert find_faces(hidden) == []


def test_a_face_that_is_missed_in_one_frame_is_hidden_in_it(portrait: Image) -> None:
    recognizer = make_recognizer(Config(blur_faces=True, detector="haar"))
    for frame in range(10):
        recognizer.recognize(portrait, frame / 30)
    wall = np.full_like(portrait, 127)
    assert recognizer.recognize(wall, 10 / 30) == []
    assert find_faces(blur_faces(portrait, places_of_faces(FrameResult(0.0, 0, [], seen=recognizer.seen)))) == []
    assert recognizer.recognize(wall, 2.0) == []
    assert recognizer.seen == ()


def test_videos_and_sheets_of_a_run_show_nobody(tmp_path: Path) -> None:
    video, sheet = tmp_path / "blurred.mp4", tmp_path / "blurred.png"
    assert main(["run", "--source", "demo", "--blur-faces", "--output", str(video), "--output", str(sheet)]) == 0
    capture, seen, frames = cv2.VideoCapture(str(video)), 0, 0
    while (read := capture.read())[0]:
        frames += 1
        seen += bool(find_faces(read[1]))
    assert frames == 250
    assert seen <= 5  # the demo's face comes into the picture in parts, and a cascade sees one in a helmet
    tiles = cv2.imread(str(sheet))
    assert sum(len(find_faces(tile)) for row in np.split(tiles, 3) for tile in np.split(row, 4, axis=1)) <= 1
