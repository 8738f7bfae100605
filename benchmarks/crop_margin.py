"""How much of a FER2013 image a Haar cascade calls the face: the crop margin that models want.

A model must see faces cut as those it learnt from. FER2013 was cut with an OpenCV face detector;
this runs one over the Training images, with room around them, and compares its boxes with them.
"""

import numpy as np

from mien.detectors import HaarDetector
from mien.fer2013 import SIZE, Fer2013

SCALE = 3  # cascades search from 20 pixels on; thrice the size gives them finer steps
BORDER = 40


def measure_crop_margin(data: Fer2013, count: int) -> dict[str, float]:
    """Compare the boxes of `HaarDetector` with the images.

    Returns:
        {"found": share of images with exactly one box, "side": median side of that box in pixels of
        the 48, "centre_x", "centre_y": median centre, "margin": to add on every side, as a fraction}.
    """
    import cv2

    detector = HaarDetector(scale_factor=1.05, min_votes=4, min_face=0.3)
    training = data.training
    rows = np.random.default_rng(0).permutation(len(training))[:count]
    boxes = []
    for image in training.images[rows]:
        large = cv2.resize(image, (SIZE * SCALE, SIZE * SCALE), interpolation=cv2.INTER_CUBIC)
        large = cv2.copyMakeBorder(large, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
        found = detector.detect(large)
        if len(found) == 1:
            boxes.append(found[0])
    x, y, width, height = (np.array(boxes, float) / SCALE).T
    side = float(np.median(width))
    return {
        "found": len(boxes) / len(rows),
        "side": side,
        "centre_x": float(np.median(x + width / 2)) - BORDER / SCALE,
        "centre_y": float(np.median(y + height / 2)) - BORDER / SCALE,
        "margin": (SIZE / side - 1) / 2,
    }
