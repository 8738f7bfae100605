"""The face finder sees spectacles, leaning and small faces, and never crashes; what is damaged, haar stands in for."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.card import model_names
from mien.cli import main
from mien.detectors import HaarDetector, StepwiseDetector, open_detector
from mien.detectors.finder import FaceNetwork, FinderDetector, frame
from mien.face_maps import Found
from mien.faces import Box, Image, LeaningBox
from mien.finder_card import FINDER_FILE, Framing, read_finder, read_finder_card
from mien.health import Health
from mien.interpreter import TFLiteMaps
from mien.preprocess import crop_face, to_gray
from mien.recognition import Recognition
from mien.recognizer import EmotionRecognizer
from mien.sources import open_source
from tests.edge.test_following import CLIPS, find_with_yunet
from tests.edge.test_haar import FACE, count_found


@pytest.fixture(scope="module")
def finder() -> FinderDetector:
    return FinderDetector()


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a finder with one wrong bit, which is the installed one for the time of a test."""
    path = tmp_path / FINDER_FILE.name
    content = bytearray(FINDER_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shutil.copy(FINDER_FILE.with_suffix(".json"), tmp_path)
    defaults = FinderDetector.__init__.__defaults__ or ()
    monkeypatch.setattr(FinderDetector.__init__, "__defaults__", (path, *defaults[1:]))
    return path


def leaning(portrait: Image, degrees: float) -> Image:
    """Return the gray portrait turned clockwise around its face."""
    turn = cv2.getRotationMatrix2D(FACE.centre, -degrees, 1)
    size = (portrait.shape[1], portrait.shape[0])
    return cv2.warpAffine(to_gray(portrait), turn, size, borderMode=cv2.BORDER_REPLICATE)


def test_the_face_of_a_portrait_is_found(finder: FinderDetector, portrait: Image) -> None:
    (box,) = finder.detect(to_gray(portrait))
    assert box.overlap(FACE) > 0.6
    assert box.width == box.height
    assert abs(box.roll_degrees) < 10


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 4.0])
def test_boxes_are_in_pixels_of_the_frame(finder: FinderDetector, portrait: Image, scale: float) -> None:
    (box,) = finder.detect(to_gray(cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)))
    assert box.overlap(FACE.scaled(scale, scale)) > 0.6


@pytest.mark.parametrize("degrees", [-30, -20, 20, 30])
def test_a_leaning_head_is_found_and_cut_out_upright(finder: FinderDetector, portrait: Image, degrees: float) -> None:
    upright = crop_face(to_gray(portrait), finder.detect(to_gray(portrait))[0], 0).astype(float)
    picture = leaning(portrait, degrees)
    (box,) = finder.detect(picture)
    assert isinstance(box, LeaningBox)
    assert 0.4 < box.roll_degrees / degrees < 1.3  # landmarks of strongly leaning heads are drawn towards upright ones
    levelled = np.corrcoef(upright.ravel(), crop_face(picture, box, 0).ravel())[0, 1]
    as_it_is = np.corrcoef(upright.ravel(), crop_face(picture, Box(*box), 0).ravel())[0, 1]
    assert levelled > 0.75
    assert levelled > as_it_is + 0.1


