"""Faces in, probabilities out; and whatever is no model says so in one line."""

import json
import shutil
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mien import EMOTIONS, EmotionClassifier, interpreter
from mien.card import MODELS_DIR, ModelCard, find_model, model_names, read_card
from mien.detectors import HaarDetector
from mien.faces import Image
from mien.fer2013 import Fer2013
from mien.interpreter import TFLiteModel, load_runtime
from mien.preprocess import crop_face, to_gray
from tests.conftest import require_module

SCHEMA = MODELS_DIR.parent / "card.schema.json"


@pytest.fixture(scope="module")
def classifier() -> EmotionClassifier:
    return EmotionClassifier()


@pytest.fixture
def copy_of_default(tmp_path: Path) -> Path:
    source = find_model(None)
    for suffix in (".tflite", ".json"):
        shutil.copy(source.with_suffix(suffix), tmp_path)
    return tmp_path / source.name


def test_a_smile_is_happy(classifier: EmotionClassifier, portrait: Image) -> None:
    gray = to_gray(portrait)
    (box,) = HaarDetector().detect(gray)
    (probabilities,) = classifier.predict(crop_face(gray, box, classifier.card.crop_margin)[np.newaxis])
    assert EMOTIONS[probabilities.argmax()] == "happy"


def test_probabilities_have_the_documented_form(classifier: EmotionClassifier) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    probabilities = classifier.predict(faces)
    assert probabilities.shape == (5, 7)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    # Seven int8 outputs, each off by at most half a step of 1/256, and one step to spare.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=4.5 / 256)


def change_card(model: Path, **entries: object) -> Path:
    card = model.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | entries))
    return model


def test_the_cards_temperature_makes_answers_softer_or_sharper(copy_of_default: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    plain = EmotionClassifier(change_card(copy_of_default, temperature=1.0)).predict(faces)
    soft = EmotionClassifier(change_card(copy_of_default, temperature=2.0)).predict(faces)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    roots = np.sqrt(np.maximum(plain, 1 / 512))  # what int8 rounds to 0 counts as half a step
    np.testing.assert_allclose(soft, roots / roots.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(soft.argmax(axis=1), plain.argmax(axis=1))
    assert (soft.max(axis=1) < plain.max(axis=1)).all()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"temperature": 0}, "temperature is 0, allowed is 0.05 to 20"),
        ({"temperature": "warm"}, "is not a model's card"),
        ({"thresholds": None}, "allowed is 0 to 1 for each of angry, disgust"),
        ({"thresholds": list(EMOTIONS)}, "allowed is 0 to 1 for each of angry, disgust"),
        ({"thresholds": {"sad": 0.5}}, "allowed is 0 to 1 for each of angry, disgust"),
        ({"thresholds": dict.fromkeys(EMOTIONS, 80)}, "allowed is 0 to 1 for each of angry, disgust"),
    ],
)
def test_a_card_with_impossible_confidences_is_refused(
    copy_of_default: Path, entries: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EmotionClassifier(change_card(copy_of_default, **entries))


def test_a_face_gets_the_same_answer_alone_and_among_others(classifier: EmotionClassifier) -> None:
    faces = np.random.default_rng(1).integers(0, 256, (3, 48, 48), np.uint8)
    together = classifier.predict(faces)
    for face, expected in zip(faces, together, strict=True):
        np.testing.assert_array_equal(classifier.predict(face[np.newaxis])[0], expected)


def test_no_faces_give_no_rows(classifier: EmotionClassifier) -> None:
    assert classifier.predict(np.empty((0, 48, 48), np.uint8)).shape == (0, 7)


def test_every_gray_level_reaches_the_int8_input_exactly() -> None:
    levels = np.arange(48 * 48, dtype=np.uint16).astype(np.uint8).reshape(48, 48, 1)
    tensor = TFLiteModel(find_model(None).read_bytes())._to_tensor(levels)
    np.testing.assert_array_equal(tensor, levels.astype(np.int16) - 128)
    assert tensor.dtype == np.int8


@pytest.mark.parametrize(
    "faces",
    [
        np.zeros((48, 48), np.uint8),
        np.zeros((1, 64, 64), np.uint8),
        np.zeros((1, 48, 48, 1), np.uint8),
        np.zeros((1, 48, 48), np.float32),
        [[0]],
    ],
)
def test_what_is_no_batch_of_faces_is_refused(classifier: EmotionClassifier, faces: Image) -> None:
    with pytest.raises(ValueError, match=r"faces must be \(N, 48, 48\) uint8; got"):
        classifier.predict(faces)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'resnet': allowed are .*cnn_int8"):
        EmotionClassifier("resnet")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no model at nothing\.tflite"):
        EmotionClassifier("nothing.tflite")


def test_a_text_file_named_tflite_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.tflite"
    file.write_text("buy milk")
    with pytest.raises(ValueError, match="is not a TFLite model"):
        EmotionClassifier(file)


def test_a_model_cut_off_on_the_way_is_refused(copy_of_default: Path) -> None:
    copy_of_default.write_bytes(copy_of_default.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="its card says"):
        EmotionClassifier(copy_of_default)


def test_a_changed_model_is_refused(copy_of_default: Path) -> None:
    content = bytearray(copy_of_default.read_bytes())
    content[-1] ^= 1
    copy_of_default.write_bytes(content)
    with pytest.raises(ValueError, match="sha256"):
        EmotionClassifier(copy_of_default)


def test_a_model_without_its_card_is_refused(copy_of_default: Path) -> None:
    copy_of_default.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match="a model needs its card"):
        EmotionClassifier(copy_of_default)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}', "not json"])
