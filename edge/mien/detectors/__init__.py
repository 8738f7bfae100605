"""What finds faces; `open_detector` makes the one that `--detector` names.

A new detector is one new file with one class, and one line in `open_detector`.
"""

from mien.detectors.base import FaceDetector, StepwiseDetector
from mien.detectors.haar import HaarDetector

__all__ = ["FaceDetector", "HaarDetector", "StepwiseDetector"]
