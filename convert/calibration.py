"""The representative dataset: which images tell the converter the ranges of the activations.

They come from Training alone, equally many of each class, drawn with a seed. Images that stand in
the test sets too, byte for byte, are left out: FER2013 has 568 of those.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.fer2013 import Fer2013


@dataclass(frozen=True)
class Calibration:
    """A representative dataset.

    Attributes:
        images: (N, 48, 48) uint8.
        rows: (N,) their row numbers in the data set, ascending.
        seed: what they were drawn with.
    """

    images: Image
    rows: npt.NDArray[np.intp]
    seed: int

    @property
    def sha256(self) -> str:
        """Hash of the row numbers as decimal text, one a line: says which images, without the images."""
        return hashlib.sha256("".join(f"{row}\n" for row in self.rows).encode()).hexdigest()


def draw_calibration(data: Fer2013, size: int, seed: int) -> Calibration:
    """Draw a class-balanced representative dataset from Training.

    Args:
        data: the whole data set: the test images are needed to leave out their twins.
        size: how many images in all; rounded down to a multiple of seven.
        seed: start of the random stream.

    Raises:
        ValueError: `size` is too small, or a class has too few images.
    """
    per_class = size // len(EMOTIONS)
    if per_class < 1:
        raise ValueError(f"calibration size {size}: allowed is {len(EMOTIONS)} or more, one image a class")
    keys = data.image_keys()
    is_test = data.usages != 0
    allowed = ~is_test & ~np.isin(keys, keys[is_test])
    rng = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(EMOTIONS):
        candidates = np.flatnonzero(allowed & (data.labels == label))
        if len(candidates) < per_class:
            raise ValueError(
                f"calibration size {size} wants {per_class} images of {name}, Training has {len(candidates)}: "
                f"give --calibration-size {len(candidates) * len(EMOTIONS)} or less"
            )
        chosen.append(rng.choice(candidates, per_class, replace=False))
    rows = np.sort(np.concatenate(chosen))
    return Calibration(data.images[rows], rows, seed)
