"""Which images train, which validate, and in which order: all of it follows from one seed."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013
from train.config import TrainingConfig
from train.fer_plus import Votes, is_confirmed, mix_votes
from train.live_views import add_live_faults

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sides:
    """What a run learns from and what it is judged by.

    Attributes:
        training: images to learn from.
        validation: images to choose the best epoch by.
        targets: (len(training), 7) float32, what the network shall answer for the former.
    """

    training: Fer2013
    validation: Fer2013
    targets: Array


def divide(data: Fer2013, config: TrainingConfig, votes: Votes | None = None) -> Sides:
    """Divide Training as the settings say.

    Args:
        data: the data set; its test images are not looked at.
        config: validation share, seed, and what to do with votes.
        votes: (len(data), 7) votes of FER+, which only images to learn from are touched by; what
            becomes of them is a setting.

    Raises:
        ValueError: fewer than two classes are left to learn from.
    """
    rows, validation = data.split_training(config.validation_share, config.seed)
    if votes is not None and config.fer_plus == "filter":
        rows = rows[is_confirmed(data.labels[rows], votes[rows])]
    training = data.rows(rows)
    if len(classes := np.unique(training.labels)) < 2:
        found = f"of one class only, {EMOTIONS[classes[0]]}" if len(classes) else "no images at all"
        raise ValueError(f"the images to learn from are {found}: a network needs two classes or more")
    targets = one_hot(training.labels)
    if votes is not None and config.fer_plus == "soft":
        targets = mix_votes(targets, votes[rows])
    return Sides(training, data.rows(validation), targets)


def as_input(images: npt.NDArray[np.uint8]) -> Array:
    """Return (N, 48, 48) uint8 images as a network takes them: (N, 48, 48, 1) float32, 0-255."""
    return images[..., np.newaxis].astype(np.float32)


def one_hot(labels: npt.NDArray[np.uint8]) -> Array:
    """Return labels as (N, 7) float32, 1 for the class and 0 for the others."""
    return np.eye(len(EMOTIONS), dtype=np.float32)[labels]


def class_shares(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return each class's share of the images, (7,); a missing class counts as one image."""
    counts = np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 1)
    return counts / counts.sum()


class EpochBatches(keras.utils.PyDataset):
    """One epoch's batches, in an order drawn from (seed, epoch): a resumed run sees the same ones.

    Each is (images (N, 48, 48, 1) float32 0-255, labels (N, 7) float32, weights (N,) float32).

    Imbalance is dealt with here as far as it concerns which images are shown, and how much each counts.
    """

    def __init__(self, sides: Sides, config: TrainingConfig, epoch: int) -> None:
        # Two workers take TensorFlow past tf.data's autotuning, whose thread sleeps longer each
        # time and lets the end of an epoch wait until it wakes.
        super().__init__(workers=2)
        labels = sides.training.labels
        self._images, self._targets, self._batch_size = sides.training.images, sides.targets, config.batch_size
        self._live, self._mixup, self._seed = config.live, config.mixup, (config.seed, epoch)
        rng = np.random.default_rng(self._seed)
        rarity = class_shares(labels)[labels] ** -config.imbalance_power
        self._weights = np.ones(len(labels), np.float32)
        if config.imbalance == "balanced-sampling":
            self._order = rng.choice(len(labels), len(labels), p=rarity / rarity.sum())
        else:
            self._order = rng.permutation(len(labels))
        if config.imbalance == "class-weights":
            self._weights = (rarity / rarity.mean()).astype(np.float32)

    def __len__(self) -> int:
        return steps_per_epoch(len(self._order), self._batch_size)

    def __getitem__(self, index: int) -> tuple[Array, Array, Array]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        faces, targets, weights = self._images[rows], self._targets[rows], self._weights[rows]
        rng = np.random.default_rng([*self._seed, index])
        if self._live:
            for number in np.flatnonzero(rng.random(len(rows)) < self._live):
                faces[number] = add_live_faults(faces[number], rng)
        images = as_input(faces)
        if self._mixup:
            other = rng.permutation(len(rows))
            share = rng.beta(self._mixup, self._mixup, len(rows)).astype(np.float32)
            images = share[:, None, None, None] * images + (1 - share)[:, None, None, None] * images[other]
            # Each label keeps the weight of its own class.
            targets = (share * weights)[:, None] * targets + ((1 - share) * weights[other])[:, None] * targets[other]
            weights = targets.sum(axis=1)
            targets = targets / weights[:, None]
        return images, targets, weights


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return how many batches an epoch has; the last one may be smaller."""
    return -(-images // batch_size)
