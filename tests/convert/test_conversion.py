"""A trained model becomes TFLite files that are proven, with true cards; or nothing is written."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import REPOSITORY, make_data, require_module, write_csv

keras = require_module("keras")
require_module("tensorflow")
require_module("litert_quantizer")
jsonschema = require_module("jsonschema")

import convert.conversion
from convert.calibration import draw_calibration
from convert.confidence import validation_rows
from convert.conversion import Conversion
from convert.flatbuffer import read_graph
from convert.keras_model import load
from convert.pictures import Pictures, from_faces, load_pictures
from convert.runtimes import find_runtimes
from convert.settings import VARIANTS, Settings
from mien import EmotionClassifier
from mien.card import read_card
from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013, load_fer2013
from mien.interpreter import TFLiteModel

pytestmark = pytest.mark.tensorflow

SCHEMA = json.loads((REPOSITORY / "edge/mien/card.schema.json").read_text())
OUTLIER = 3000.0


@dataclass
class Silence:
    """Somebody who does not look at the progress, but counts."""

    expected: int = 0
    done: int = 0

    def stage(self, name: str) -> None:
        """Hear of a step."""

    def expect(self, images: int) -> None:
        """Hear how many images there are."""
        self.expected = images

    def advance(self, images: int) -> None:
        """Hear that some are done."""
        self.done += images


def build_network(
    shape: tuple[int, int, int] = (48, 48, 1), outputs: int = 7, activation: str = "softmax", has_outlier: bool = False
) -> Any:
    """Build a small network of the CNN's kinds of layers, with weights as training leaves them.

    With an outlier, one channel of the layer "hidden" is thousands of times larger than all others, and the
    next layer makes up for it: int8 has one scale for both, and none of the others is left.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, padding="same", name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(outputs, activation=activation, name="last"),
        ],
        name="small",
    )
    hidden, bias = network.get_layer("hidden").get_weights()
    last, last_bias = network.get_layer("last").get_weights()
    rng = np.random.default_rng(0)
    hidden, bias = rng.normal(0, 6, hidden.shape), rng.uniform(0, 1, bias.shape)
    last = rng.normal(0, 2, last.shape)
    if has_outlier:
        hidden[:, 0], bias[0], last[0] = 0, OUTLIER, 0
    network.get_layer("hidden").set_weights([hidden, bias])
    network.get_layer("last").set_weights([last, last_bias])
    return network


def run_convert(
    folder: Path,
    pictures: Pictures,
    settings: Settings | None = None,
    out: Path | None = None,
    size: int = 70,
    progress: Silence | None = None,
) -> Conversion:
    """Convert the model in a folder."""
    file = folder / "model.keras"
    calibration = draw_calibration(pictures, size, seed=0, validation=validation_rows(folder, pictures))
    out = out or folder
    return convert.conversion.convert(
        load(file), file, pictures, calibration, settings or Settings(), out, progress or Silence()
    )


