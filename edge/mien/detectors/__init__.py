"""What finds faces; `open_detector` makes the one that `--detector` names.

A new detector is one new file with one class, and one line in `open_detector`.
"""

import logging

from mien.detectors.base import FaceDetector, ScalableDetector, StepwiseDetector
from mien.detectors.haar import HaarDetector

__all__ = ["FaceDetector", "HaarDetector", "ScalableDetector", "StepwiseDetector", "open_detector"]

logger = logging.getLogger(__name__)

STILLS_SIDE, STILLS_MIN_FACE = 640, 0.045


def open_detector(
    name: str = "auto", max_side: int = 320, min_face: float = 0.08, for_stills: bool = False
) -> FaceDetector:
    """Make a detector.

    Args:
        name: "haar", "yunet", or "auto": yunet where its model was fetched, else haar.
        max_side: the longer side of the picture that is searched, in pixels.
        min_face: smallest face, as a fraction of the frame's shorter side.
        for_stills: take time instead, for more pixels and smaller faces.

    Raises:
        FileNotFoundError: YuNet's model is not here.
        ValueError: an argument is out of range, or YuNet's model is damaged.
        ImportError: this OpenCV lacks the detector.
    """
    from mien.detectors.yunet import YuNetDetector
    from mien.published import find_damaged, find_published, require_published

    if for_stills:
        max_side, min_face = STILLS_SIDE, STILLS_MIN_FACE
    if name == "yunet" or (name == "auto" and find_published("yunet") is not None):
        return YuNetDetector(require_published("yunet"), max_side, min_face)
    if name == "auto" and (path := find_damaged("yunet")):
        logger.warning("%s is damaged, so haar finds the faces: `mien models fetch yunet` brings it again", path)
    return HaarDetector.for_stills() if for_stills else HaarDetector(max_side, min_face=min_face)
