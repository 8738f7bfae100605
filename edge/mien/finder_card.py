"""The face finder's card: a JSON file beside the `.tflite` with all that the device and people need of it."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mien.card import FINDER, MODELS_DIR, TFLITE_MAGIC, TensorSpec, check_file, read_tensor

FINDER_FILE = MODELS_DIR / f"{FINDER}.tflite"


@dataclass(frozen=True)
class Framing:
    """What turns a face that was found into a square framed like FER2013's images, which the classifiers learnt from.

    Attributes:
        side: of the square, as a multiple of the root of the found box's area.
        rise: how far its centre lies above the middle of eyes and corners of the mouth, along the face, in such roots.
    """

    side: float
    rise: float


@dataclass(frozen=True)
class FinderCard:
    """A face finder's description.

    Attributes:
        name: the file is NAME.tflite.
        version: of mien, which converted it.
        description: one line for `mien models`.
        date: of the conversion, YYYY-MM-DD.
        licence: of the file, as an SPDX identifier; "" where whoever converted it did not say.
        sha256: of the `.tflite` file, hexadecimal.
        size_bytes: of the `.tflite` file.
        input: (1, height, width, 1) gray levels 0 to 255; other sizes that are multiples of the last stride do, too.
        strides: of the maps, in pixels.
        score_threshold: from which on a box is a face, 0 to 1: at most one false box on 100 held-back pictures without
            faces.
        known_threshold: for one look where a face was in the last frame: half the odds that it would need elsewhere.
        overlap: of two boxes that overlap by more (intersection over union), the likelier stays.
        framing: how its boxes become crops for the classifier.
        runtimes: package -> version, of the runtimes that it was loaded and run in.
        made: how the model came about: data, training, calibration, versions.
        metrics: what was measured when it was converted.
    """

    name: str
    version: str
    description: str
    date: str
    licence: str
    sha256: str
    size_bytes: int
    input: TensorSpec
    strides: tuple[int, ...]
    score_threshold: float
    known_threshold: float
    overlap: float
    framing: Framing
    runtimes: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as the text of its file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_finder_card(path: Path) -> FinderCard:
    """Read a card.

    Raises:
        FileNotFoundError: there is no card at `path`.
        ValueError: it is not a face finder's.
    """
    if not path.exists():
        raise FileNotFoundError(f"no card at {path}: a face finder needs its card beside it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name: content[entry.name] for entry in fields(FinderCard) if entry.name in content}
        known["input"] = read_tensor("input", known.get("input"))
        known["strides"] = tuple(int(stride) for stride in known.get("strides", ()))
        known["framing"] = Framing(**{name: float(value) for name, value in known.get("framing", {}).items()})
        card = FinderCard(**known)
        _check_values(card)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a face finder's card ({error}): `python -m convert` writes one") from error
    return card


def read_finder(path: Path) -> tuple[bytes, FinderCard]:
    """Read a face finder and its card, and compare them, before any native code sees the file.

    Raises:
        FileNotFoundError: one of them does not exist.
        ValueError: the file is no TFLite model, or not the one that its card describes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no face finder at {path}: install mien again, or take --detector haar")
    content = path.read_bytes()
    if content[4:8] != TFLITE_MAGIC:
        raise ValueError(f"{path} is not a TFLite model: install mien again, or take --detector haar")
    card = read_finder_card(path.with_suffix(".json"))
    check_file(content, path, card.size_bytes, card.sha256)
    return content, card


def _check_values(card: FinderCard) -> None:
    if not card.strides or any(stride < 1 or stride > 256 for stride in card.strides):
        raise ValueError(f"strides are {card.strides}, allowed are 1 to 256")
    if list(card.strides) != sorted(set(card.strides)):
        raise ValueError(f"strides are {card.strides}, allowed are ascending ones")
    for name in ("score_threshold", "known_threshold", "overlap"):
        if not 0 < getattr(card, name) < 1:
            raise ValueError(f"{name} is {getattr(card, name)}, allowed is above 0 and below 1")
    if not 0.1 <= card.framing.side <= 10 or not -5 <= card.framing.rise <= 5:
        raise ValueError(f"framing is {card.framing}, allowed are a side of 0.1 to 10 and a rise of -5 to 5")