@pytest.fixture(autouse=True, scope="module")
def quick_timing() -> Iterator[None]:
    """Spare a second for each file and runtime: nobody reads these latencies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convert.proof.LATENCY_SECONDS", 0.02)
        yield


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(scope="module")
def data() -> Fer2013:
    return make_data(per_class=30)


@pytest.fixture(scope="module")
def pictures(data: Fer2013) -> Pictures:
    return from_faces(data)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, data: Fer2013) -> Callable[..., Path]:
    """Return what makes a run's folder: the model, and what training writes beside it."""

    def make(**options: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        build_network(**options).save(folder / "model.keras")
        run = {"seed": 0, "validation_share": 0.4, "data_sha256": data.sha256, "epochs": 1}
        (folder / "run.json").write_text(json.dumps(run))
        return folder

    return make


@pytest.fixture(scope="module")
def converted(run_of: Callable[..., Path], pictures: Pictures) -> tuple[Path, Conversion]:
    folder = run_of()
    return folder, run_convert(folder, pictures, Settings(VARIANTS, licence="MIT"))


def test_every_variant_comes_with_its_card_and_nothing_else(converted: tuple[Path, Conversion]) -> None:
    names = {f"small_{variant}.{suffix}" for variant in VARIANTS for suffix in ("tflite", "json")}
    assert set(names_in(converted[0])) == names | {"model.keras", "run.json"}


def test_every_file_was_run_in_every_installed_runtime(converted: tuple[Path, Conversion]) -> None:
    runtimes = find_runtimes()
    assert "ai-edge-litert" in runtimes
    if os.environ.get("MIEN_NO_SKIP") and sys.version_info < (3, 12):
        assert "tflite-runtime" in runtimes  # script/setup makes its environment
    for variant in VARIANTS:
        card = read_card(converted[0] / f"small_{variant}.json")
        assert set(card.runtimes) == set(runtimes)
        assert card.runtimes["ai-edge-litert"][0].isdigit()
        for runtime in runtimes:
            assert card.metrics["validation"][runtime]["images"] > 20


def test_tflite_gives_what_keras_gives(converted: tuple[Path, Conversion], data: Fer2013) -> None:
    images = data.images[:50]
    model = keras.saving.load_model(converted[0] / "model.keras")
    expected = model.predict(images[..., np.newaxis].astype(np.float32), verbose=0)
    tolerances = {
        "float32": 1e-4,  # sums in another order
        "float16": 5e-3,  # weights of 11 bits through two layers and a softmax
        # Weights and activations have 8 bits: each probability within five steps of 1/256.
        "dynamic": 5 / 256,
        "int8": 5 / 256,
        "int16x8": 5 / 256,
    }
    for variant in VARIANTS:
        content = (converted[0] / f"small_{variant}.tflite").read_bytes()
        found = TFLiteModel(content).predict(images[..., np.newaxis])
        np.testing.assert_allclose(found, expected, atol=tolerances[variant], err_msg=variant)


def test_int8_is_integer_throughout_and_exact_at_its_ends(converted: tuple[Path, Conversion]) -> None:
    graph = read_graph((converted[0] / "small_int8.tflite").read_bytes())
    assert {tensor.type for tensor in graph.tensors} == {"INT8", "INT32"}
    for operator in graph.operators:
        if operator.name in ("CONV_2D", "FULLY_CONNECTED"):
            weights = graph.tensors[operator.inputs[1]]
            assert len(weights.scales) == weights.shape[0]  # one a channel
    source, answer = (graph.tensors[numbers[0]] for numbers in (graph.inputs, graph.outputs))
    assert (float(source.scales[0]), source.zero_point) == (1.0, -128)
    assert (float(answer.scales[0]), answer.zero_point) == (1 / 256, -128)
    card = read_card(converted[0] / "small_int8.json")
    assert (card.input.shape, card.input.dtype, card.input.scale, card.input.zero_point) == (
        (1, 48, 48, 1),
        "int8",
        1.0,
        -128,
    )


def test_the_card_says_all_and_keeps_to_its_schema(converted: tuple[Path, Conversion]) -> None:
    for variant in VARIANTS:
        jsonschema.validate(json.loads((converted[0] / f"small_{variant}.json").read_text()), SCHEMA)
    card = read_card(converted[0] / "small_int8.json")
    assert (card.name, card.crop_margin, card.labels, card.licence) == ("small_int8", 0.0, EMOTIONS, "MIT")
    assert card.made["calibration"] == {
        "data": "FER2013, Training images only",
        "images": 70,
        "seed": 0,
        "rows_sha256": converted[1].calibration.sha256,
        "method": "min-max",
    }
    assert "calibration" not in read_card(converted[0] / "small_float16.json").made
    assert card.made["training"]["epochs"] == 1
    assert 0 < card.metrics["validation"]["ai-edge-litert"]["interval_95"] < 0.2


def test_temperature_and_thresholds_come_from_the_runs_validation_images(
    converted: tuple[Path, Conversion], data: Fer2013
) -> None:
    card = read_card(converted[0] / "small_int8.json")
    assert card.temperature > 1.5  # random weights of that size are far too confident
    assert list(card.thresholds) == list(EMOTIONS)
    answers = EmotionClassifier(converted[0] / "small_int8.tflite").predict(data.images[:5])
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_ranges_are_never_measured_on_the_images_that_are_validated(
    converted: tuple[Path, Conversion], pictures: Pictures
) -> None:
    seen = {image.tobytes() for image in converted[1].calibration.images}
    validated = {image.tobytes() for image in converted[1].images}
    assert len(validated) > 50
    assert not seen & validated


def test_the_same_model_gives_the_same_bytes(
    converted: tuple[Path, Conversion], pictures: Pictures, tmp_path: Path
) -> None:
    run_convert(converted[0], pictures, Settings(("int8", "dynamic")), out=tmp_path)
    for name in ("small_int8.tflite", "small_dynamic.tflite"):
        assert (tmp_path / name).read_bytes() == (converted[0] / name).read_bytes()


def test_without_a_run_confidences_stay_as_they_are(tmp_path: Path, pictures: Pictures) -> None:
    build_network().save(tmp_path / "model.keras")
    conversion = run_convert(tmp_path, pictures, Settings(("int8",)))
    card = read_card(tmp_path / "small_int8.json")
    assert not conversion.is_own_validation
    assert (card.temperature, card.thresholds, card.licence) == (1.0, {}, "")


def test_a_conversion_past_the_gate_writes_nothing(run_of: Callable[..., Path], pictures: Pictures) -> None:
    folder = run_of(has_outlier=True)
    conversion = run_convert(folder, pictures, Settings(("float32", "int8")))
    assert "small_int8" in conversion.refused
    assert names_in(folder) == ["model.keras", "run.json"]


def test_a_variant_that_cannot_be_made_is_reported_and_the_others_are_written(
    tmp_path: Path, pictures: Pictures
) -> None:
    image = keras.Input((48, 48, 1))
    flat = keras.ops.sin(keras.layers.GlobalAveragePooling2D()(image / 255))  # int8 has none
    keras.Model(image, keras.layers.Dense(7, activation="softmax")(flat), name="odd").save(tmp_path / "model.keras")
    conversion = run_convert(tmp_path, pictures, Settings(("float32", "int8")))
    assert "tensors stayed float" in conversion.variants[1].failures["conversion"]
    assert conversion.refused == ""
    assert names_in(tmp_path) == ["model.keras", "odd_float32.json", "odd_float32.tflite"]


def test_a_layer_that_is_kept_in_float_saves_the_rest(run_of: Callable[..., Path], pictures: Pictures) -> None:
    folder = run_of(has_outlier=True)
    settings = Settings(("int8",), keep_float=("hidden", "last"), max_drop=2)
    conversion = run_convert(folder, pictures, settings)
    assert conversion.refused == ""
    (variant,) = conversion.variants
    assert variant.float_operators["FULLY_CONNECTED"] == 2
    assert "CONV_2D" not in variant.float_operators
    assert read_card(folder / "small_int8.json").made["kept_float"] == ["hidden", "last"]


def test_a_layer_that_does_not_exist_is_named(run_of: Callable[..., Path], pictures: Pictures) -> None:
    with pytest.raises(ValueError, match=r"no operator comes from a layer 'second': allowed are first, .*hidden, last"):
        run_convert(run_of(), pictures, Settings(("int8",), keep_float=("second",)))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'unknown operator' >&2; exit 1", "unknown operator"),
        ("kill -SEGV $$", "it crashed with signal 11"),
    ],
)
def test_a_file_that_a_runtime_cannot_run_is_reported_and_not_written(
    run_of: Callable[..., Path],
    pictures: Pictures,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    reason: str,
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *dynamic*) {script};; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(convert.conversion, "find_runtimes", lambda: {"ai-edge-litert": python})
    folder = run_of()
    conversion = run_convert(folder, pictures, Settings(("dynamic", "int8")))
    assert conversion.variants[0].failures == {"ai-edge-litert": reason}
    assert names_in(folder) == ["model.keras", "run.json", "small_int8.json", "small_int8.tflite"]
    conversion = run_convert(folder, pictures, Settings(("dynamic",)))
    assert conversion.refused == f"no variant passes its proof, small_dynamic not in ai-edge-litert: {reason}"


