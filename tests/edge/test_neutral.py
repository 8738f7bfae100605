"""Neutral calibration: a face that looks happy all day is neutral afterwards, on this camera and with this model."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.cli import main
from mien.emotions import EMOTIONS
from mien.faces import Box, Face, FrameResult, Image
from mien.files import data_dir
from mien.neutral import measure, watch_neutral_face
from mien.recognizer import EmotionRecognizer
from mien.sources import DEMO_CLIP

NEUTRAL = EMOTIONS.index("neutral")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


def probabilities(**values: float) -> np.ndarray:
    """Return (1, 7) probabilities; what is not named shares the rest."""
    rest = (1 - sum(values.values())) / (len(EMOTIONS) - len(values))
    return np.array([[values.get(name, rest) for name in EMOTIONS]], np.float32)


def test_a_face_that_looks_sad_when_it_shows_nothing_is_neutral_and_others_stay_as_they_are() -> None:
    card = EmotionRecognizer().classifier.card
    calibration = measure(probabilities(sad=0.6, neutral=0.3), card)
    assert calibration.apply(probabilities(sad=0.6, neutral=0.3)).argmax() == NEUTRAL
    for name in set(EMOTIONS) - {"sad"}:
        assert calibration.apply(probabilities(**{name: 0.6})).argmax() == EMOTIONS.index(name)
    # Real sadness is more than the everyday look of it.
    assert calibration.apply(probabilities(sad=0.95)).argmax() == EMOTIONS.index("sad")
    np.testing.assert_allclose(calibration.apply(probabilities(sad=0.6)).sum(), 1, rtol=1e-6)


def test_a_face_that_is_seen_as_neutral_needs_no_correction() -> None:
    calibration = measure(probabilities(neutral=0.9), EmotionRecognizer().classifier.card)
    assert set(calibration.offsets.values()) == {0.0}


def run_demo(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the face of the demo shows in its first two seconds."""
    capsys.readouterr()
    assert main(["run", "--source", "demo", "--output", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [face["emotion"] for line in lines[:50] for face in line["faces"]]


def test_a_calibrated_camera_stays_so_until_it_is_told_to_forget(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(capsys) == ["happy"] * 50
    assert main(["calibrate", "--source", "demo"]) == 0
    output = capsys.readouterr().out
    assert "Look at the camera for 5 seconds" in output
    assert "seen:      happy 9" in output
    assert "corrected: neutral " in output
    assert str(DEMO_CLIP) in output
    assert run_demo(capsys) == ["neutral"] * 50
    frames = mien.stream("demo")
    assert next(frames).faces[0].emotion == "neutral"
    frames.close()  # type: ignore[attr-defined]
    assert main(["calibrate", "--source", "demo", "--forget"]) == 0
    assert run_demo(capsys) == ["happy"] * 50


def test_another_model_and_another_camera_are_not_corrected(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert main(["calibrate", "--source", "demo"]) == 0
    assert main(["run", "--source", "demo", "--model", "cnn_int8"]) == 0
    assert "was measured with another model: run `mien calibrate` again" in caplog.text
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(DEMO_CLIP.read_bytes())
    capsys.readouterr()
    assert main(["run", "--source", str(copy)]) == 0
    assert "happy" in capsys.readouterr().out.splitlines()[0]


def watched(*lengths: tuple[float, bool]) -> Iterator[tuple[Image, FrameResult]]:
    """Yield ten frames a second, with a face or without one, for so many seconds each."""
    answer, number = probabilities(sad=0.7)[0], 0
    for seconds, has_face in lengths:
        for _ in range(round(10 * seconds)):
            faces = [Face(Box(0, 0, 50, 50), answer, 1, instant=answer)] if has_face else []
            yield np.zeros((60, 80, 3), np.uint8), FrameResult(number / 10, number, faces)
            number += 1


def test_the_face_may_come_late_and_blink_away() -> None:
    told: list[float] = []
    answers = watch_neutral_face(watched((4, False), (2, True), (0.5, False), (9, True)), told.append)
    assert len(answers) == 46
    assert told[-1] == pytest.approx(5)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([(40, False)], r"no face was seen: "),
        ([(3, True)], r"one face was seen in 100% of 2\.9 s: "),
        ([(2, True), (2, False), (2, True)], r"one face was seen in 61% of 5\.0 s: "),
        ([], r"no face was seen: "),
    ],
)
def test_without_a_face_for_long_enough_nothing_is_learnt(lengths: list[tuple[float, bool]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        watch_neutral_face(watched(*lengths), lambda _: None)


def keep(offset: object = -1.0, name: str = "kitchen") -> Path:
    """Write a calibration of a camera; return its file."""
    path = data_dir() / "neutral.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"sha256": "0", "date": "2025-01-01", "offsets": dict.fromkeys(EMOTIONS, 0.0) | {"sad": offset}}
    path.write_text(json.dumps({name: entry}))
    return path


@pytest.mark.parametrize("offset", [None, "low", float("nan"), float("-inf"), 0.5, [-1.0]])
def test_offsets_that_are_no_numbers_of_0_or_less_are_refused(
    capsys: pytest.CaptureFixture[str], offset: object
) -> None:
    path = keep(offset)
    assert main(["run", "--source", "demo"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} is damaged (")
    assert len(error.splitlines()) == 1


def test_a_damaged_file_is_named_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    path = data_dir() / "neutral.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"camera": {}}')
    assert main(["run", "--source", "demo"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path} is damaged (")
    assert path.read_text() == '{"camera": {}}'


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("kitchen", "kitchen"),
        ("/dev/v4l/by-path/gone", "/dev/v4l/by-path/gone"),
        ("rtsp://***@door.invalid/1", "rtsp://me:12345@door.invalid/1"),
        ("rtsp://***@door.invalid/1", "rtsp://***@door.invalid/1"),
    ],
)
def test_a_camera_that_is_gone_is_forgotten_by_its_name(
    capsys: pytest.CaptureFixture[str], name: str, source: str
) -> None:
    path = keep(name=name)
    assert main(["calibrate", "--forget", "--source", source]) == 0
    assert capsys.readouterr().out == f"forgot the neutral face of {name}\n"
    assert json.loads(path.read_text()) == {}


def test_a_camera_that_is_not_here_is_told_with_the_names_that_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    path = keep()
    before = path.read_text()
    assert main(["calibrate", "--forget", "--source", "/dev/video97"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: there is no camera at /dev/video97")
    assert error.endswith("; kept are kitchen: --source with such a name needs no camera\n")
    assert path.read_text() == before


def test_nothing_is_forgotten_where_nothing_was_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--forget", "--source", "/dev/video97"]) == 0
    assert capsys.readouterr().out == "nothing to forget: no camera has a neutral face\n"
    keep()
    assert main(["calibrate", "--forget", "--source", "demo"]) == 0
    assert capsys.readouterr().out == f"nothing to forget for {DEMO_CLIP}: kept are kitchen\n"
