"""The representative dataset: which images tell the converter the ranges of the activations.

They come from Training alone, equally many of each class, drawn with a seed. Images that stand in
the test sets too, byte for byte, are left out: FER2013 has 568 of those.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.pictures import Pictures

CHUNK = 500


@dataclass(frozen=True)
class Calibration:
    """A representative dataset.

    Attributes:
        images: (N, height, width, channels) uint8.
        rows: (N,) their row numbers in the data set, ascending.
        seed: what they were drawn with.
    """

    images: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.intp]
    seed: int

    @property
    def sha256(self) -> str:
        """Hash of the row numbers as decimal text, one a line: says which images, without the images."""
        return hashlib.sha256("".join(f"{row}\n" for row in self.rows).encode()).hexdigest()


def draw_calibration(
    pictures: Pictures, size: int, seed: int, validation: npt.NDArray[np.intp] | None = None
) -> Calibration:
    """Draw a class-balanced representative dataset from Training.

    Args:
        pictures: the whole data set: the test images are needed to leave out their twins.
        size: how many images in all; rounded down to a multiple of the number of classes. Own images may lack some.
        seed: start of the random stream.
        validation: rows that the model was validated on, which are left out with all that are equal to them.

    Raises:
        ValueError: `size` is too small, or a class has too few images.
    """
    allowed = ~pictures.is_in_tests()
    if validation is not None:
        allowed &= ~np.isin(pictures.keys, pictures.keys[validation])
    candidates = {
        name: np.flatnonzero(allowed & (pictures.labels == label)) for label, name in enumerate(pictures.classes)
    }
    if not pictures.is_test.any():  # own images, which need not have all classes
        candidates = {name: rows for name, rows in candidates.items() if len(rows)}
    count = len(candidates)
    per_class = size // max(1, count)
    if per_class < 1:
        raise ValueError(f"calibration size {size}: allowed is {count} or more, one image a class")
    scarcest = min(candidates, key=lambda name: len(candidates[name]))
    if not (least := len(candidates[scarcest])):
        raise ValueError(f"there is no image of {scarcest} to calibrate on: give --data that has some of each class")
    if least < per_class:
        raise ValueError(
            f"calibration size {size} wants {per_class} images of {scarcest}, there are {least}: "
            f"give --calibration-size {max(1, least // 2) * count}, which leaves as many to validate on"
        )
    rng = np.random.default_rng(seed)
    rows = np.sort(np.concatenate([rng.choice(rows, per_class, replace=False) for rows in candidates.values()]))
    return Calibration(pictures.read(rows), rows, seed)


def refuse_test_images(pictures: Pictures, images: npt.NDArray[np.uint8]) -> None:
    """Stand between the data and the converter, and look at the images themselves.

    Raises:
        ValueError: one of these images is a test image, or equal to one byte for byte.
    """
    wanted = {image.tobytes() for image in images}
    tests = np.flatnonzero(pictures.is_test)
    for start in range(0, len(tests), CHUNK):
        rows = tests[start : start + CHUNK]
        for row, image in zip(rows, pictures.read(rows), strict=True):
            if image.tobytes() in wanted:
                raise ValueError(
                    f"a calibration image stands in the test sets, too, as row {row}: calibrate on Training images "
                    "without a twin there"
                )
