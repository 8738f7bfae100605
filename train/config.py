"""One run's settings, checked when they are made."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from train.models import MODELS

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class TrainingConfig:
    """One run's settings; the defaults are the paper's protocol."""

    model: str = "cnn"
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 0.001  # of Adam
    schedule: str = "constant"  # or "cosine": down to zero over all epochs
    validation_share: float = 0.2  # of Training
    rotation_degrees: float = 10
    zoom: float = 0.1
    shift: float = 0.1
    mixed_precision: bool = False  # bfloat16 arithmetic, float32 weights
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"unknown model {self.model!r}: allowed are {', '.join(MODELS)}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}: allowed are {', '.join(SCHEDULES)}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs {self.epochs} and batch size {self.batch_size} must be 1 or more")
        if self.learning_rate <= 0:
            raise ValueError(f"learning rate {self.learning_rate} must be above 0")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation share {self.validation_share} must lie between 0 and 1")


def read_run(out: Path) -> dict[str, Any]:
    """Return what `run.json` in a run's folder holds: the settings, and "data_sha256".

    Raises:
        FileNotFoundError: there is no run.
    """
    path = out / "run.json"
    if not path.exists():
        raise FileNotFoundError(f"{out} holds no run: there is nothing to resume, start without --resume")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def write_run(out: Path, config: TrainingConfig, data_sha256: str) -> None:
    """Write the settings of a run, and which data it learns from, into its folder."""
    content = {**asdict(config), "data_sha256": data_sha256}
    (out / "run.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
