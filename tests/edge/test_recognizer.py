"""One frame in, faces out; the same result at any speed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import EMOTIONS, Box, EmotionRecognizer, Face
from mien.card import find_model
from mien.config import Config
from mien.detectors import HaarDetector
from mien.faces import Image
from mien.preprocess import to_gray
from mien.recognition import make_recognizer
from mien.sources import open_source


class FixedDetector:
    """A detector of the user's own, as the protocol allows."""

    def __init__(self, *boxes: Box, takes_frame: bool = False) -> None:
        self.boxes, self.takes_frame = list(boxes), takes_frame

    def detect(self, picture: Image) -> list[Box]:
        assert picture.ndim == (3 if self.takes_frame else 2)
        return self.boxes


def test_a_detector_that_sees_colours_gets_them_and_faces_are_the_same(portrait: Image) -> None:
    box = Box(208, 32, 116, 116)
    gray, color = (
        EmotionRecognizer(detector=FixedDetector(box, takes_frame=takes_frame)).recognize(portrait)[0]
        for takes_frame in (False, True)
    )
    np.testing.assert_array_equal(gray.probabilities, color.probabilities)


def test_a_face_has_all_that_is_documented(portrait: Image) -> None:
    (face,) = EmotionRecognizer().recognize(portrait)
    assert isinstance(face.box, Box)
    assert face.emotion == "happy"
    assert face.track_id == 1
    assert face.confidence == pytest.approx(face.probabilities[EMOTIONS.index("happy")])


def test_a_face_below_its_threshold_is_unsure(portrait: Image, tmp_path: Path) -> None:
    model = find_model(None)
    card = json.loads(model.with_suffix(".json").read_text()) | {"thresholds": dict.fromkeys(EMOTIONS, 1.0)}
    shutil.copy(model, tmp_path)
    (tmp_path / f"{model.stem}.json").write_text(json.dumps(card))
    (face,) = EmotionRecognizer(tmp_path / model.name).recognize(portrait)
    assert (face.emotion, face.label, face.is_sure) == ("happy", "unsure", False)
    (sure,) = EmotionRecognizer().recognize(portrait)
    assert (sure.label, sure.is_sure) == ("happy", True)


def test_gray_frames_give_the_same_faces(portrait: Image) -> None:
    gray = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    color_face, gray_face = (EmotionRecognizer().recognize(frame)[0] for frame in (portrait, gray))
    assert color_face.box == gray_face.box
    np.testing.assert_array_equal(color_face.probabilities, gray_face.probabilities)


def test_the_demo_is_followed_and_always_the_same() -> None:
    def run() -> list[list[object]]:
        recognizer = EmotionRecognizer()
        with open_source("demo") as source:
            return [[face.to_dict() for face in recognizer.recognize(f.image, f.time_s)] for f in source]

    frames = run()
    assert frames == run()
    faces_per_frame = [len(faces) for faces in frames]
    assert faces_per_frame[:125] == [1] * 125  # moves and grows
    assert faces_per_frame[175:200] == [0] * 25  # is away
    assert sum(faces_per_frame[225:]) >= 24  # is back
    assert set(faces_per_frame) == {0, 1}


def test_only_the_largest_faces_are_classified(portrait: Image) -> None:
    boxes = [Box(0, 0, 90, 90), Box(100, 0, 80, 80), Box(200, 0, 70, 70)]
    faces = EmotionRecognizer(detector=FixedDetector(*boxes), max_faces=2).recognize(portrait, 0.0)
    assert [face.box for face in faces] == boxes[:2]


def test_a_reset_forgets_who_was_who(portrait: Image) -> None:
    recognizer = EmotionRecognizer()
    first = recognizer.recognize(portrait, 0.0)[0].probabilities
    recognizer.reset()
    (face,) = recognizer.recognize(portrait, 0.01)
    assert face.track_id == 1
    np.testing.assert_array_equal(face.probabilities, first)


