"""What finds faces; `open_detector` makes the one that `--detector` names.

A new detector is one new file with one class, and one line in `open_detector`.
"""

import logging

from mien.config import DETECTORS
from mien.detectors.base import FaceDetector, ScalableDetector, StepwiseDetector, identify
from mien.detectors.haar import HaarDetector

__all__ = ["FaceDetector", "HaarDetector", "ScalableDetector", "StepwiseDetector", "identify", "open_detector"]

logger = logging.getLogger(__name__)

STILLS_SIDE, STILLS_MIN_FACE = 640, 0.02


def open_detector(
    name: str = "auto", max_side: int = 320, min_face: float = 0.03, for_stills: bool = False, num_threads: int = 1
) -> FaceDetector:
    """Make a detector.

    Args:
        name: "finder", "haar", "yunet", or "auto": the finder, or haar where the finder cannot run, with a warning in
            the log; docs/detection.md has the measurement behind it.
        max_side: the longer side of the picture that is searched, in pixels.
        min_face: smallest face, as a fraction of the frame's shorter side.
        for_stills: take time instead, for more pixels and smaller faces.
        num_threads: of the finder; OpenCV's are set for the whole process.

    Returns:
        The detector; its class tells which one "auto" took.

    Raises:
        FileNotFoundError: the model of the finder or of YuNet is not here.
        ValueError: an argument is out of range, the name is unknown, or a model is damaged.
        ImportError: the OpenCV or the runtime here lacks what the detector needs.
    """
    from mien.detectors.finder import FinderDetector
    from mien.detectors.yunet import YuNetDetector
    from mien.published import require_published

    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name!r}: allowed are {', '.join(DETECTORS)}")
    if for_stills:
        max_side, min_face = STILLS_SIDE, STILLS_MIN_FACE
    if name == "yunet":
        return YuNetDetector(require_published("yunet"), max_side, min_face)
    if num_threads < 1:
        raise ValueError(f"num_threads is {num_threads}: allowed is 1 or more")
    reason = ""
    if name != "haar":
        try:
            return FinderDetector(max_side=max_side, min_face=min_face, num_threads=num_threads)
        except (OSError, ValueError, ImportError) as error:
            if name == "finder":
                raise
            reason = f"haar finds the faces, for the face finder cannot: {error}"
            logger.warning("%s", reason)
    detector = HaarDetector.for_stills() if for_stills else HaarDetector(max_side, min_face=min_face)
    detector.problem = reason
    return detector