def test_a_classifier_of_another_size_and_other_classes_converts_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog", "eel")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for image in range(12):
            picture = rng.integers(0, 80 * (number + 1), (50, 70, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "data" / name / f"{image}.png"), picture)
    build_network((32, 40, 3), outputs=3).save(tmp_path / "model.keras")
    pictures = load_pictures(tmp_path / "data", (32, 40, 3), 3)
    run_convert(tmp_path, pictures, Settings(("float32", "int8"), max_drop=100), size=15)
    card = read_card(tmp_path / "small_int8.json")
    assert (card.labels, card.input.shape) == (("cat", "dog", "eel"), (1, 32, 40, 3))
    images = pictures.read(np.arange(5))
    float32, int8 = (
        TFLiteModel((tmp_path / f"small_{name}.tflite").read_bytes()).predict(images) for name in ("float32", "int8")
    )
    np.testing.assert_allclose(int8, float32, atol=10 / 256)  # 8 bits in each of four steps; random weights
    with pytest.raises(ValueError, match="sorts pictures of 32x40x3 into cat, dog, eel; allowed here are faces"):
        EmotionClassifier(tmp_path / "small_int8.tflite")


def save_two_inputs(file: Path) -> None:
    inputs = [keras.Input((48, 48, 1)), keras.Input((48, 48, 1))]
    flat = keras.layers.Flatten()(keras.layers.Add()(inputs))
    keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(flat)).save(file)


