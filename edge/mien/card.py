"""The model's card: a JSON file beside the `.tflite` with all that the runtime and people need of it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

MODELS_DIR = Path(__file__).parent / "models"
DEFAULT_MODEL = "mien_net_int8"
FINDER = "finder_int8"
"""Finds faces, and is no classifier (`mien.finder_card`)."""

TFLITE_MAGIC = b"TFL3"  # bytes 4-8 of every TFLite flatbuffer
TENSOR_TYPES = ("int8", "float32")


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output.

    Attributes:
        shape: with the batch, which is 1, first.
        dtype: "int8" or "float32".
        scale: real value of one step; None for float32.
        zero_point: the integer that stands for 0; None for float32.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model's description; `card.schema.json` says the same to other programs.

    Attributes:
        name: the name that `--model` takes; the file is NAME.tflite.
        version: of mien, which converted it.
        description: one line for `mien models`.
        date: of the conversion, YYYY-MM-DD.
        licence: of the file, as an SPDX identifier; "" where whoever converted it did not say.
        sha256: of the `.tflite` file, hexadecimal.
        size_bytes: of the `.tflite` file.
        input: gray levels or colours from 0 to 255, quantized so.
        output: one probability a class.
        labels: the classes in the order of the outputs.
        crop_margin: fraction of a detector's box's side to add on every side before scaling.
        temperature: what the logits are divided by, so that a confidence of 0.8 is right in 80 % of
            cases (Guo et al. 2017, arXiv:1706.04599); 1 leaves the model's own probabilities.
        thresholds: for each class, the confidence below which the answer is "unsure"; {}: never.
        runtimes: package -> version, of the runtimes that it was loaded and run in.
        made: how the model came about: data, training, calibration, versions.
        metrics: what was measured: "validation" by `python -m convert`, the test parts by
            `python -m benchmarks accuracy --update-cards`.
    """

    name: str
    version: str
    description: str
    date: str
    licence: str
    sha256: str
    size_bytes: int
    input: TensorSpec
    output: TensorSpec
    labels: tuple[str, ...]
    crop_margin: float
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as the text of its file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def check(self, model: bytes, path: Path) -> None:
        """Raise ValueError unless `model`, read from `path`, is the file that the card describes."""
        check_file(model, path, self.size_bytes, self.sha256)


def check_file(content: bytes, path: Path, size_bytes: int, sha256: str) -> None:
    """Raise ValueError unless `content`, read from `path`, has the size and the hash that its card says."""
    if len(content) != size_bytes:
        raise ValueError(
            f"{path} has {len(content)} bytes, its card says {size_bytes}: "
            "it is cut off or was replaced; copy or convert it again"
        )
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file that its card describes (sha256): copy or convert it again")


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        FileNotFoundError: there is no card at `path`.
        ValueError: it is not a card.
    """
    if not path.exists():
        raise FileNotFoundError(f"no card at {path}: a model needs its card beside it, `python -m convert` writes both")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name: content[entry.name] for entry in fields(ModelCard) if entry.name in content}
        tensors = {name: read_tensor(name, known.get(name)) for name in ("input", "output")}
        labels = known.get("labels")
        if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"labels are {labels!r}, allowed are the names of two classes or more")
        card = ModelCard(**{**known, **tensors, "labels": tuple(labels)})
        _check_values(card)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a model's card ({error}): `python -m convert` writes one") from error
    return card


def read_tensor(name: str, content: Any) -> TensorSpec:
    """Return what a card says of a tensor, or raise ValueError."""
    if not isinstance(content, dict) or not {"shape", "dtype"} <= set(content):
        raise ValueError(f"{name} is {content!r}, allowed is an object with shape, dtype, scale and zero_point")
    if content["dtype"] not in TENSOR_TYPES:
        raise ValueError(f"{name} has the type {content['dtype']!r}, allowed are {', '.join(TENSOR_TYPES)}")
    return TensorSpec(tuple(content["shape"]), content["dtype"], content.get("scale"), content.get("zero_point"))


def _check_values(card: ModelCard) -> None:
    if not 0 <= card.crop_margin <= 1:
        raise ValueError(f"crop_margin is {card.crop_margin}, allowed is 0 to 1")
    if not 0.05 <= card.temperature <= 20:
        raise ValueError(f"temperature is {card.temperature}, allowed is 0.05 to 20")
    thresholds = card.thresholds
    if not isinstance(thresholds, dict) or (
        thresholds
        and not (set(thresholds) == set(card.labels) and all(0 <= value <= 1 for value in thresholds.values()))
    ):
        raise ValueError(f"thresholds are {thresholds}, allowed is 0 to 1 for each of {', '.join(card.labels)}")


def read_model(path: Path) -> tuple[bytes, ModelCard]:
    """Read a `.tflite` file and the card beside it, and compare them, before any native code sees the file.

    Raises:
        FileNotFoundError: one of them does not exist.
        ValueError: the file is no TFLite model, or not the one that its card describes; the card is none.
    """
    content = path.read_bytes()
    if content[4:8] != TFLITE_MAGIC:
        raise ValueError(f"{path} is not a TFLite model: give a .tflite file that `python -m convert` wrote")
    card = read_card(path.with_suffix(".json"))
    card.check(content, path)
    return content, card


def find_model(model: str | Path | None) -> Path:
    """Return the `.tflite` file for a name of `mien models`, a path, or None for the default model.

    Raises:
        ValueError: there is no such name.
        FileNotFoundError: there is no file at the path.
    """
    text = DEFAULT_MODEL if model is None else str(model)
    if text.lower().endswith(".tflite"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"no model at {path}: give a .tflite file or one of {', '.join(model_names())}")
        return path
    if text not in model_names():
        raise ValueError(f"unknown model {text!r}: allowed are {', '.join(model_names())} or a path to a .tflite file")
    return MODELS_DIR / f"{text}.tflite"


def model_names() -> list[str]:
    """Return the names of the classifiers that came with mien."""
    return sorted(path.stem for path in MODELS_DIR.glob("*.tflite") if path.stem != FINDER)
