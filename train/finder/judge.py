"""What a network in hand finds on whole photographs: the figure that epochs are chosen by."""

from collections.abc import Mapping, Sequence

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

LEAST_WIDTH = 0.03
"""As `mien.detection_metrics.MIN_WIDTH`; smaller than there, because a device looks for faces from here on."""

MIN_SCORE = 0.02
OVERLAP = 0.45
BATCH_SIZE = 16

SHIFTS = (-0.6, -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6)
"""What is tried when scores are balanced; logits."""

Answers = dict[str, npt.NDArray[np.float32]]
"""A network's maps of N pictures: name -> (N, rows, columns, channels)."""


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
        return average_precision(self.find(network), self.truths, LEAST_WIDTH)

    def find(self, network: keras.Model) -> list[Found]:
        """Return the faces in each photograph, in pixels of the square."""
        return find_all(self.answer(network))

    def answer(self, network: keras.Model) -> Answers:
        """Return the network's maps of all photographs."""
        batches = []
        for start in range(0, len(self._pictures), BATCH_SIZE):
            pictures = self._pictures[start : start + BATCH_SIZE].astype(np.float32)
            batches.append(network.predict_on_batch(pictures))
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def find_all(answers: Answers, shifts: Mapping[int, float] | None = None) -> list[Found]:
    """Return the faces in each picture that a network has answered.

    Args:
        answers: the maps of N pictures, as the network gives them.
        shifts: stride -> what is added to its scores, as logits.
    """
    shifts = shifts or {}
    return [
        suppress(
            decode(
                [
                    Map(
                        stride,
                        answers[f"scores{stride}"][number, ..., 0] + np.float32(shifts.get(stride, 0)),
                        answers[f"geometry{stride}"][number],
                    )
                    for stride in STRIDES
                ],
                MIN_SCORE,
            ),
            OVERLAP,
        )
        for number in range(len(answers["scores8"]))
    ]


def balance_scores(network: keras.Model, judge: Judge) -> dict[int, float]:
    """Shift the scores of large and small faces against each other, in the network's biases.

    Each stride's scores come from a head of its own, which has seen faces and background in another proportion.

    Returns:
        Stride -> what was added to its logits.
    """
    shifts = choose_shifts(judge.answer(network), judge.truths)
    for stride, shift in shifts.items():
        bias = network.get_layer(f"scores{stride}").bias
        bias.assign(bias + shift)
    return shifts


def choose_shifts(answers: Answers, truths: Sequence[Truth]) -> dict[int, float]:
    """Return the shifts with the best average precision: of one stride after the other, against the first."""
    shifts = dict.fromkeys(STRIDES, 0.0)
    for stride in reversed(STRIDES[1:]):
        tried = {
            shift: average_precision(find_all(answers, shifts | {stride: shift}), truths, LEAST_WIDTH)
            for shift in SHIFTS
        }
        shifts[stride] = max(SHIFTS, key=lambda shift: (tried[shift], -abs(shift)))
    return shifts
