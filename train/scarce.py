"""Which classes are missing or nearly empty in what a network shall learn from."""

import numpy as np

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013

FEW_IMAGES = 20
"""A class with fewer is named before training starts: neither learning nor validation can rely on it."""


def scarce_classes(data: Fer2013, has_start: bool = False) -> list[str]:
    """Return one sentence for each class that is missing or nearly empty in the images to learn from.

    Args:
        data: the images to learn from.
        has_start: whether the network knows something already.
    """
    loss = "the network may forget it" if has_start else "the network will not know it"
    counts = np.bincount(data.labels, minlength=len(EMOTIONS))
    sentences = []
    for name, count in zip(EMOTIONS, counts, strict=True):
        if count == 0:
            sentences.append(f"{name} has no image to learn from: {loss}")
        elif count < FEW_IMAGES:
            sentences.append(
                f"{name} has only {count} image{'s' if count > 1 else ''} to learn from: expect little of it"
            )
    return sentences
