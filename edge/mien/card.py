"""The model's card: a JSON file beside the `.tflite` with all that the runtime and people need of it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mien.emotions import EMOTIONS

MODELS_DIR = Path(__file__).parent / "models"
DEFAULT_MODEL = "mien_net_int8"


@dataclass(frozen=True)
class ModelCard:
    """A model's description.

    Attributes:
        name: the name that `--model` takes; the file is NAME.tflite.
        description: one line for `mien models`.
        sha256: of the `.tflite` file, hexadecimal.
        size_bytes: of the `.tflite` file.
        labels: the classes in the order of the outputs.
        input_type: "int8" (gray level minus 128) or "float32" (gray level).
        crop_margin: fraction of a Haar box's side to add on every side before scaling.
        temperature: what the logits are divided by, so that a confidence of 0.8 is right in 80 % of
            cases (Guo et al. 2017, arXiv:1706.04599); 1 leaves the model's own probabilities.
        thresholds: for each class, the confidence below which the answer is "unsure"; {}: never.
        made: how the model came about: data, training, calibration, versions.
        metrics: what was measured, by `python -m benchmarks accuracy --update-cards`.
    """

    name: str
    description: str
    sha256: str
    size_bytes: int
    input_type: str
    crop_margin: float
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = EMOTIONS
    made: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as the text of its file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def check(self, model: bytes, path: Path) -> None:
        """Raise ValueError unless `model`, read from `path`, is the file that the card describes."""
        if len(model) != self.size_bytes:
            raise ValueError(
                f"{path} has {len(model)} bytes, its card says {self.size_bytes}: "
                "it is cut off or was replaced; copy or convert it again"
            )
        if hashlib.sha256(model).hexdigest() != self.sha256:
            raise ValueError(f"{path} is not the file that its card describes (sha256): copy or convert it again")


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        FileNotFoundError: there is no card at `path`.
        ValueError: it is not a card, or its classes are not those of `EMOTIONS`.
    """
    if not path.exists():
        raise FileNotFoundError(f"no card at {path}: a model needs its card beside it, `python -m convert` writes both")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name: content[entry.name] for entry in fields(ModelCard) if entry.name in content}
        card = ModelCard(**{**known, "labels": tuple(known.get("labels", EMOTIONS))})
        if not 0 <= card.crop_margin <= 1:
            raise ValueError(f"crop_margin is {card.crop_margin}, allowed is 0 to 1")
        if card.input_type not in ("int8", "float32"):
            raise ValueError(f"input_type is {card.input_type!r}, allowed are int8 and float32")
        if not 0.05 <= card.temperature <= 20:
            raise ValueError(f"temperature is {card.temperature}, allowed is 0.05 to 20")
        if not isinstance(card.thresholds, dict) or (
            card.thresholds
            and not (
                set(card.thresholds) == set(EMOTIONS) and all(0 <= value <= 1 for value in card.thresholds.values())
            )
        ):
            raise ValueError(f"thresholds are {card.thresholds}, allowed is 0 to 1 for each of {', '.join(EMOTIONS)}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a model's card ({error}): `python -m convert` writes one") from error
    if card.labels != EMOTIONS:
        classes = ", ".join(map(str, card.labels))
        raise ValueError(f"{path} has the classes {classes}; allowed are {', '.join(EMOTIONS)}")
    return card


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
    """Return the names of the models that came with mien."""
    return sorted(path.stem for path in MODELS_DIR.glob("*.tflite"))