def test_a_returned_face_does_not_change_with_later_frames(portrait: Image) -> None:
    recognizer = EmotionRecognizer(detector=FixedDetector(Box(208, 32, 116, 116)))
    (face,) = recognizer.recognize(portrait, 0.0)
    before = face.probabilities.copy()
    recognizer.recognize(np.zeros_like(portrait), 0.3)
    np.testing.assert_array_equal(face.probabilities, before)


@pytest.mark.parametrize(("name", "value"), [("max_faces", 0), ("smoothing_s", -1)])
def test_an_argument_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        EmotionRecognizer(**{name: value})  # type: ignore[arg-type]


def test_importing_mien_needs_numpy_only() -> None:
    code = "import sys, mien; print([m for m in ('cv2', 'ai_edge_litert', 'tensorflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def count_label_changes(still: Image, smoothing_s: float, seconds: int) -> int:
    """Return how often the label of a still face changes under sensor noise and an unsteady hand, at 25 frames/s."""
    rng = np.random.default_rng(0)
    recognizer = EmotionRecognizer(smoothing_s=smoothing_s)
    labels = []
    for frame in range(25 * seconds):
        x, y = rng.integers(0, 5, 2)
        moved = np.roll(still, (int(y), int(x)), axis=(0, 1))
        noisy = np.clip(moved + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8)
        labels += [face.label for face in recognizer.recognize(noisy, frame / 25)[:1]]
    assert len(labels) >= 0.95 * 25 * seconds
    return sum(before != after for before, after in pairwise(labels))


def test_the_label_of_a_still_face_hardly_flickers(media: Path) -> None:
    raw = smoothed = 0
    for clip, number in (("night_talk.mp4", 0), ("neutral_to_smile.mp4", 18)):  # expressions between two
        with open_source(str(media / "clips" / clip)) as source:
            still = next(frame.image for frame in source if frame.index == number)
        raw += count_label_changes(still, 0, 10)
        smoothed += count_label_changes(still, 0.5, 10)
    print(f"label changes in 20 s: {raw} without smoothing, {smoothed} with it")
    assert raw >= 60
    assert smoothed <= raw / 10


def test_all_faces_get_their_turn_when_there_are_more_than_can_be_classified(portrait: Image) -> None:
    boxes = [Box(100 * place, 0, 90, 90) for place in range(4)]
    detector = FixedDetector()
    recognizer = EmotionRecognizer(detector=detector, max_classified=1)
    assert recognizer.recognize(portrait, -0.1) == []
    detector.boxes = boxes
    answered = [[face.track_id for face in recognizer.recognize(portrait, 0.1 * frame)] for frame in range(4)]
    assert answered == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    turns = [
        [face.track_id for face in recognizer.recognize(portrait, 0.1 * frame) if face.instant is not None]
        for frame in range(4, 12)
    ]
    assert turns == [[1], [2], [3], [4]] * 2


def test_all_faces_of_a_photograph_are_told_at_once(portrait: Image) -> None:
    boxes = [Box(60 * place, 0, 50, 50) for place in range(8)]
    recognizer = EmotionRecognizer(detector=FixedDetector(*boxes))
    for _ in range(2):
        assert len(recognizer.recognize(portrait)) == 8
        recognizer.reset()


def test_the_same_faces_are_shown_while_boxes_of_about_one_size_tremble(portrait: Image) -> None:
    detector = FixedDetector()
    recognizer, rng = EmotionRecognizer(detector=detector, max_faces=2), np.random.default_rng(0)
    shown = set()
    for frame in range(50):
        boxes = [Box(120 * place, 0, 90, 90 + int(rng.integers(8))) for place in range(4)]
        detector.boxes = sorted(boxes, key=lambda box: box.area, reverse=True)
        shown.add(frozenset(face.track_id for face in recognizer.recognize(portrait, 0.03 * frame)))
    assert len(shown) == 1
    detector.boxes = [Box(360, 0, 120, 120), *(Box(120 * place, 0, 90, 90) for place in range(3))]
    assert recognizer.recognize(portrait, 1.5)[0].box == detector.boxes[0]  # who comes nearer is shown


