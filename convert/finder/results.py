"""What a conversion of the face finder wants and brings, and the card that comes of it."""

import hashlib
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convert.finder.files import FinderFiles, input_spec
from convert.finder.framing import FramingFit
from convert.finder.probe import OVERLAP
from convert.finder.thresholds import Thresholds
from mien import __version__
from mien.finder_card import FinderCard, Framing


@dataclass(frozen=True)
class FinderSettings:
    """What someone asked for.

    Attributes:
        data: folder of labelled photographs.
        crops: FER2013, which the framing is fitted on; None takes it from the card that is there.
        calibration_size: photographs that ranges are measured on.
        max_drop: average precision that int8 may lose against float32.
        seed: of what is drawn.
        licence: SPDX identifier for the cards.
    """

    data: Path
    crops: Path | None = None
    calibration_size: int = 200
    max_drop: float = 0.01
    seed: int = 0
    licence: str = ""


@dataclass(frozen=True)
class FinderProof:
    """What a variant does in a runtime, on test photographs.

    Attributes:
        variant, runtime, version: what.
        average_precision: of faces that count (`MIN_WIDTH`).
        found_by_width: band -> (found at the card's threshold, faces).
        precision, recall: at the card's threshold, of faces that count.
        false_boxes: at the card's threshold, on pictures without faces.
        latency_ms: of one picture of WIDTH x HEIGHT on one thread.
    """

    variant: str
    runtime: str
    version: str
    average_precision: float
    found_by_width: dict[str, tuple[int, int]]
    precision: float
    recall: float
    false_boxes: int
    latency_ms: float


@dataclass(frozen=True)
class FinderConversion:
    """What came of a conversion.

    Attributes:
        differences: variant -> largest difference of one cell's score between the two runtimes.
        framing: the fit, None where the framing was taken from the card that was there.
        calibrated_with_faces: how many of the pictures that ranges were measured on have faces.
        empty: test photographs without faces.
        same_data: whether the run learnt from these very photographs; else it may have seen the test photographs.
        refused: why nothing was written; "" if files were.
    """

    settings: FinderSettings
    files: FinderFiles
    proofs: tuple[FinderProof, ...]
    differences: dict[str, float]
    thresholds: Thresholds
    card_framing: Framing
    framing: FramingFit | None
    calibrated_with_faces: int
    photographs: int
    faces: int
    empty: int
    same_data: bool
    converter: str
    refused: str = ""


def make_card(variant: str, conversion: FinderConversion, run: dict[str, Any]) -> FinderCard:
    """Return the card of a variant.

    Args:
        variant: "float32" or "int8".
        conversion: what came of it.
        run: what `run.json` beside the model says.
    """
    content, chosen = conversion.files.contents[variant], conversion.thresholds
    made: dict[str, Any] = {
        # Where its start lay on somebody's disk is nobody's business.
        "training": {name: Path(value).name if name == "start" and value else value for name, value in run.items()},
        "converter": conversion.converter,
        "thresholds": {
            "photographs": chosen.photographs,
            "without_faces": chosen.empty,
            "false_boxes": chosen.false_boxes,
            "from": "the validation photographs",
        },
    }
    if variant == "int8":
        made["calibration"] = {
            "photographs": conversion.settings.calibration_size,
            "with_faces": conversion.calibrated_with_faces,
            "seed": conversion.settings.seed,
        }
    if conversion.framing:
        fit = asdict(conversion.framing)
        made["framing"] = {name: value for name, value in fit.items() if name != "framing"}
    proofs = [proof for proof in conversion.proofs if proof.variant == variant]
    return FinderCard(
        name=f"finder_{variant}",
        version=__version__,
        description=f"face finder, {variant}, boxes and five landmarks, {conversion.files.parameters / 1e6:.2f} M "
        "parameters",
        date=datetime.now(UTC).date().isoformat(),
        licence=conversion.settings.licence,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        input=input_spec(content),
        strides=conversion.files.strides,
        score_threshold=chosen.score,
        known_threshold=chosen.known,
        overlap=OVERLAP,
        framing=conversion.card_framing,
        runtimes={proof.runtime: proof.version for proof in proofs},
        made=made,
        metrics={
            "test": {proof.runtime: _metrics(proof) for proof in proofs},
            "photographs": conversion.photographs,
            "faces": conversion.faces,
            "without_faces": conversion.empty,
        },
    )


def _metrics(proof: FinderProof) -> dict[str, Any]:
    return {
        "average_precision": round(proof.average_precision, 4),
        "precision": _rounded(proof.precision),
        "recall": _rounded(proof.recall),
        "false_boxes": proof.false_boxes,
        "found_by_width": {band: {"found": one, "faces": all_} for band, (one, all_) in proof.found_by_width.items()},
    }


def _rounded(share: float) -> float | None:
    """Return a share for JSON, which has no NaN."""
    return None if math.isnan(share) else round(share, 4)