def test_a_damaged_card_is_named(copy_of_default: Path, text: str) -> None:
    copy_of_default.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match="is not a model's card"):
        EmotionClassifier(copy_of_default)


def test_a_card_with_other_classes_is_refused(copy_of_default: Path) -> None:
    card = copy_of_default.with_suffix(".json")
    content = json.loads(card.read_text())
    content["labels"] = sorted(content["labels"])
    card.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="allowed here are faces of 48x48x1 and angry, disgust, fear"):
        EmotionClassifier(copy_of_default)


def test_a_card_that_tells_of_another_input_is_refused(copy_of_default: Path) -> None:
    other = {"shape": [1, 48, 48, 1], "dtype": "float32", "scale": None, "zero_point": None}
    with pytest.raises(ValueError, match=r"maps .*int8.* its card says .*float32.*: convert it again"):
        EmotionClassifier(change_card(copy_of_default, input=other))


@pytest.mark.parametrize(
    "entries",
    [
        {"temperature": 0},
        {"crop_margin": 2},
        {"labels": ["happy"]},
        {"labels": "happy"},
        {"thresholds": dict.fromkeys(EMOTIONS, 80)},
        {"input": None},
        {"input": {"shape": [1, 48, 48, 1]}},
        {"output": {"shape": [1, 7], "dtype": "int4"}},
        {"sha256": None},
    ],
)
def test_the_schema_refuses_what_the_runtime_refuses(copy_of_default: Path, entries: dict[str, object]) -> None:
    jsonschema = require_module("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    card = copy_of_default.with_suffix(".json")
    jsonschema.validate(json.loads(card.read_text()), schema)
    change_card(copy_of_default, **entries)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(card.read_text()), schema)
    with pytest.raises(ValueError, match=r"is not a model's card|is not the file that its card describes"):
        EmotionClassifier(copy_of_default)


def test_the_schema_names_the_entries_of_a_card() -> None:
    assert list(json.loads(SCHEMA.read_text())["properties"]) == [entry.name for entry in fields(ModelCard)]


def test_no_thread_is_too_few() -> None:
    with pytest.raises(ValueError, match="num_threads is 0"):
        EmotionClassifier(num_threads=0)


def test_without_a_runtime_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'mien\[edge\]'"):
        load_runtime()


def import_instead(monkeypatch: pytest.MonkeyPatch, found: dict[str, Exception | SimpleNamespace]) -> None:
    """Let runtimes be these modules or errors, and all others missing."""

    def import_module(name: str) -> SimpleNamespace:
        package = name.split(".")[0]
        match found.get(package, ModuleNotFoundError(f"No module named {package!r}", name=package)):
            case Exception() as error:
                raise error
            case module:
                return module

    monkeypatch.setattr(interpreter, "import_module", import_module)


def test_a_runtime_that_lacks_something_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers.table")
    import_instead(monkeypatch, {"ai_edge_litert": error})
    for name in (None, "ai-edge-litert"):
        with pytest.raises(ImportError, match=r"ai-edge-litert lacks flatbuffers.table: pip install --force-reinstall"):
            load_runtime(name)


def test_a_runtime_that_cannot_be_loaded_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, good = ImportError("GLIBC_2.99 not found"), SimpleNamespace(Interpreter=7)
    import_instead(monkeypatch, {"ai_edge_litert": broken, "tflite_runtime": good})
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert load_runtime() == ("tflite-runtime", 7)
    monkeypatch.setattr(np, "__version__", "2.4.0")
    with pytest.raises(ImportError, match=r"ai-edge-litert cannot be loaded \(GLIBC_2.99 not found\): pip install"):
        load_runtime()


@pytest.mark.tensorflow
def test_tensorflow_alone_serves_as_runtime() -> None:
    require_module("tensorflow")
    faces = np.random.default_rng(0).integers(0, 256, (20, 48, 48), np.uint8)
    ours, theirs = (EmotionClassifier(runtime=runtime).predict(faces) for runtime in (None, "tensorflow"))
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() >= 0.9  # kernels differ in the last step of 1/256


def test_tflite_runtime_with_numpy_2_is_refused_before_it_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type(sys)("tflite_runtime.interpreter")
    fake.Interpreter = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tflite_runtime", type(sys)("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", fake)
    monkeypatch.setattr(np, "__version__", "2.4.0")
    with pytest.raises(ImportError, match="pip install 'numpy<2'"):
        load_runtime("tflite-runtime")


def test_every_model_in_the_package_has_a_true_card() -> None:
    assert model_names() == ["cnn_int8", "mien_net_int8"]
    for name in model_names():
        card = read_card(MODELS_DIR / f"{name}.json")
        assert card.name == name
        assert EmotionClassifier(name).card == card  # checks size and sha256


def test_the_default_model_is_as_accurate_as_its_card_says(fer2013: Fer2013) -> None:
    classifier = EmotionClassifier(num_threads=2)
    test = fer2013.test
    accuracy = (classifier.predict(test.images).argmax(axis=1) == test.labels).mean()
    assert accuracy >= 0.65
    # Runtimes and processors differ in the last step of 1/256; few faces are so close to the edge.
    assert abs(accuracy - classifier.card.metrics["test"]["accuracy"]) < 0.003
