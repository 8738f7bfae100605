"""A trained model becomes TFLite files that run, with true cards; or nothing is written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, make_data, require_module, write_csv

keras = require_module("keras")
require_module("tensorflow")

from convert.calibration import draw_calibration
from convert.conversion import convert
from mien import EmotionClassifier
from mien.card import read_card
from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013, load_fer2013

pytestmark = pytest.mark.tensorflow


def build_network(outputs: int = 7) -> object:
    """Build a small network of the CNN's kinds of layers, with weights as training leaves them."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(outputs, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=2)),
        ],
        name="small",
    )


@pytest.fixture(scope="module")
def data() -> Fer2013:
    return make_data(per_class=20)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, data: Fer2013) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_network().save(folder / "model.keras")  # type: ignore[attr-defined]
    (folder / "run.json").write_text('{"epochs": 1}')
    convert(folder / "model.keras", draw_calibration(data, 70, seed=0), data.images[:50], folder)
    return folder


def test_every_variant_comes_with_its_card_and_nothing_else(converted: Path) -> None:
    names = {f"small_{variant}.{suffix}" for variant in ("float32", "int8") for suffix in ("tflite", "json")}
    assert {file.name for file in converted.iterdir()} == names | {"model.keras", "run.json"}


def test_tflite_gives_what_keras_gives(converted: Path, data: Fer2013) -> None:
    images = data.images[:50]
    model = keras.saving.load_model(converted / "model.keras")
    expected = model.predict(images[..., np.newaxis].astype(np.float32), verbose=0)
    float32 = EmotionClassifier(converted / "small_float32.tflite").predict(images)
    int8 = EmotionClassifier(converted / "small_int8.tflite").predict(images)
    np.testing.assert_allclose(float32, expected, atol=1e-4)  # float32 sums in another order
    # Weights and activations have 8 bits: each probability within five steps of 1/256.
    np.testing.assert_allclose(int8, expected, atol=5 / 256)


def test_the_card_says_how_the_model_came_about(converted: Path, data: Fer2013) -> None:
    card = read_card(converted / "small_int8.json")
    assert (card.name, card.input_type, card.crop_margin) == ("small_int8", "int8", 0.0)
    assert card.made["calibration"]["images"] == 70
    assert card.made["calibration"]["rows_sha256"] == draw_calibration(data, 70, seed=0).sha256
    assert card.made["training"] == {"epochs": 1}


def test_the_card_gets_a_temperature_and_thresholds_from_validation_images(tmp_path: Path, data: Fer2013) -> None:
    build_network().save(tmp_path / "model.keras")  # type: ignore[attr-defined]
    convert(tmp_path / "model.keras", draw_calibration(data, 70, seed=0), data.images[:7], tmp_path, data.test)
    for variant in ("float32", "int8"):
        model = tmp_path / f"small_{variant}.tflite"
        card = read_card(model.with_suffix(".json"))
        assert card.temperature > 1.5  # random weights of that size are far too confident
        assert list(card.thresholds) == list(EMOTIONS)
        answers = EmotionClassifier(model).predict(data.images[:5])
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_calibration_that_misses_black_or_white_is_refused(tmp_path: Path, data: Fer2013) -> None:
    build_network().save(tmp_path / "model.keras")  # type: ignore[attr-defined]
    gray = Fer2013(data.images // 2, data.labels, data.usages)
    with pytest.raises(ValueError, match="do not reach from black"):
        convert(tmp_path / "model.keras", draw_calibration(gray, 70, seed=0), data.images[:7], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_a_file_that_disagrees_with_keras_is_refused(
    tmp_path: Path, data: Fer2013, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_network().save(tmp_path / "model.keras")  # type: ignore[attr-defined]
    monkeypatch.setattr(EmotionClassifier, "predict", lambda self, faces: np.eye(7)[np.arange(len(faces)) % 7])
    with pytest.raises(ValueError, match=r"differs from Keras by 0\.\d\d in probability on 50 images"):
        convert(tmp_path / "model.keras", draw_calibration(data, 70, seed=0), data.images[:50], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: None, "is not a Keras model"),
        (lambda file: file.write_text("text"), "is not a Keras model"),
        (lambda file: build_network(outputs=8).save(file), r"allowed is \(48, 48, 1\) to \(7,\)"),  # type: ignore[attr-defined]
    ],
)
def test_what_is_no_model_of_ours_is_refused(tmp_path: Path, data: Fer2013, make: object, message: str) -> None:
    file = tmp_path / "model.keras"
    make(file)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        convert(file, draw_calibration(data, 70, seed=0), data.images[:7], tmp_path)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convert", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def test_the_command_says_what_it_wrote(tmp_path: Path, data: Fer2013) -> None:
    build_network().save(tmp_path / "model.keras")  # type: ignore[attr-defined]
    table = write_csv(data, tmp_path / "fer2013.csv")
    result = run_command(str(tmp_path), "--data", str(table), "--calibration-size", "70", "--out", str(tmp_path / "o"))
    assert result.returncode == 0, result.stderr
    note, *lines = result.stdout.splitlines()
    assert note.startswith("note: no run on these data beside")
    assert [line.split(":")[0] for line in lines] == [
        str(tmp_path / f"o/small_{v}.tflite") for v in ("float32", "int8")
    ]
    assert "agrees with Keras on 100.0% of 70 Training images" in lines[0]
    assert read_card(tmp_path / "o/small_int8.json").temperature == 1
    run = {"seed": 0, "validation_share": 0.5, "data_sha256": load_fer2013(table).sha256}
    (tmp_path / "run.json").write_text(json.dumps(run))
    result = run_command(str(tmp_path), "--data", str(table), "--calibration-size", "70")
    assert result.returncode == 0, result.stderr
    card = read_card(tmp_path / "small_int8.json")
    assert result.stdout.splitlines()[-1].startswith(f"  temperature {card.temperature}: calibration error 0.")
    assert card.made["confidence"]["images"] == 70


@pytest.mark.parametrize(
    ("model", "data_path", "message"),
    [("no/run", "x.csv", "error: no model at no/run"), ("README.md", "x.csv", "error: no data at x.csv")],
)
def test_a_mistake_gets_one_line(model: str, data_path: str, message: str) -> None:
    result = run_command(model, "--data", data_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(message)
