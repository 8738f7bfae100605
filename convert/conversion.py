"""Keras -> TFLite, float32 and full-integer int8, each proven to run before it gets its name."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.calibration import Calibration
from convert.confidence import Confidence, choose_confidence
from mien.card import ModelCard
from mien.classifier import RUNTIMES, EmotionClassifier, load_runtime
from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.fer2013 import Fer2013
from mien.native_log import quiet_native_log

VARIANTS = ("float32", "int8")
CROP_MARGIN = 0.0
"""FER2013's images are Haar boxes: the cascade finds 47 of their 48 pixels (docs/experiments.md)."""

DEVICE_RUNTIMES = tuple(name for name in RUNTIMES if name != "tensorflow")

MAX_DIFFERENCE = 0.1
"""A file whose probabilities are off by more, in the mean of each image's worst class, is broken.

Quantization alone costs far less (docs/experiments.md). The first class would be a poor judge: a
network that has hardly been trained has seven equal ones.
"""


@dataclass(frozen=True)
class Converted:
    """A file that was written, and what its proof showed."""

    path: Path
    size_bytes: int
    agreement: float  # share of the proof's images with the same first class as Keras
    difference: float  # from Keras' probabilities: the worst of an image's seven, mean over the images
    runtimes: tuple[str, ...]  # in which it was loaded and run
    confidence: Confidence | None = None  # what its card got


def convert(
    keras_file: Path, calibration: Calibration, proof_images: Image, out: Path, validation: Fer2013 | None = None
) -> list[Converted]:
    """Write every variant of a model with its card into `out`; all of them, or none if one fails its proof.

    Args:
        keras_file: the model; `run.json` beside it goes into the card.
        calibration: the representative dataset.
        proof_images: (N, 48, 48) uint8, on which TFLite is compared with Keras.
        out: an existing folder.
        validation: images that temperature and thresholds are chosen on; None leaves the former at 1
            and the latter out.

    Raises:
        ValueError: the file is no Keras model of ours, or a converted one fails its proof.
        ImportError: none of `DEVICE_RUNTIMES` is installed.
    """
    if not (runtimes := installed_runtimes()):
        raise ImportError("no TFLite runtime to prove the files with: pip install ai-edge-litert")
    model = _load(keras_file)
    expected = model.predict(proof_images[..., np.newaxis].astype(np.float32), verbose=0)
    made = _provenance(keras_file, calibration)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as folder:
        proven = []
        for variant in VARIANTS:
            file = _write(model, variant, calibration, made, Path(folder))
            with quiet_native_log():
                proven.append(_prove(file, expected, proof_images, runtimes))
                if validation is not None:
                    proven[-1] = replace(proven[-1], confidence=_calibrate(file, validation))
        for converted in proven:
            for suffix in (".json", ".tflite"):
                file = converted.path.with_suffix(suffix)
                file.replace(out / file.name)
    return [replace(converted, path=out / converted.path.name) for converted in proven]


def installed_runtimes() -> tuple[str, ...]:
    """Return those of `DEVICE_RUNTIMES` that work here."""
    working = []
    for name in DEVICE_RUNTIMES:
        try:
            load_runtime(name)
        except ImportError:
            continue
        working.append(name)
    return tuple(working)


def _load(keras_file: Path) -> Any:
    try:
        model = keras.saving.load_model(keras_file, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ValueError(
            f"{keras_file} is not a Keras model ({reason}): give one that `python -m train` wrote"
        ) from error
    if model.input_shape[1:] != (48, 48, 1) or model.output_shape[1:] != (len(EMOTIONS),):
        raise ValueError(
            f"{keras_file} maps {model.input_shape[1:]} to {model.output_shape[1:]}: "
            f"allowed is (48, 48, 1) to ({len(EMOTIONS)},)"
        )
    return model


def _to_tflite(model: Any, calibration: Calibration | None) -> bytes:
    """Convert; with a representative dataset to full-integer int8, else to float32."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[np.newaxis, :, :, np.newaxis].astype(np.float32)] for image in calibration.images
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _write(model: Any, variant: str, calibration: Calibration, made: dict[str, Any], folder: Path) -> Path:
    with quiet_native_log():
        content = _to_tflite(model, calibration if variant == "int8" else None)
    if variant == "int8":
        _check_is_integer(content, model.name)
    card = ModelCard(
        name=f"{model.name}_{variant}",
        description=f"{model.name}, {variant}, {model.count_params() / 1e6:.2f} M parameters",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        input_type=variant,
        crop_margin=CROP_MARGIN,
        made=made,
    )
    file = folder / f"{card.name}.tflite"
    file.write_bytes(content)
    file.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    return file


def _prove(file: Path, expected: Any, images: Image, runtimes: tuple[str, ...]) -> Converted:
    """Load and run a file in every runtime; raise ValueError unless it does what Keras does."""
    agreement, difference = 1.0, 0.0
    for runtime in runtimes:
        found = EmotionClassifier(file, runtime=runtime).predict(images)
        # Seven int8 outputs, each rounded to 1/256: off by at most 7/2 steps, and one to spare.
        if np.abs(found.sum(axis=1) - 1).max() > 4.5 / 256:
            raise ValueError(f"{file.name}: probabilities do not sum to 1 in {runtime}")
        agreement = min(agreement, float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()))
        difference = max(difference, float(np.abs(found - expected).max(axis=1).mean()))
    if difference > MAX_DIFFERENCE:
        raise ValueError(
            f"{file.name} differs from Keras by {difference:.2f} in probability on {len(images)} images, allowed is "
            f"{MAX_DIFFERENCE} or less: give a larger --calibration-size"
        )
    return Converted(file, file.stat().st_size, agreement, difference, runtimes)


def _calibrate(file: Path, validation: Fer2013) -> Confidence:
    """Put temperature and thresholds into a file's card; return them."""
    classifier = EmotionClassifier(file, num_threads=os.cpu_count() or 1)
    chosen = choose_confidence(classifier.predict(validation.images), validation.labels, classifier.card.input_type)
    made = {**classifier.card.made, "confidence": {"images": len(validation), "from": "the run's validation images"}}
    card = replace(classifier.card, temperature=chosen.temperature, thresholds=chosen.thresholds, made=made)
    file.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    return chosen


def _check_is_integer(content: bytes, name: str) -> None:
    """Raise ValueError unless every tensor is an integer one and the input is the gray level minus 128."""
    _, interpreter_class = load_runtime()
    interpreter = interpreter_class(model_content=content)
    interpreter.allocate_tensors()
    if floats := [entry["name"] for entry in interpreter.get_tensor_details() if entry["dtype"] == np.float32]:
        raise ValueError(f"{name}: {len(floats)} tensors stayed float, the first is {floats[0]}")
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    if (scale, zero_point) != (1.0, -128):
        raise ValueError(
            f"{name}: input has scale {scale} and zero point {zero_point} instead of 1 and -128, because the "
            "calibration images do not reach from black (0) to white (255): give a larger --calibration-size"
        )


def _provenance(keras_file: Path, calibration: Calibration) -> dict[str, Any]:
    made: dict[str, Any] = {
        "data": "FER2013, Training images only",
        "calibration": {"images": len(calibration.rows), "seed": calibration.seed, "rows_sha256": calibration.sha256},
        "converter": f"tensorflow {tf.__version__}, keras {keras.__version__}",
    }
    run = keras_file.parent / "run.json"
    if run.exists():
        made["training"] = json.loads(run.read_text(encoding="utf-8"))
    return made
