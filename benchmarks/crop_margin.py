"""How much of a FER2013 image a Haar cascade calls the face: the crop margin that models want.

A model must see faces cut as those it learnt from. FER2013 was cut with an OpenCV face detector;
this runs one over the Training images, with room around them, and compares its boxes with them.
"""

import argparse
from typing import Any

import numpy as np

from mien.detectors import HaarDetector
from mien.fer2013 import SIZE, Fer2013, load_fer2013

SCALE = 3  # cascades search from 20 pixels on; thrice the size gives them finer steps
BORDER = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add data and images."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--images", type=int, default=1500, metavar="N", help="of Training (default: 1500)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; see `measure_crop_margin` for what comes out and what is raised.

    Raises:
        FileNotFoundError: there are no such data.
        ValueError: `--images` is less than 1, or the data are damaged.
    """
    if arguments.images < 1:
        raise ValueError(f"--images {arguments.images} must be 1 or more")
    figures = measure_crop_margin(load_fer2013(arguments.data), arguments.images)
    return {name: round(figure, 4) for name, figure in figures.items()}


def table(results: dict[str, Any]) -> str:
    """Return the results as a line."""
    return (
        f"finds {results['found']:.0%}, box of {results['side']:.1f} of 48 pixels "
        f"centred at ({results['centre_x']:.1f}, {results['centre_y']:.1f}): margin {results['margin']:.3f}"
    )


def measure_crop_margin(data: Fer2013, count: int) -> dict[str, float]:
    """Compare the boxes of `HaarDetector` with the images.

    Returns:
        {"found": share of images with exactly one box, "side": median side of that box in pixels of
        the 48, "centre_x", "centre_y": median centre, "margin": to add on every side, as a fraction}.

    Raises:
        ValueError: the cascade finds no face.
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
    if not boxes:
        raise ValueError(f"the cascade finds no face in {len(rows)} images: give more with --images")
    x, y, width, height = (np.array(boxes, float) / SCALE).T
    side = float(np.median(width))
    return {
        "found": len(boxes) / len(rows),
        "side": side,
        "centre_x": float(np.median(x + width / 2)) - BORDER / SCALE,
        "centre_y": float(np.median(y + height / 2)) - BORDER / SCALE,
        "margin": (SIZE / side - 1) / 2,
    }