def test_the_margin_of_the_card_is_cut_around_a_box(portrait: Image, tmp_path: Path) -> None:
    model = find_model(None)
    card = json.loads(model.with_suffix(".json").read_text()) | {"crop_margin": 0.25}
    shutil.copy(model, tmp_path)
    (tmp_path / f"{model.stem}.json").write_text(json.dumps(card))
    box = Box(200, 40, 100, 100)
    (with_margin,) = EmotionRecognizer(tmp_path / model.name, FixedDetector(box)).recognize(portrait)
    (larger,) = EmotionRecognizer(detector=FixedDetector(Box(175, 15, 150, 150))).recognize(portrait)
    (plain,) = EmotionRecognizer(detector=FixedDetector(box)).recognize(portrait)
    np.testing.assert_allclose(with_margin.probabilities, larger.probabilities, atol=1e-6)
    assert np.abs(with_margin.probabilities - plain.probabilities).max() > 1e-3


def test_faces_are_found_in_the_small_gray_picture_of_a_camera_and_cut_from_the_large_one(portrait: Image) -> None:
    luma = to_gray(cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    (face,) = EmotionRecognizer(detector=HaarDetector()).recognize(portrait, 0.0, luma)
    (whole,) = EmotionRecognizer(detector=HaarDetector()).recognize(portrait, 0.0)
    assert face.box.overlap(whole.box) > 0.6
    assert EmotionRecognizer(detector=HaarDetector()).recognize(portrait, 0.0, np.full_like(luma, 127)) == []


def test_the_finder_sees_far_faces_at_the_full_resolution_of_a_camera_with_a_small_picture(portrait: Image) -> None:
    frame, small = np.full((720, 1280, 3), 90, np.uint8), cv2.resize(portrait, (180, 135))
    frame[300:435, 500:680] = small
    luma = to_gray(cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA))
    recognizer = EmotionRecognizer()
    for time_s in (0.0, 0.1, 0.2):
        (face,) = recognizer.recognize(frame, time_s, luma)
        assert face.box.overlap(Box(578, 312, 44, 44)) > 0.4


def test_all_faces_get_their_turn_after_the_clock_was_set_back(portrait: Image) -> None:
    recognizer = EmotionRecognizer(detector=FixedDetector(*(Box(100 * place, 0, 90, 90) for place in range(4))))
    for time_s in (1000.0, 1000.1, 1000.2):
        recognizer.recognize(portrait, time_s)
    recognizer._max_classified = 1
    frames = [recognizer.recognize(portrait, 0.1 * frame) for frame in range(8)]
    turns = [face.track_id for faces in frames for face in faces if face.instant is not None]
    assert set(turns) == {1, 2, 3, 4}


def test_the_settings_of_a_run_reach_its_recognizer(portrait: Image) -> None:
    def find(**settings: Any) -> list[Face]:
        return make_recognizer(replace(Config(), **settings)).recognize(small, 0.0)

    small = np.full_like(portrait, 90)
    small[:180, :240] = cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert len(find()) == 1
    assert find(min_face=0.5) == []
    assert find(detect_side=40) == []  # five pixels
    recognizer = make_recognizer(
        Config(smoothing_s=1.5, detect_interval_s=2.5, max_classified=3, max_faces=5, detector="haar")
    )
    assert (recognizer._smoothing_s, recognizer._detect_interval_s) == (1.5, 2.5)
    assert (recognizer._max_classified, recognizer._max_faces) == (3, 5)


def test_a_clock_that_is_set_back_and_an_empty_frame_stop_nothing(portrait: Image) -> None:
    recognizer = EmotionRecognizer()
    nobody = np.zeros_like(portrait)
    assert recognizer.recognize(portrait, 100.0)
    for second in (50.0, 51.0, 52.0):
        assert recognizer.recognize(nobody, second) == []
    assert recognizer.recognize(portrait, 53.0)


@pytest.mark.parametrize("effort", [(-1.0, 320), (float("nan"), 320), (0.5, 0)])
def test_an_effort_out_of_range_is_refused(effort: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="allowed are 0 or more, 40 or more"):
        EmotionRecognizer().set_effort(*effort)
