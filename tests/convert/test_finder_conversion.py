"""A face finder becomes two files with cards, proven in every runtime; or nothing is written."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from convert.__main__ import main
from convert.finder.framing import fit_framing, place_images
from convert.finder.thresholds import false_scores
from mien.face_maps import Found
from mien.finder_card import read_finder
from tests.faces_folder import write_photographs

pytestmark = pytest.mark.tensorflow


def write_run(folder: Path, seed: int = 0) -> Path:
    """Write a run with a tiny network of the finder's form, which knows nothing."""
    keras.utils.set_random_seed(seed)
    image = x = keras.Input((None, None, 1), name="image")
    x = layers.Rescaling(1 / 255)(x)
    outputs = {}
    for stride in (2, 4, 8, 16, 32):
        x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
        if stride >= 8:
            outputs[f"scores{stride}"] = layers.Conv2D(1, 1, name=f"scores{stride}")(x)
            outputs[f"geometry{stride}"] = layers.Conv2D(14, 1, name=f"geometry{stride}")(x)
    folder.mkdir(parents=True)
    keras.Model(image, outputs, name="finder").save(folder / "model.keras")
    (folder / "run.json").write_text(json.dumps({"model": "finder", "seed": seed, "start": "/home/me/old/model.keras"}))
    return folder


def write_framing(folder: Path) -> None:
    """Write a card that has nothing but a framing in it that is of use."""
    card = {
        "name": "finder_int8", "version": "0", "description": "", "date": "", "licence": "", "sha256": "",
        "size_bytes": 1,
        "input": {"shape": [1, 256, 320, 1], "dtype": "int8", "scale": 1.0, "zero_point": -128}, "strides": [8, 16, 32],
        "score_threshold": 0.5, "known_threshold": 0.3, "overlap": 0.4, "framing": {"side": 1.1, "rise": 0.05},
    }  # fmt: skip
    (folder / "finder_int8.json").write_text(json.dumps(card))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("data") / "faces", 120)


def test_a_run_becomes_two_proven_files(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    write_framing(run)
    command = ["--data", str(photographs), str(run), "--calibration-size", "8", "--licence", "MIT", "--max-drop", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "finder_int8.tflite" in printed and "conversion.md" in printed
    for variant in ("int8", "float32"):
        _, card = read_finder(run / f"finder_{variant}.tflite")
        assert card.name == f"finder_{variant}"
        assert card.input.dtype == variant
        assert card.strides == (8, 16, 32)
        assert card.licence == "MIT"
        assert (card.framing.side, card.framing.rise) == (1.1, 0.05)
        assert card.known_threshold <= card.score_threshold
        assert "ai-edge-litert" in card.runtimes
        assert card.made["training"] == {"model": "finder", "seed": 0, "start": "model.keras"}
    _, card = read_finder(run / "finder_int8.tflite")
    assert (card.input.scale, card.input.zero_point) == (1.0, -128)
    assert card.made["calibration"]["photographs"] == 8
    report = (run / "conversion.md").read_text()
    assert "average precision" in report and "validation photographs" in report


def test_what_loses_too_much_is_not_written(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    write_framing(run)
    before = (run / "finder_int8.json").read_text()
    precisions = iter((0.9, 0.9, 0.85, 0.85))
    monkeypatch.setattr("convert.finder.conversion.average_precision", lambda *_: next(precisions))
    assert main([str(run), "--data", str(photographs), "--calibration-size", "8"]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: finder_int8 loses 0.0") and "allowed is 0.01" in error and "\n" not in error
    assert not list(run.glob("*.tflite"))
    assert (run / "finder_int8.json").read_text() == before


def test_without_crops_and_card_the_framing_is_asked_for(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    assert main([str(run), "--data", str(photographs)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: the framing is not known: give --crops fer2013.csv") and "\n" not in error


def test_missing_data_and_wrong_models_are_told_in_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    write_framing(run)
    assert main([str(run), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: no faces.csv in")
    assert main([str(run), "--data", str(photographs), "--calibration-size", "100000"]) == 1
    assert capsys.readouterr().err.startswith("error: --calibration-size 100000: allowed is 1 to")
    plain = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    plain.name = "finder"
    plain.save(run / "model.keras")
    assert main([str(run), "--data", str(photographs)]) == 1
    assert "is not a face finder" in capsys.readouterr().err


def test_the_framing_is_what_brings_boxes_onto_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    placed = place_images(images, seed=1)
    found = []
    for left, top, side in placed.squares:
        # A box of four fifths of the image, low in it, whose face has its middle a tenth of that below the image's.
        size, x, y = 0.8 * side, left + side / 2, top + side / 2 + 0.08 * side
        marks = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.2, 0.2], [0.2, 0.2]]) * size + (x, y)
        box = np.array([[x - size / 2, y - size / 2, size, size]], np.float32)
        found.append(Found(box, marks[None].astype(np.float32), np.array([0.9], np.float32)))
    fit = fit_framing(found, placed)
    assert fit.framing.side == pytest.approx(1 / 0.8, abs=0.01)
    assert fit.framing.rise == pytest.approx(0.1, abs=0.01)
    assert fit.found == 1
    assert fit.centre_errors[1] < 0.01


def test_all_boxes_on_pictures_without_faces_count_as_false() -> None:
    nothing = Found(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0, 5, 2), (0,))))
    two = Found(np.ones((2, 4), np.float32), np.ones((2, 5, 2), np.float32), np.array([0.3, 0.7], np.float32))
    scores = false_scores([two, two, nothing], np.array([True, False, True]))
    assert scores.tolist() == pytest.approx([0.7, 0.3])
