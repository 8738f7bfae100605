"""Keras -> TFLite: every variant is made, run in every runtime and compared before it gets its name."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.calibration import Calibration, refuse_test_images
from convert.confidence import choose_confidence, validation_rows
from convert.flatbuffer import read_graph
from convert.keras_model import file_stem
from convert.pictures import Pictures
from convert.proof import Progress, Variant, prove, refusal
from convert.quantization import Ranges, check_int8, measure_ranges, quantize, scope_of, to_float32
from convert.runtimes import find_runtimes
from convert.settings import STATIC, Settings
from mien import __version__
from mien.card import ModelCard, TensorSpec
from mien.native_log import quiet_native_log

CROP_MARGIN = 0.0
"""FER2013's images are Haar boxes: the cascade finds 47 of their 48 pixels (docs/experiments.md)."""

FOREIGN_IMAGES = 2000


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        float32: the float file that the others were made from.
        images: the validation images.
        is_own_validation: whether the model's run validated on them; else it may have learnt from them.
        has_tests: whether the data have test images, which were kept out.
        converter: what made the files.
        refused: why nothing was written: the gate was missed, or no variant runs; "" if files were.
    """

    variants: tuple[Variant, ...]
    calibration: Calibration
    settings: Settings
    float32: bytes
    images: npt.NDArray[np.uint8]
    is_own_validation: bool
    has_tests: bool
    converter: str
    refused: str = ""


def convert(
    model: keras.Model,
    keras_file: Path,
    pictures: Pictures,
    calibration: Calibration,
    settings: Settings,
    out: Path,
    progress: Progress,
) -> Conversion:
    """Write every variant of a model with its card into `out`; all that run in every runtime, or none.

    Args:
        model: from `load`.
        keras_file: where it came from; `run.json` beside it goes into the cards.
        pictures: the data set that calibration and validation images come from.
        calibration: the representative dataset.
        settings: variants, gate and so on.
        out: an existing folder.
        progress: is told what happens.

    Raises:
        ValueError: the model cannot be converted, or the data do not suffice.
        ImportError: no TFLite runtime is installed.
        OSError: `out` cannot be written.
    """
    runtimes = find_runtimes()
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as name:
        folder = Path(name)
        progress.stage("converting to float32")
        with quiet_native_log():
            float32 = to_float32(model)
        for layer in settings.keep_float:
            scope_of(layer, read_graph(float32))
        progress.stage(f"measuring ranges on {len(calibration.rows)} images")
        refuse_test_images(pictures, calibration.images)
        ranges = _measure_ranges(float32, calibration, settings)
        rows, is_own = _choose_validation(keras_file.parent, pictures, calibration, settings.seed)
        images, labels = pictures.read(rows), pictures.labels[rows]
        np.save(folder / "images.npy", images)
        progress.stage(f"asking Keras about {len(images):,} images")
        expected = model.predict(images.astype(np.float32), batch_size=64, verbose=0)
        _check_probabilities(expected, model.name)
        progress.stage("quantizing")
        made = _provenance(keras_file, pictures, calibration, settings)
        variants = [_make(model, name, float32, ranges, pictures, made, settings) for name in settings.variants]
        variants = prove(variants, folder, expected, labels, runtimes, progress)
        if is_own:
            variants = [_with_confidence(variant, folder, labels) for variant in variants]
        refused = refusal(variants, settings.max_drop)
        if not refused:
            cards = {variant.stem: variant.card.to_json() for variant in variants if variant.is_proven and variant.card}
            publish(cards, folder, out)
    has_tests = bool(pictures.is_test.any())
    return Conversion(
        tuple(variants), calibration, settings, float32, images, is_own, has_tests, made["converter"], refused
    )


def _measure_ranges(float32: bytes, calibration: Calibration, settings: Settings) -> Ranges | str:
    """Return the ranges, none where no variant needs them, or why they cannot be measured."""
    if not set(settings.variants) & set(STATIC):
        return {}
    try:
        with quiet_native_log():
            return measure_ranges(float32, calibration.images, settings.method)
    except ValueError as error:
        return str(error)


def _choose_validation(
    run: Path, pictures: Pictures, calibration: Calibration, seed: int
) -> tuple[npt.NDArray[np.intp], bool]:
    """Return rows in random order, and whether they are those that the model's run validated on.

    No image is among them that ranges were measured on, or that is in the tests, nor a twin of one.
    """
    own = validation_rows(run, pictures)
    candidates = np.arange(len(pictures)) if own is None else own
    taken = pictures.is_in_tests() | np.isin(pictures.keys, pictures.keys[calibration.rows])
    candidates = candidates[~taken[candidates]]
    if not len(candidates):
        raise ValueError(
            f"all images are taken for calibration, none is left to validate on: give a --calibration-size below "
            f"{len(calibration.rows)}"
        )
    rows = np.random.default_rng(seed).permutation(candidates)
    return (rows, True) if own is not None else (rows[:FOREIGN_IMAGES], False)


def _check_probabilities(answers: npt.NDArray[np.float32], name: str) -> None:
    # float32 has 24 bits; the sum of some classes is off by less than 1e-3 even in bfloat16's softmax.
    if not np.isfinite(answers).all() or answers.min() < 0 or np.abs(answers.sum(axis=1) - 1).max() > 1e-2:
        raise ValueError(f"{name} does not answer with probabilities that sum to 1: end it with a softmax")


def _make(
    model: keras.Model,
    name: str,
    float32: bytes,
    ranges: Ranges | str,
    pictures: Pictures,
    made: dict[str, Any],
    settings: Settings,
) -> Variant:
    """Make a variant's file, or say why it cannot be made."""
    stem, is_static = file_stem(model, name), name in STATIC
    try:
        if isinstance(ranges, str) and is_static:
            raise ValueError(ranges)
        with quiet_native_log():
            content = quantize(float32, name, ranges if isinstance(ranges, dict) else {}, settings.keep_float)
        if name == "int8":
            check_int8(content, has_float=bool(settings.keep_float))
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:  # the latter are the quantizer's
        return Variant(name, stem, failures={"conversion": " ".join(str(error).split())[:300]})
    if not is_static:
        made = {key: value for key, value in made.items() if key not in ("calibration", "kept_float")}
    graph = read_graph(content)
    operators = [operator.name for operator in graph.float_operators()]
    tensors = [graph.tensors[numbers[0]] for numbers in (graph.inputs, graph.outputs)]
    specs = [
        TensorSpec(tensor.shape, tensor.type.lower(), float(tensor.scales[0]), tensor.zero_point)
        if len(tensor.scales)
        else TensorSpec(tensor.shape, tensor.type.lower())
        for tensor in tensors
    ]
    card = ModelCard(
        name=stem,
        version=__version__,
        description=f"{model.name}, {name}, {model.count_params() / 1e6:.2f} M parameters",
        date=datetime.now(UTC).date().isoformat(),
        licence=settings.licence,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        input=specs[0],
        output=specs[1],
        labels=pictures.classes,
        crop_margin=CROP_MARGIN,
        made=made,
    )
    counts = {operator: operators.count(operator) for operator in sorted(set(operators))}
    return Variant(name, stem, content, card, float_operators=counts)


