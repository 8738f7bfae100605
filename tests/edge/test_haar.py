"""Haar boxes sit on faces, whatever the size of the frame."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.detectors import FaceDetector, HaarDetector, StepwiseDetector
from mien.faces import Box, Image
from mien.preprocess import to_gray

FACE = Box(208, 32, 116, 116)  # in the demo clip's first frame, by eye


def test_the_face_of_a_portrait_is_found(portrait: Image) -> None:
    for detector in (HaarDetector(), HaarDetector.for_stills()):
        (box,) = detector.detect(to_gray(portrait))
        assert box.overlap(FACE) > 0.6


def test_a_search_in_steps_finds_the_face_and_little_else(portrait: Image) -> None:
    detector, gray = HaarDetector(), to_gray(portrait)
    assert isinstance(detector, StepwiseDetector)
    steps = [detector.detect_step(gray, step) for step in range(detector.count_steps(gray.shape))]
    candidates = [box for boxes in steps for box in boxes]
    assert max(box.overlap(FACE) for box in candidates) > 0.6
    confirmed = [face for box in candidates for face in detector.detect_near(gray, box, 0.3, is_known=False)]
    assert all(face.overlap(FACE) > 0.6 for face in confirmed)
    assert len(steps) >= 15  # about equal parts, so that no frame takes much longer than another


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.3])
def test_a_known_face_that_moved_is_found_near_its_place(portrait: Image, shift: float) -> None:
    moved = Box(round(FACE.x + shift * FACE.width), FACE.y, round(FACE.width * 1.1), round(FACE.height * 1.1))
    box, *_ = HaarDetector().detect_near(to_gray(portrait), moved, 0.5, is_known=True)
    assert box.overlap(FACE) > 0.6


@pytest.mark.parametrize("angle", [-40, -25, 25, 40])
def test_a_known_head_that_leans_to_a_side_is_found(portrait: Image, angle: float) -> None:
    turn = cv2.getRotationMatrix2D(FACE.centre, angle, 1)
    leaning = cv2.warpAffine(to_gray(portrait), turn, (480, 360), borderMode=cv2.BORDER_REPLICATE)
    detector = HaarDetector()
    assert detector.detect(leaning) == []
    box, *_ = detector.detect_near(leaning, FACE, 0.3, is_known=True)
    assert box.overlap(FACE) > 0.5
    assert detector.detect_near(leaning, FACE, 0.3, is_known=False) == []


@pytest.mark.parametrize("box", [Box(-500, -500, 90, 90), Box(470, 350, 400, 400), Box(5, 5, 0, 0)])
def test_a_place_beside_the_frame_has_no_face(portrait: Image, box: Box) -> None:
    assert HaarDetector().detect_near(to_gray(portrait), box, 0.3, is_known=True) == []


@pytest.mark.parametrize("length", [0, 300, 5000])
def test_a_damaged_cascade_is_refused_in_one_line(length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "haarcascade_frontalface_alt2.xml"
    (tmp_path / file).write_bytes((Path(cv2.data.haarcascades) / file).read_bytes()[:length])
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(ValueError, match=f"{file} is damaged: reinstall OpenCV"):
        HaarDetector()


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
    [("votes", {"profile": 1}), ("max_side", 10), ("scale_factor", 1.0), ("min_votes", 0), ("min_face", 0)],
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
    assert len(files) >= 70
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    live, stills = (
        sum(len(detector.detect(picture)) for picture in pictures)
        for detector in (HaarDetector(), HaarDetector.for_stills())
    )
    print(f"false boxes on {len(files)} pictures without a face: {live} live, {stills} stills")
    assert live <= 3
    assert stills <= 10


def test_faces_with_spectacles_are_found_as_often_as_others(media: Path) -> None:
    found = count_found(HaarDetector.for_stills(), media)
    print("found", {kind: f"{sum(faces)} of {len(faces)}" for kind, faces in found.items()})
    assert np.mean(found["plain"]) >= 0.93
    assert np.mean(found["spectacles"]) >= 0.86


def count_found(detector: FaceDetector, media: Path) -> dict[str, list[bool]]:
    """Return for each kind of face on the photographs which of them are found."""
    found: dict[str, list[bool]] = {"plain": [], "spectacles": [], "hard": []}
    how = cv2.IMREAD_COLOR if detector.takes_frame else cv2.IMREAD_GRAYSCALE
    for name, faces in read_truth(media / "photos.csv").items():
        boxes = detector.detect(cv2.imread(str(media / "photos" / name), how))
        for face, kind in faces:
            found[kind].append(any(face.has_inside(*box.centre) or box.overlap(face) >= 0.4 for box in boxes))
    return found


def read_truth(file: Path) -> dict[str, list[tuple[Box, str]]]:
    """Return the faces of each photograph: where, and "plain", "spectacles" or "hard"."""
    truth: dict[str, list[tuple[Box, str]]] = {}
    with open(file) as lines:
        for row in csv.DictReader(lines):
            kind = "hard" if row["hard"] == "1" else "spectacles" if row["glasses"] == "1" else "plain"
            box = Box(*(int(float(row[key])) for key in ("x", "y", "width", "height")))
            truth.setdefault(row["file"], []).append((box, kind))
    return truth