def save_with_nan(file: Path) -> None:
    network = build_network()
    weights = network.get_layer("hidden").get_weights()
    weights[0][0, 0] = np.nan
    network.get_layer("hidden").set_weights(weights)
    network.save(file)


def save_with_unknown_operator(file: Path) -> None:
    image = keras.Input((48, 48, 1))
    flat = keras.layers.GlobalAveragePooling2D()(keras.ops.erfinv(image / 256))
    keras.Model(image, keras.layers.Dense(7, activation="softmax")(flat), name="odd").save(file)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda file: None, "no model at"),
        (lambda file: file.write_text("text"), "is not a Keras model"),
        (lambda file: build_network(shape=(48, 48, 2)).save(file), r"maps \(48, 48, 2\) to \(7,\): allowed is"),
        (save_two_inputs, "has 2 inputs and 1 outputs: allowed is one of each"),
        (save_with_nan, r"hidden/kernel holds values that are no numbers \(NaN\): train it again"),
        (save_with_unknown_operator, "odd cannot be converted: TFLite has no operator for Erfinv"),
        (lambda file: build_network(activation="linear").save(file), "does not answer with probabilities"),
    ],
)
def test_a_model_that_cannot_be_converted_is_refused_in_one_line(
    tmp_path: Path, pictures: Pictures, save: Callable[[Path], Any], message: str
) -> None:
    save(tmp_path / "model.keras")
    before = names_in(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        run_convert(tmp_path, pictures, Settings(("int8",)))
    assert len(str(caught.value).splitlines()) == 1
    assert names_in(tmp_path) == before


def test_a_model_within_the_model_and_named_ends_are_understood(tmp_path: Path, pictures: Pictures) -> None:
    layers = keras.layers
    backbone = keras.Sequential([keras.Input((48, 48, 1)), layers.Conv2D(4, 3, name="deep")], name="backbone")
    image = keras.Input((48, 48, 1), name="image")
    pooled = layers.GlobalAveragePooling2D()(backbone(layers.Rescaling(1 / 255)(image)))
    answer = layers.Dense(7, activation="softmax", name="last")(pooled)
    keras.Model({"image": image}, {"answer": answer}, name="nested").save(tmp_path / "model.keras")
    for layer in ("deep", "backbone"):
        (variant,) = run_convert(tmp_path, pictures, Settings(("int8",), keep_float=(layer,))).variants
        assert variant.float_operators == {"CONV_2D": 1}


def test_the_old_h5_is_read(tmp_path: Path) -> None:
    build_network().save(tmp_path / "model.h5")
    assert load(tmp_path / "model.h5").name == "small"


def start_command(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "convert", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    with start_command(*arguments) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def told(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of stderr, but for the warning that these data are small."""
    return [line for line in result.stderr.splitlines() if "is it cut off?" not in line]


def test_the_command_compares_what_it_wrote(run_of: Callable[..., Path], data: Fer2013, tmp_path: Path) -> None:
    folder = run_of()
    table = write_csv(data, tmp_path / "fer2013.csv")
    assert load_fer2013(table).sha256 == data.sha256
    words = [str(folder), "--data", str(table), "--calibration-size", "70", "--variants", "float32", "int8", "--debug"]
    result = run_command(*words)
    assert result.returncode == 0, result.stderr
    assert told(result) == []
    lines = result.stdout.splitlines()
    assert lines[0].startswith("| variant | size | runtime | images | accuracy")
    assert lines[-3:] == [str(folder / name) for name in ("small_float32.tflite", "small_int8.tflite", "conversion.md")]
    assert any("FULLY_CONNECTED" in line and line.endswith("hidden") for line in lines)
    image = cv2.imread(str(folder / "quantization_error.png"))
    assert image is not None
    report = (folder / "conversion.md").read_text()
    assert f"python -m convert {folder}" in report
    assert "- int8: none" in report
    assert "Passed: no file loses more than 0.5 points" in report


def test_a_refused_conversion_leaves_its_report_alone(
    run_of: Callable[..., Path], data: Fer2013, tmp_path: Path
) -> None:
    folder = run_of(has_outlier=True)
    table = write_csv(data, tmp_path / "fer2013.csv")
    out = tmp_path / "out"
    words = [str(folder), "--data", str(table), "--calibration-size", "70", "--variants", "int8", "--out", str(out)]
    result = run_command(*words)
    assert result.returncode == 1
    (line,) = told(result)
    assert line.startswith("error: small_int8 ")
    assert names_in(out) == ["conversion.md"]
    assert "**Refused**" in (out / "conversion.md").read_text()


def test_an_interrupt_ends_a_runtime_that_hangs(
    run_of: Callable[..., Path], pictures: Pictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(convert.conversion, "find_runtimes", lambda: {"ai-edge-litert": python})
    folder, started_s = run_of(), time.monotonic()

    class Impatient(Silence):
        def stage(self, name: str) -> None:
            if name == "running the files":
                main = threading.main_thread().ident
                assert main is not None
                threading.Timer(1, signal.pthread_kill, [main, signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        run_convert(folder, pictures, Settings(("float32",)), progress=Impatient())
    assert time.monotonic() - started_s < 30
    assert names_in(folder) == ["model.keras", "run.json"]


def test_an_interrupt_leaves_nothing_half_written(run_of: Callable[..., Path], data: Fer2013, tmp_path: Path) -> None:
    folder, out = run_of(), tmp_path / "out"
    table = write_csv(data, tmp_path / "fer2013.csv")
    with start_command(str(folder), "--data", str(table), "--calibration-size", "70", "--out", str(out)) as process:
        deadline_s = time.monotonic() + 60
        while not list(out.glob(".unfinished-*/*.tflite")) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, [line for line in stderr.splitlines() if "cut off" not in line]) == (1, ["interrupted"])
    assert names_in(out) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no/run", "--data", "x.csv"], "error: no model at no/run"),
        (["README.md", "--data", "x.csv"], "error: README.md is not a Keras model"),
        (["models/mien_net", "--data", "x.csv"], "error: no data at x.csv"),
        (["inspect", "README.md"], "error: README.md: not a TFLite model"),
        (["inspect", "nothing.tflite"], "error: no file at nothing.tflite"),
    ],
)
def test_a_mistake_gets_one_line(words: list[str], message: str) -> None:
    result = run_command(*words)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-drop", "-1"], "--max-drop -1.0: allowed is 0 or more"),
        (["--seed", "-1"], "--seed -1: allowed is 0 or more"),
        (["--variants", "float32", "--debug"], "--debug ranks the layers of int8"),
        (["--variants", "float32", "--keep-float", "a"], "--keep-float is for int8 and int16x8"),
        (["--variants", "int4"], "invalid choice: 'int4'"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_loaded(words: list[str], message: str) -> None:
    result = run_command("models/mien_net", "--data", "x.csv", *words)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]


def test_a_folder_that_cannot_be_written_gets_one_line(
    run_of: Callable[..., Path], small_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    words = ["--data", str(small_csv), "--calibration-size", "7", "--out", str(tmp_path / "file" / "out")]
    result = run_command(str(run_of()), *words)
    assert result.returncode == 1
    (line,) = told(result)
    assert "Not a directory" in line