def test_a_face_is_found_near_its_last_place_at_full_resolution(finder: FinderDetector, portrait: Image) -> None:
    small = cv2.resize(to_gray(portrait), None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    frame = np.full((1080, 1920), 90, np.uint8)
    frame[500 : 500 + small.shape[0], 1500 : 1500 + small.shape[1]] = small
    face = FACE.scaled(0.35, 0.35).moved(1500, 500)
    for shift in (-10, 0, 10):
        box, *_ = finder.detect_near(frame, face.moved(shift, 0), 0.5, is_known=True)
        assert box.overlap(face) > 0.6


def test_a_second_look_decides_with_the_first(portrait: Image) -> None:
    """The portrait, and beside it a thing that the whole picture took for a face."""
    content, card = read_finder(FINDER_FILE)
    network, gray = FaceNetwork(content, card.overlap), to_gray(portrait)
    boxes = np.array([(5, 200, 60, 75), FACE], np.float32)
    first = Found(boxes, np.zeros((2, 5, 2), np.float32), np.array([0.8, 0.5], np.float32))
    found = network.look_again(gray, first)
    assert found.boxes.tolist() == boxes[::-1].tolist()  # the likeliest first
    assert found.scores[0] > 0.6 > 0.3 > found.scores[1]
    nose = found.landmarks[0, 2]
    assert nose[0] == pytest.approx(FACE.centre[0] / 2, abs=10)  # the mean of 0 and where it is
    unlikely = network.look_again(gray, first._replace(scores=np.array([0.24, 0.2], np.float32)))
    assert (unlikely.scores < 0.06).all()  # not worth a second look


def test_a_small_face_of_a_large_frame_is_seen_in_its_own_pixels(portrait: Image) -> None:
    """Of 4 % of the frame's width: 13 pixels where the frame is searched as a whole."""
    frame, small = np.full((720, 1280), 90, np.uint8), cv2.resize(to_gray(portrait), (180, 135))
    frame[300:435, 500:680] = small
    (box,) = FinderDetector().detect(frame)
    assert box.overlap(FACE.scaled(0.375, 0.375).moved(500, 300)) > 0.5


@pytest.mark.parametrize("count", [9, 26])
def test_the_faces_of_a_panorama_are_found(finder: FinderDetector, portrait: Image, count: int) -> None:
    boxes = finder.detect(np.tile(portrait[:300, 110:410], (1, count, 1)))
    assert {round(box.centre[0]) // 300 for box in boxes} == set(range(count))


def test_every_face_of_a_crowd_is_found(portrait: Image) -> None:
    tile = cv2.resize(portrait, (120, 90), interpolation=cv2.INTER_AREA)
    boxes = FinderDetector(max_side=640).detect(np.tile(tile, (9, 9, 1)))
    middles = {(round(box.centre[0]) // 120, round(box.centre[1]) // 90) for box in boxes}
    assert len(middles) == 81


def test_colour_makes_no_difference(finder: FinderDetector, portrait: Image) -> None:
    gray = to_gray(portrait)
    assert finder.detect(portrait) == finder.detect(gray) != []
    assert finder.detect_near(portrait, FACE, 0.5, True) == finder.detect_near(gray, FACE, 0.5, True) != []


def test_a_card_of_other_maps_is_refused(tmp_path: Path) -> None:
    card = json.loads(FINDER_FILE.with_suffix(".json").read_text()) | {"strides": [8, 16]}
    (tmp_path / "finder.tflite").write_bytes(FINDER_FILE.read_bytes())
    (tmp_path / "finder.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"its card says strides \(8, 16\), the file has \(8, 16, 32\)"):
        FinderDetector(tmp_path / "finder.tflite")


def test_it_is_searched_in_one_step(finder: FinderDetector, portrait: Image) -> None:
    assert isinstance(finder, StepwiseDetector)
    assert finder.count_steps((360, 480)) == 1
    assert finder.detect_step(to_gray(portrait), 0) == finder.detect(to_gray(portrait))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (300, 8000), (2000, 3), (33, 65), (360, 480)])
@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_picture_of_one_colour_has_no_face_whatever_its_form(
    finder: FinderDetector, shape: tuple[int, int], level: int
) -> None:
    assert finder.detect(np.full(shape, level, np.uint8)) == []


def test_noise_of_any_form_crashes_nothing(finder: FinderDetector) -> None:
    rng = np.random.default_rng(0)
    for shape in ((7, 500), (97, 31), (320, 320), (1, 1)):
        for box in finder.detect(rng.integers(0, 256, shape).astype(np.uint8)):
            assert box.width >= 1


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((40, 40), np.float32),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((0, 40), np.uint8),
        np.zeros((2, 40, 40, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(finder: FinderDetector, picture: Image) -> None:
    with pytest.raises(ValueError, match=r"^a frame is .*got [^\n]*$"):
        finder.detect(picture)
    with pytest.raises(ValueError, match=r"^a frame is .*got [^\n]*$"):
        finder.detect_near(picture, FACE, 0.3, is_known=True)
    with pytest.raises(ValueError, match=r"^a frame is .*got [^\n]*$"):
        finder.find(picture, 0.5)


def test_a_wrong_number_of_threads_is_no_reason_to_take_haar() -> None:
    with pytest.raises(ValueError, match="num_threads is 0: allowed is 1 or more"):
        open_detector("auto", num_threads=0)


@pytest.mark.parametrize("box", [Box(-500, -500, 90, 90), Box(470, 350, 400, 400), Box(5, 5, 0, 0)])
def test_a_place_beside_the_frame_has_no_face(finder: FinderDetector, portrait: Image, box: Box) -> None:
    assert finder.detect_near(to_gray(portrait), box, 0.3, is_known=True) == []


@pytest.mark.parametrize("options", [{"max_side": 39}, {"min_face": 0}, {"min_face": 1.1}, {"num_threads": 0}])
def test_arguments_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        FinderDetector(**options)  # type: ignore[arg-type]


def test_an_unknown_detector_is_refused_and_not_replaced() -> None:
    with pytest.raises(ValueError, match="unknown detector 'yunett': allowed are auto, finder, haar, yunet"):
        open_detector("yunett")


def test_a_known_face_is_lost_when_it_becomes_clearly_smaller_than_the_smallest(portrait: Image) -> None:
    gray = cv2.resize(to_gray(portrait), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    (box,) = FinderDetector().detect(gray)
    share = box.width / min(gray.shape)
    for min_face, is_found in ((share * 0.9, True), (share * 1.1, True), (share * 1.4, False)):
        assert bool(FinderDetector(min_face=min_face).detect_near(gray, box, 0.3, is_known=True)) == is_found
        assert bool(FinderDetector(min_face=min_face).detect(gray)) == (min_face < share)


def test_a_classifier_is_no_finder() -> None:
    content = (FINDER_FILE.parent / "mien_net_int8.tflite").read_bytes()
    with pytest.raises(ValueError, match="not a face finder: it answers with an array of"):
        TFLiteMaps(content, (96, 96))


def test_a_box_that_was_made_like_any_other_does_not_lean() -> None:
    assert LeaningBox(1, 2, 3, 4).roll_degrees == 0


def test_a_damaged_finder_is_refused_by_its_hash(damaged: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{damaged} is not the file that its card describes \(sha256\)[^\n]*$"):
        open_detector("finder")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"^{damaged} has 1000 bytes, its card says"):
        open_detector("finder")
    damaged.unlink()
    with pytest.raises(FileNotFoundError, match=r"--detector haar$"):
        open_detector("finder")


def test_auto_takes_haar_for_a_damaged_finder_and_says_so_in_log_and_health(
    damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector = open_detector("auto")
    assert isinstance(detector, HaarDetector)
    assert f"haar finds the faces, for the face finder cannot: {damaged} is not the file" in caplog.text
    health = Health()
    with open_source("demo") as source:
        Recognition(source, EmotionRecognizer(detector=detector), health).stop()
    told = health.to_dict()
    assert told["detector"] == "haar"
    assert str(damaged) in told["detector_problem"]


def test_auto_takes_the_finder_and_has_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    detectors = [open_detector(name, for_stills=stills) for name in ("auto", "finder") for stills in (False, True)]
    assert {type(detector) for detector in detectors} == {FinderDetector}
    assert {detector.problem for detector in detectors if isinstance(detector, FinderDetector)} == {""}
    assert caplog.text == ""
    assert isinstance(open_detector("haar"), HaarDetector)


def test_the_finder_is_listed_and_is_no_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    assert "finder_int8" not in model_names()
    assert main(["models"]) == 0
    assert "finder: " in capsys.readouterr().out
    assert main(["run", "--source", "demo", "--model", "finder_int8"]) == 2
    assert "unknown model 'finder_int8'" in capsys.readouterr().err


def test_the_card_says_what_the_issue_of_a_finder_needs() -> None:
    card = read_finder_card(FINDER_FILE.with_suffix(".json"))
    assert card.size_bytes <= 250_000
    assert card.strides == (8, 16, 32)
    assert card.known_threshold <= card.score_threshold
    with pytest.raises(ValueError, match="is not a face finder's card"):
        read_finder_card(FINDER_FILE.with_name("mien_net_int8.json"))


def test_json_keeps_boxes_of_four_numbers(portrait: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "leaning.png"), leaning(portrait, 30))
    assert main(["image", str(tmp_path / "leaning.png"), "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert len(face["box"]) == 4
    assert all(isinstance(number, int) for number in face["box"])


def test_a_profile_leans_by_the_line_from_its_eyes_to_its_mouth() -> None:
    # Both eyes in one place: the way to the mouth alone tells that the head leans by 30 degrees, clockwise.
    down = np.array([-np.sin(np.radians(30)), np.cos(np.radians(30))])
    eyes, mouth = np.array([50.0, 40]), np.array([50.0, 40]) + 20 * down
    landmarks = np.stack([eyes, eyes, eyes + 10 * down, mouth, mouth])[None].astype(np.float32)
    found = Found(np.array([[30, 30, 40, 50]], np.float32), landmarks, np.array([0.9], np.float32))
    _, rolls = frame(found, Framing(1.0, 0.1))
    assert rolls[0] == pytest.approx(30, abs=0.1)


def test_faces_of_the_photographs_are_found(media: Path) -> None:
    detector = FinderDetector()
    found = count_found(detector, media)
    files = sorted((media / "no_faces").glob("*.jpg"))
    false = sum(len(detector.detect(to_gray(cv2.imread(str(file))))) for file in files)
    print("found", {kind: f"{sum(faces)} of {len(faces)}" for kind, faces in found.items()}, f"{false} false boxes")
    assert np.mean(found["plain"]) >= 0.96
    assert np.mean(found["spectacles"]) >= 0.93
    assert np.mean(found["hard"]) >= 0.6
    assert false <= 3


def test_a_face_is_followed_in_nearly_every_frame(media: Path) -> None:
    model = media / "models" / "face_detection_yunet_2023mar.onnx"
    if not model.exists():
        pytest.skip(f"no {model}: the clips are judged by it")
    with_face = followed = 0
    for clip in CLIPS:
        recognizer, ids = EmotionRecognizer(), set()
        with open_source(str(media / "clips" / clip)) as source:
            for frame in source:
                faces = recognizer.recognize(frame.image, frame.time_s)
                truth = find_with_yunet(model, frame.image)
                with_face += bool(truth)
                followed += any(box.has_inside(*face.box.centre) for box in truth for face in faces)
                ids |= {face.track_id for face in faces}
        assert len(ids) <= 3, clip
    print(f"{followed} of {with_face} frames followed")
    assert followed / with_face >= 0.99


def test_bottles_are_no_faces(media: Path) -> None:
    recognizer = EmotionRecognizer()
    with open_source(str(media / "clips" / "bottles_no_face.mp4")) as source:
        assert sum(len(recognizer.recognize(frame.image, frame.time_s)) for frame in source) <= 3
