"""YuNet sees what Haar misses, with boxes framed like Haar's; its model is not in the repository."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import main
from mien.detectors import HaarDetector, StepwiseDetector, open_detector
from mien.detectors.yunet import YuNetDetector
from mien.faces import Box, Image
from mien.files import data_dir
from mien.preprocess import to_gray
from mien.recognizer import EmotionRecognizer
from mien.sources import open_source
from tests.edge.test_following import CLIPS, find_with_yunet
from tests.edge.test_haar import FACE, count_found


@pytest.fixture
def model(media: Path) -> Path:
    path = media / "models" / "face_detection_yunet_2023mar.onnx"
    if not path.exists():
        pytest.skip(f"no {path}: the model belongs to OpenCV's model zoo")
    return path


@pytest.fixture
def fetched(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the model where `mien models fetch yunet` puts it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    place = data_dir() / "models" / model.name
    place.parent.mkdir(parents=True)
    place.write_bytes(model.read_bytes())
    return place


def test_boxes_are_framed_like_those_of_haar(model: Path, portrait: Image) -> None:
    for picture in (portrait, to_gray(portrait)):
        (box,) = YuNetDetector(model).detect(picture)
        (haar,) = HaarDetector().detect(to_gray(portrait))
        assert box.overlap(haar) > 0.8
        assert box.width == box.height


@pytest.mark.parametrize("scale", [0.5, 1.7, 4.0])
def test_boxes_are_in_pixels_of_the_frame(model: Path, portrait: Image, scale: float) -> None:
    frame = cv2.resize(portrait, None, fx=scale, fy=scale)
    (box,) = YuNetDetector(model).detect(frame)
    assert box.overlap(Box(*(round(value * scale) for value in FACE))) > 0.6


def test_a_search_in_steps_finds_large_faces_and_small_ones_wherever_they_are(model: Path, portrait: Image) -> None:
    detector = YuNetDetector(model)
    assert isinstance(detector, StepwiseDetector)
    for scale, places in ((1.0, [(0, 0)]), (0.3, [(0, 0), (336, 0), (0, 252), (168, 126), (336, 252)])):
        small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for left, top in places:
            frame = np.full_like(portrait, 90)
            frame[top : top + small.shape[0], left : left + small.shape[1]] = small
            face = FACE.scaled(scale, scale)
            face = face._replace(x=face.x + left, y=face.y + top)
            steps = [detector.detect_step(frame, step) for step in range(detector.count_steps(frame.shape[:2]))]
            found = [box for boxes in steps for box in boxes]
            assert found
            assert all(box.overlap(face) > 0.5 for box in found)
            assert detector.detect_near(frame, found[0], 0.3, is_known=False)


@pytest.mark.parametrize("angle", [-60, -25, 25, 60])
def test_a_head_that_leans_to_a_side_is_found(model: Path, portrait: Image, angle: float) -> None:
    turn = cv2.getRotationMatrix2D(FACE.centre, angle, 1)
    leaning = cv2.warpAffine(portrait, turn, (480, 360), borderMode=cv2.BORDER_REPLICATE)
    for box in (*YuNetDetector(model).detect(leaning), *YuNetDetector(model).detect_near(leaning, FACE, 0.3, True)):
        assert box.overlap(FACE) > 0.5


@pytest.mark.parametrize("box", [Box(-500, -500, 90, 90), Box(470, 350, 400, 400), Box(5, 5, 0, 0)])
def test_a_place_beside_the_frame_has_no_face(model: Path, portrait: Image, box: Box) -> None:
    assert YuNetDetector(model).detect_near(portrait, box, 0.3, is_known=True) == []


@pytest.mark.parametrize("shape", [(360, 480), (1, 1), (2000, 3)])
def test_an_empty_wall_has_no_face(model: Path, shape: tuple[int, int]) -> None:
    detector, wall = YuNetDetector(model), np.full((*shape, 3), 127, np.uint8)
    assert detector.detect(wall) == []
    for step in range(detector.count_steps(shape)):
        assert detector.detect_step(wall, step) == []


def test_yunet_is_taken_by_its_name_alone(fetched: Path) -> None:
    assert [type(open_detector("yunet", for_stills=stills)) for stills in (False, True)] == [YuNetDetector] * 2
    assert not isinstance(open_detector("auto"), YuNetDetector)
    fetched.unlink()
    with pytest.raises(FileNotFoundError, match="mien models fetch yunet"):
        open_detector("yunet")


def test_a_damaged_model_is_told(fetched: Path, tmp_path: Path) -> None:
    content = bytearray(fetched.read_bytes())
    content[1000] ^= 255
    fetched.write_bytes(content)
    with pytest.raises(ValueError, match="mien models fetch yunet"):
        open_detector("yunet")
    no_model = tmp_path / "no_model.onnx"
    no_model.write_bytes(b"no model")
    with pytest.raises(ValueError, match="cannot load"):
        YuNetDetector(no_model)


def test_every_face_of_the_photographs_is_found(fetched: Path, media: Path) -> None:
    detector = open_detector("yunet", for_stills=True)
    found = count_found(detector, media)
    files = sorted((media / "no_faces").glob("*.jpg"))
    false = sum(len(detector.detect(cv2.imread(str(file)))) for file in files)
    print("found", {kind: f"{sum(faces)} of {len(faces)}" for kind, faces in found.items()}, f"{false} false boxes")
    assert np.mean(found["plain"]) >= 0.99
    assert np.mean(found["spectacles"]) >= 0.99
    assert false <= 10


def test_a_face_is_followed_in_nearly_every_frame(fetched: Path, media: Path) -> None:
    with_face = followed = 0
    for clip in CLIPS:
        recognizer, ids = EmotionRecognizer(detector=open_detector("yunet")), set()
        with open_source(str(media / "clips" / clip)) as source:
            for frame in source:
                faces = recognizer.recognize(frame.image, frame.time_s)
                truth = find_with_yunet(fetched, frame.image)
                with_face += bool(truth)
                followed += any(box.has_inside(*face.box.centre) for box in truth for face in faces)
                ids |= {face.track_id for face in faces}
        assert len(ids) <= 2, clip
    print(f"{followed} of {with_face} frames followed")
    assert followed / with_face >= 0.98


def test_bottles_are_no_faces(fetched: Path, media: Path) -> None:
    recognizer = EmotionRecognizer(detector=open_detector("yunet"))
    with open_source(str(media / "clips" / "bottles_no_face.mp4")) as source:
        assert sum(len(recognizer.recognize(frame.image, frame.time_s)) for frame in source) == 0


def test_photographs_are_searched_with_the_detector_that_is_named(
    fetched: Path, portrait: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "leaning.png"
    turn = cv2.getRotationMatrix2D(FACE.centre, 35, 1)
    cv2.imwrite(str(photo), cv2.warpAffine(portrait, turn, (480, 360), borderMode=cv2.BORDER_REPLICATE))
    found = {}
    for detector in ("haar", "yunet", "finder"):
        assert main(["image", str(photo), "--detector", detector, "--json"]) == 0
        found[detector] = len(json.loads(capsys.readouterr().out)["faces"])
    assert found == {"haar": 0, "yunet": 1, "finder": 1}