def _with_confidence(variant: Variant, folder: Path, labels: npt.NDArray[Any]) -> Variant:
    """Put temperature and thresholds into the card, from the answers of the first runtime."""
    path = folder / f"{variant.name}.npy"
    if variant.card is None or not path.exists():
        return variant
    answers, card = np.load(path), variant.card
    chosen = choose_confidence(answers, labels[: len(answers)], card.output.dtype, card.labels)
    made = {**card.made, "confidence": {"images": len(answers), "from": "the run's validation images"}}
    card = replace(card, temperature=chosen.temperature, thresholds=chosen.thresholds, made=made)
    return replace(variant, card=card, confidence=chosen)


def publish(cards: dict[str, str], folder: Path, out: Path) -> None:
    """Move files with their cards, which are complete, to where they belong: all of them, or none.

    Args:
        cards: stem of a `.tflite` file in `folder` -> the text of its card.
        folder: where the files are, on the same disk as `out`.
        out: where they belong.
    """
    names = [f"{stem}{suffix}" for stem in cards for suffix in (".tflite", ".json")]
    for name in names:
        if (out / name).is_dir():
            raise IsADirectoryError(f"{out / name} is a folder: remove it, or give another --out")
    for stem, card in cards.items():
        (folder / f"{stem}.json").write_text(card, encoding="utf-8")
    for name in names:
        os.replace(folder / name, out / name)


def _provenance(keras_file: Path, pictures: Pictures, calibration: Calibration, settings: Settings) -> dict[str, Any]:
    made: dict[str, Any] = {
        "calibration": {
            "data": "FER2013, Training images only" if pictures.is_test.any() else "a folder of images",
            "images": len(calibration.rows),
            "seed": calibration.seed,
            "rows_sha256": calibration.sha256,
            "method": settings.method,
        },
        "converter": f"tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"litert-quantizer {metadata.version('litert-quantizer')}",
    }
    if settings.keep_float:
        made["kept_float"] = list(settings.keep_float)
    run = keras_file.parent / "run.json"
    if run.exists():
        made["training"] = json.loads(run.read_text(encoding="utf-8"))
    return made
