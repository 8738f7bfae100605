"""How many frames of real clips have their face, against a neural detector that sees them all."""

from pathlib import Path

import cv2
import pytest

from mien.detectors import HaarDetector
from mien.faces import Box
from mien.recognizer import EmotionRecognizer
from mien.sources import open_source

CLIPS = (
    "face_then_none.mov",
    "half_body.mkv",
    "neutral_to_smile.mp4",
    "night_talk.mp4",
    "skull_shirt.mkv",
    "two_heads.mp4",
)


def find_with_yunet(model: Path, image: cv2.typing.MatLike) -> list[Box]:
    """Return what OpenCV's YuNet finds in a frame whose longer side is shrunk to 320 pixels."""
    scale = 320 / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    detector = cv2.FaceDetectorYN.create(str(model), "", (small.shape[1], small.shape[0]), 0.7, 0.3, 50)
    _, found = detector.detect(small)
    return [] if found is None else [Box(*map(int, row[:4])).scaled(1 / scale, 1 / scale) for row in found]


def test_a_face_is_followed_in_most_frames_and_nothing_else_is(media: Path) -> None:
    model = media / "models" / "face_detection_yunet_2023mar.onnx"
    if not model.exists():
        pytest.skip(f"no {model}: the clips are judged by it")
    with_face = followed = false = 0
    for clip in CLIPS:
        recognizer, ids, before = EmotionRecognizer(detector=HaarDetector()), set(), followed - with_face
        with open_source(str(media / "clips" / clip)) as source:
            for frame in source:
                faces = recognizer.recognize(frame.image, frame.time_s)
                truth = find_with_yunet(model, frame.image)
                on_a_face = [any(box.has_inside(*face.box.centre) for box in truth) for face in faces]
                with_face += bool(truth)
                followed += bool(truth) and any(on_a_face)
                false += len(faces) - sum(on_a_face)
                ids |= {face.track_id for face in faces}
        print(f"{clip}: {before - followed + with_face} frames without the face that is there")
        assert len(ids) <= 2, clip
    print(f"{followed} of {with_face} frames followed, {false} false boxes")
    assert with_face == 454
    assert followed / with_face >= 0.97
    assert false <= 3
