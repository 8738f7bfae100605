"""What a network in hand finds on whole photographs: the figure that epochs are chosen by."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from mien.detection_metrics import Truth, average_precision
from mien.detectors.base import shrink
from mien.face_maps import Found, Map, decode, suppress
from mien.photographs import Photograph
from train.models.finder import STRIDES

SIDE = 320
"""Photographs are shrunk to it, and put into a black square of it."""

MIN_WIDTH = 0.03
"""As `mien.detection_metrics.MIN_WIDTH`; smaller than there, because a device looks for faces from here on."""

MIN_SCORE = 0.02
OVERLAP = 0.45
BATCH_SIZE = 16


class Judge:
    """Holds photographs as the network sees them.

    Args:
        photographs: to find faces in.
    """

    def __init__(self, photographs: Sequence[Photograph]) -> None:
        self._pictures = np.zeros((len(photographs), SIDE, SIDE, 1), np.uint8)
        self.truths = []
        for photograph, room in zip(photographs, self._pictures, strict=True):
            picture, scale = shrink(photograph.read(), SIDE)
            height, width = picture.shape
            room[:height, :width, 0] = picture
            scale_ = np.float32(scale)
            self.truths.append(Truth(width, photograph.boxes * scale_, photograph.ignored * scale_))

    def average_precision(self, network: keras.Model) -> float:
        """Return it for a network, 0 to 1."""
        return average_precision(self.find(network), self.truths, MIN_WIDTH)

    def find(self, network: keras.Model) -> list[Found]:
        """Return the faces in each photograph, in pixels of the square."""
        found = []
        for start in range(0, len(self._pictures), BATCH_SIZE):
            pictures = self._pictures[start : start + BATCH_SIZE].astype(np.float32)
            found += find_all(network.predict_on_batch(pictures))
        return found


def find_all(answers: dict[str, npt.NDArray[np.float32]]) -> list[Found]:
    """Return the faces in each picture of a batch that the network has answered."""
    return [
        suppress(
            decode(
                [
                    Map(stride, answers[f"scores{stride}"][number, ..., 0], answers[f"geometry{stride}"][number])
                    for stride in STRIDES
                ],
                MIN_SCORE,
            ),
            OVERLAP,
        )
        for number in range(len(answers["scores8"]))
    ]
