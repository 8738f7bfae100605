"""Neutral calibration: a camera that makes a neutral face look sad is told so once.

Nobody's neutral face is the average one: a camera from below, hard light or the corners of a mouth can make it look
sad or angry all day. `mien calibrate` measures that, and `mien run` takes it off.
"""

import json
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.card import ModelCard
from mien.emotions import EMOTIONS
from mien.faces import FrameResult, Image
from mien.files import data_dir, write_text_whole

logger = logging.getLogger(__name__)

NEUTRAL = EMOTIONS.index("neutral")

MARGIN = 1.0
"""After the correction, a neutral face looks e times as neutral as anything else; more would hide emotions, too."""

SECONDS = 5.0
"""A face is watched so long."""

WAIT_S = 30.0
"""Who does not come before the camera for so long is not there."""

SMALLEST = 1e-3
"""What a probability of 0 is taken for: its logarithm counts."""

LOWEST = -10.0
"""No offset is lower: `measure` gives -8 at least, by `SMALLEST` and `MARGIN`."""


@dataclass(frozen=True)
class Calibration:
    """What a camera's neutral face looks like to a model.

    Attributes:
        sha256: of the model's file.
        date: when it was measured, YYYY-MM-DD.
        offsets: for each emotion, what is added to the logarithm of its probability; 0 or less.
    """

    sha256: str
    date: str
    offsets: dict[str, float]

    def apply(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return (N, 7) probabilities with the correction, each row with a sum of 1."""
        factors = np.exp(np.array([self.offsets[name] for name in EMOTIONS], np.float32))
        corrected = probabilities * factors
        return corrected / corrected.sum(axis=1, keepdims=True)


def measure(probabilities: npt.NDArray[np.float32], card: ModelCard) -> Calibration:
    """Return the calibration that a neutral face asks for.

    The logarithm of an emotion's probability is lowered until it lies `MARGIN` below that of neutral, on average; an
    emotion that does so already is left alone, and none is raised.

    Args:
        probabilities: (N, 7), of a neutral face over time.
        card: of the model that said so.
    """
    logarithms = np.log(np.maximum(probabilities, SMALLEST))
    above_neutral = (logarithms - logarithms[:, [NEUTRAL]]).mean(axis=0)
    offsets = np.minimum(0.0, -MARGIN - above_neutral)
    offsets[NEUTRAL] = 0.0
    values = {name: round(float(value), 4) for name, value in zip(EMOTIONS, offsets, strict=True)}
    return Calibration(card.sha256, datetime.now(UTC).date().isoformat(), values)


def load_calibration(camera: str, card: ModelCard) -> Calibration | None:
    """Return the calibration of a camera for a model, if there is one; says so, since it changes the results.

    Raises:
        ValueError: the file that holds the calibrations is damaged.
    """
    content = _read().get(camera)
    if content is None:
        return None
    calibration = Calibration(**content)
    if calibration.sha256 != card.sha256:
        logger.warning("the neutral face of %s was measured with another model: run `mien calibrate` again", camera)
        return None
    logger.info("corrected by the neutral face of %s, of %s", camera, calibration.date)
    return calibration


def save_calibration(camera: str, calibration: Calibration | None) -> None:
    """Keep the calibration of a camera, in place of an earlier one; None: forget it.

    Raises:
        OSError: the file cannot be written.
        ValueError: it is damaged.
    """
    content = _read()
    content.pop(camera, None)
    if calibration is not None:
        content[camera] = asdict(calibration)
    path = data_dir() / "neutral.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(path, json.dumps(content, indent=2) + "\n")


def calibrated_cameras() -> list[str]:
    """Return the names of the cameras that have a calibration.

    Raises:
        ValueError: the file that holds the calibrations is damaged.
    """
    return list(_read())


def _read() -> dict[str, Any]:
    path = data_dir() / "neutral.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for entry in content.values():
            offsets = Calibration(**entry).offsets
            if set(offsets) != set(EMOTIONS):
                raise ValueError(f"offsets are those of {', '.join(offsets)}")
            if not all(LOWEST <= offset <= 0 for offset in offsets.values()):  # not of NaN, either
                raise ValueError(f"offsets are {LOWEST:g} to 0, and not {', '.join(map(str, offsets.values()))}")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and run `mien calibrate` again") from error
    return dict(content)


def watch_neutral_face(
    results: Iterable[tuple[Image, FrameResult]], tell: Callable[[float], None], seconds: float = SECONDS
) -> npt.NDArray[np.float32]:
    """Watch the face that is seen most of the time, for some seconds from the first face on.

    Args:
        results: frames and what was seen in them, without a calibration.
        tell: told how many seconds are over.
        seconds: how long to watch; a quarter of it may lack the face.

    Returns:
        (N, 7) what each frame alone showed.

    Raises:
        ValueError: no face was seen for long enough.
    """
    seen: dict[int, list[npt.NDArray[np.float32]]] = {}
    first_s, first_face_s, last_s, frames = math.nan, math.nan, math.nan, 0
    for _, result in results:
        last_s = result.steady_s
        first_s = last_s if math.isnan(first_s) else first_s
        if math.isnan(first_face_s):
            if last_s - first_s > WAIT_S:
                break
            if not result.faces:
                continue
            first_face_s = last_s
        frames += 1
        for face in result.faces[:1]:
            if face.instant is not None:
                seen.setdefault(face.track_id, []).append(face.instant)
        tell(last_s - first_face_s)
        if last_s - first_face_s >= seconds:
            break
    answers = max(seen.values(), key=len, default=[])
    if not answers:
        raise ValueError("no face was seen: sit before the camera, in light, and try again")
    if last_s - first_face_s < seconds or len(answers) < 0.75 * frames:
        raise ValueError(
            f"one face was seen in {len(answers) / frames:.0%} of {last_s - first_face_s:.1f} s: "
            f"let one person look at the camera for {seconds:g} s"
        )
    return np.stack(answers)
